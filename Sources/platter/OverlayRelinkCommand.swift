internal import ArgumentParser
internal import DiskCore
internal import ImageFormats
internal import Overlays

struct OverlayRelinkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "relink",
    abstract: "Tie an overlay to its base again, which was moved or renamed.",
    discussion: """
      The base must be what the overlay recorded of it. Its time of modification is recorded anew.

      Example:

        $ mv disk.vhd old.vhd && platter overlay relink work.qcow2 old.vhd
      """)

  @Argument(help: "The qcow2 file that keeps the changes.")
  var overlay: String

  @OptionGroup var image: ImageArguments

  @Flag(help: "Take the base although it is not what it was.")
  var forceBase = false

  func run() throws {
    try requireUnmounted(overlay)
    let notes = try Overlay.relink(
      overlay, to: try image.open(), image.options, forcesBase: forceBase)
    for note in notes where Terminal.errorsAreSeen { Terminal.say("note: \(printable(note))") }
  }

  func validate() throws {
    if image.snapshot != nil {
      throw ValidationError("an overlay is tied to an image and not to a snapshot in it")
    }
  }
}
