internal import ArgumentParser
internal import DiskCore
internal import MountServer

struct MapCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "map",
    abstract: "Draw the disk and list which ranges are data and which are holes.",
    discussion: """
      Example: how many bytes of the disk are stored.

        $ platter map --json disk.vhd | jq '[.ranges[] | select(.type == "data").length] | add'
      """)

  @OptionGroup var image: ImageArguments

  @Flag(help: "Print JSON.")
  var json = false

  /// A field never changes its meaning.
  private struct Report: Encodable {
    struct Range: Encodable {
      /// In bytes, from the start of the disk.
      let start: UInt64
      let length: UInt64
      /// `data`, `zero` or `unreadable`.
      let type: String
      /// Which layer of the chain says so, 0 for the top one.
      let layer: Int
      /// Where the data is stored.
      let path: String?
      let fileOffset: UInt64?
      /// Why it is unreadable.
      let reason: String?
    }

    let version = 1
    let path: String
    let virtualSize: UInt64
    let ranges: [Range]
  }

  func run() throws {
    let opened = try image.open()
    let disk = opened.disk.whole
    var entries: [MapEntry] = []
    try disk.forEachMapEntry { entries.append($0) }
    if json {
      let report = Report(
        path: opened.path, virtualSize: disk.size, ranges: entries.map(Self.range))
      return Terminal.write(JSON.text(of: report, pretty: true) + "\n", to: 1)
    }
    let table = try image.table(of: opened)
    let bar = DiskBar(size: disk.size, width: min(Terminal.width - 2, 100))
    let rows = entries.map { entry in
      let range = Self.range(entry)
      let place = range.path.map { "\(printable($0)) at \(range.fileOffset ?? 0)" }
      return [
        "\(range.start)", "\(range.length)", range.type, place ?? range.reason.map(printable) ?? "",
      ]
    }
    Terminal.write(
      "\(printable(opened.path)): \(sizeText(disk.size))\n\n" + bar.draw(table.partitions, entries)
        + "\n" + tableText(["START", "LENGTH", "CONTENT", "WHERE"], rows, right: [0, 1]), to: 1)
  }

  private static func range(_ entry: MapEntry) -> Report.Range {
    var type = "zero"
    var reason: String? = nil
    switch entry.content {
    case .zero: break
    case .data: type = "data"
    case .unreadable(let error):
      type = "unreadable"
      reason = error.description
    }
    return Report.Range(
      start: entry.offset.bytes, length: entry.length, type: type, layer: entry.layer,
      path: entry.stored?.path, fileOffset: entry.stored?.at.bytes, reason: reason)
  }
}
