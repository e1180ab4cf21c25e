internal import ArgumentParser
internal import DiskCore
internal import Overlays

struct OverlayDiscardCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "discard",
    abstract: "Throw every change away: the overlay becomes empty.",
    discussion: """
      Interrupted at any point, the overlay has all of its changes or none. The base is not looked at. \
      Snapshots stay.

      Example:

        $ platter overlay discard work.qcow2
      """)

  @Argument(help: "The qcow2 file that keeps the changes.")
  var overlay: String

  func run() throws {
    try requireUnmounted(overlay)
    let file = try WritableFileStorage(path: overlay)
    try ImageLock.take(.writeAndResize, on: file.descriptor, path: overlay)
    try Overlay.empty(file)
  }
}
