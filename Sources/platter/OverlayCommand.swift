internal import ArgumentParser
internal import DiskCore
internal import Overlays

/// The verbs about a file that keeps a mount's changes.
struct OverlayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "overlay",
    abstract: "Look at, throw away, name or put back the changes that 'mount --overlay' keeps.",
    discussion: """
      Example: what was changed, and then into the image with it.

        $ platter overlay diff work.qcow2
        $ platter overlay commit work.qcow2
      """,
    subcommands: [
      OverlayStatusCommand.self, OverlayDiffCommand.self, OverlayCommitCommand.self,
      OverlayDiscardCommand.self, OverlaySnapshotCommand.self, OverlayRelinkCommand.self,
    ])
}

/// The overlay and where its base is.
struct OverlayArguments: ParsableArguments {
  @Argument(help: "The qcow2 file that keeps the changes.")
  var overlay: String

  @Option(help: "Its base, where that is not found by what the overlay says.")
  var base: String?

  @OptionGroup var folders: FolderArguments

  func onBase() throws(DiskError) -> OverlayOnBase { try onBase(StoredOverlay(path: overlay)) }

  func onBase(_ stored: StoredOverlay) throws(DiskError) -> OverlayOnBase {
    try OverlayOnBase(stored, base: base, allowedPaths: folders.allowed)
  }
}
