internal import ArgumentParser
internal import DiskCore
internal import Overlays

struct OverlayCommitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "commit",
    abstract: "Put the changes into the base, a qcow2 or flat image, and empty the overlay.",
    discussion: """
      The base is another overlay, any qcow2 image of version 3 (golden images), or a flat image: raw, \
      fixed VHD, flat VMDK. Nothing below it is touched.

      It can be interrupted at any point and run again: the overlay keeps its changes until they are \
      safe in the base. Other overlays of the same base no longer fit it.

      Example:

        $ platter overlay commit work.qcow2
      """)

  @OptionGroup var arguments: OverlayArguments

  @Flag(help: "Write into the base although it is not what it was.")
  var forceBase = false

  func run() throws {
    try requireUnmounted(arguments.overlay)
    let commit = try OverlayCommit(
      path: arguments.overlay, base: arguments.base, allowedPaths: arguments.folders.allowed,
      forcesBase: forceBase)
    var progress = Progress(of: commit.total, "commit \(printable(arguments.overlay))")
    defer { progress.end() }
    try commit.run { progress.advance(by: $0) }
  }
}
