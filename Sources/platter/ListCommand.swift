internal import ArgumentParser
internal import DiskCore
internal import MountServer

struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "Show the running mounts and what backs them.",
    discussion: """
      Example:

        $ platter list
        MOUNT POINT  IMAGE           FORMAT        SIZE   READ     CACHE  WRITES
        /home/me/m   /home/me/d.vhd  vhd, dynamic  2 GiB  1.4 MiB         read-only
        /home/me/n   /home/me/e.cso  cso           4 GiB  812 MiB   97 %  read-only
      """)

  @Flag(help: "Print JSON.")
  var json = false

  private struct Report: Encodable {
    let version = 1
    let mounts: [MountStatus]
  }

  func run() throws {
    let mounts = try LiveMounts.all()
    if json {
      return try Terminal.print(JSON.text(of: Report(mounts: mounts), pretty: true) + "\n")
    }
    guard !mounts.isEmpty else { return Terminal.say("nothing is mounted") }
    let rows = mounts.map { mount in
      [
        printable(mount.mountPoint) + (LiveMounts.isVisible(mount) ? "" : " (detached)"),
        printable(mount.image),
        mount.format + (mount.subformat.map { ", \($0)" } ?? ""), sizeText(mount.virtualSize),
        sizeText(mount.bytesRead), Self.hits(of: mount.blockCache), Self.writes(of: mount),
      ]
    }
    try Terminal.print(
      tableText(
        ["MOUNT POINT", "IMAGE", "FORMAT", "SIZE", "READ", "CACHE", "WRITES"], rows,
        right: [3, 4, 5]))
    for mount in mounts {
      guard let failure = mount.lastFailure else { continue }
      Terminal.say("\(mount.failedReads) reads of \(printable(mount.image)) failed; \(failure)")
    }
  }

  /// How often a read found what it needed decoded; empty where nothing had to be.
  private static func hits(of cache: MountStatus.DecodedBlocks) -> String {
    let looks = cache.hits + cache.misses
    return looks == 0 ? "" : "\(cache.hits * 100 / looks) %"
  }

  /// How it takes them.
  private static func writes(of mount: MountStatus) -> String {
    switch mount.changes {
    case "inPlace": "in place"
    case "refused": "read-only"
    default: mount.overlay.map { "overlay \(printable($0))" } ?? mount.changes
    }
  }
}
