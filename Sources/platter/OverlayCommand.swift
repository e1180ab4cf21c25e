internal import ArgumentParser
internal import DiskCore
internal import MountServer
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

  /// The overlay as it is stored, with the mount that has it open, all of whose changes are in the file
  /// now.
  func stored() throws(DiskError) -> (overlay: StoredOverlay, mount: LiveMount?) {
    guard let mount = try LiveMount.using(overlay) else {
      return (try StoredOverlay(path: overlay), nil)
    }
    let file = try mount.overlayFile()
    try mount.save()
    return (try StoredOverlay(path: file), mount)
  }

  func onBase(_ stored: StoredOverlay) throws(DiskError) -> OverlayOnBase {
    try OverlayOnBase(stored, base: base, allowedPaths: folders.allowed)
  }
}

/// - Throws: `busy` where the overlay is in use by a mount of this user, naming it; for what can only be
///   done with one that nobody has open.
func requireUnmounted(_ overlay: String) throws(DiskError) {
  if let mount = try LiveMount.using(overlay) { throw mount.mustBeUnmounted(overlay) }
}
