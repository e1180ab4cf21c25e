internal import ArgumentParser
internal import DiskCore
internal import Glibc
internal import MountServer
internal import Overlays

struct OverlaySnapshotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot",
    abstract: "Keep states of the disk under names, inside the overlay, and go back to them.",
    discussion: """
      They are snapshots as 'qemu-img snapshot' makes them; 'platter mount --snapshot NAME' shows one. \
      Interrupted at any point, each of these is done or is not.

      Example:

        $ platter overlay snapshot create work.qcow2 installed
        $ platter overlay snapshot revert work.qcow2 installed
      """,
    subcommands: [
      OverlaySnapshotCreateCommand.self, OverlaySnapshotListCommand.self,
      OverlaySnapshotRevertCommand.self, OverlaySnapshotDeleteCommand.self,
    ])
}

/// An overlay and one of its snapshots.
struct OverlaySnapshotArguments: ParsableArguments {
  @Argument(help: "The qcow2 file that keeps the changes, or where it is mounted.")
  var overlay: String

  @Argument(help: "The snapshot's name, or the number of one that is there.")
  var name: String

  /// Changes the snapshots: through the mount that has the overlay open, or else in the file, which
  /// nobody else uses meanwhile.
  func change(
    mounted: (LiveMount) throws(DiskError) -> Void,
    stored: (WritableFileStorage) throws(DiskError) -> Void
  ) throws(DiskError) {
    if let mount = try LiveMount.using(overlay) { return try mounted(mount) }
    let file = try WritableFileStorage(path: overlay)
    try ImageLock.take(.writeAndResize, on: file.descriptor, path: overlay)
    try stored(file)
  }
}

struct OverlaySnapshotCreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create",
    abstract: "Keep the disk as it is now under a name.",
    discussion: """
      Of one that is mounted, all that was written before is in the snapshot, and writes go on. The base \
      is not copied: a base that is changed changes its overlay's snapshots.

      Example:

        $ platter overlay snapshot create work.qcow2 installed
      """)

  @OptionGroup var arguments: OverlaySnapshotArguments

  func run() throws {
    try arguments.change(
      mounted: { (mount) throws(DiskError) in try mount.createSnapshot(arguments.name) },
      stored: { (file) throws(DiskError) in try Overlay.createSnapshot(arguments.name, in: file) })
  }
}

struct OverlaySnapshotRevertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "revert",
    abstract: "Make the disk what it was at a snapshot; what was changed since is lost.",
    discussion: """
      Of one that is mounted, only while nothing is open for writing. The snapshot stays. What is not to \
      be lost, 'create' keeps under another name before.

      Example:

        $ platter overlay snapshot revert work.qcow2 installed
      """)

  @OptionGroup var arguments: OverlaySnapshotArguments

  func run() throws {
    try arguments.change(
      mounted: { (mount) throws(DiskError) in try mount.revert(to: arguments.name) },
      stored: { (file) throws(DiskError) in try Overlay.revert(file, to: arguments.name) })
  }
}

struct OverlaySnapshotDeleteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete",
    abstract: "Delete a snapshot; the disk stays as it is.",
    discussion: """
      Example:

        $ platter overlay snapshot delete work.qcow2 installed
      """)

  @OptionGroup var arguments: OverlaySnapshotArguments

  func run() throws {
    try arguments.change(
      mounted: { (mount) throws(DiskError) in try mount.deleteSnapshot(arguments.name) },
      stored: { (file) throws(DiskError) in try Overlay.deleteSnapshot(arguments.name, in: file) })
  }
}

struct OverlaySnapshotListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List the snapshots of an overlay, in the order they were taken in.",
    discussion: """
      Example:

        $ platter overlay snapshot list work.qcow2
        NAME       TAKEN                SIZE
        installed  2026-11-21 17:04:05  20 GiB
      """)

  @Argument(help: "The qcow2 file that keeps the changes, or where it is mounted.")
  var overlay: String

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let records =
      if let mount = try LiveMount.using(overlay) { try mount.snapshots() } else { try readFile() }
    let report = OverlaySnapshotReport(path: overlay, records)
    try Terminal.print(json ? JSON.text(of: report, pretty: true) + "\n" : report.text)
  }

  private func readFile() throws(DiskError) -> [Overlay.SnapshotRecord] {
    try Overlay.snapshots(in: FileStorage(path: overlay))
  }
}

/// What `overlay snapshot list --json` prints. A field never changes its meaning.
struct OverlaySnapshotReport: Encodable {
  struct Snapshot: Encodable {
    let name: String
    /// qcow2's number.
    let identifier: String
    /// In seconds since 1970.
    let created: Int
    /// Of the disk then, in bytes.
    let virtualSize: UInt64
  }

  let version = 1
  let path: String
  /// In the order they were taken in.
  let snapshots: [Snapshot]

  init(path: String, _ records: [Overlay.SnapshotRecord]) {
    self.path = path
    snapshots = records.map {
      Snapshot(name: $0.name, identifier: $0.id, created: $0.seconds, virtualSize: $0.size)
    }
  }

  /// For a person.
  var text: String {
    guard !snapshots.isEmpty else { return "no snapshots\n" }
    return tableText(
      ["NAME", "TAKEN", "SIZE"],
      snapshots.map { [printable($0.name), Self.date($0.created), sizeText($0.virtualSize)] },
      right: [2])
  }

  /// In the time zone of whoever asks.
  private static func date(_ seconds: Int) -> String {
    var time = time_t(seconds)
    var parts = unsafe tm()
    var text = [CChar](repeating: 0, count: 64)
    guard unsafe localtime_r(&time, &parts) != nil,
      unsafe strftime(&text, text.count, "%Y-%m-%d %H:%M:%S", &parts) > 0
    else { return "\(seconds)" }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
