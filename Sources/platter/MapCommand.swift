internal import ArgumentParser
internal import DiskCore
internal import ImageFormats
internal import MountServer

/// A disk can have millions of ranges, so they are printed as they are found and never collected.
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

  func run() throws {
    let opened = try image.open()
    if json { try printJSON(of: opened) } else { try printText(of: opened) }
  }

  private func printJSON(of image: OpenImage) throws(DiskError) {
    var output = OutputBuffer()
    try output.add(
      "{\n\"version\": 1,\n\"path\": \(JSON.text(of: image.path)),\n"
        + "\"virtualSize\": \(image.disk.size),\n\"ranges\": [\n")
    var separator = ""
    try image.disk.whole.forEachMapEntry { (entry) throws(DiskError) in
      try output.add(separator + JSON.text(of: MapRange(entry)))
      separator = ",\n"
    }
    try output.add("\n]\n}\n")
    try output.flush()
  }

  private func printText(of image: OpenImage) throws(DiskError) {
    let disk = image.disk.whole
    let table = try self.image.table(of: image)
    var bar = DiskBar(size: disk.size, width: min(max(Terminal.width - 2, 20), 100))
    try disk.forEachMapEntry { bar.add($0) }
    var output = OutputBuffer()
    try output.add(
      "\(printable(image.path)): \(sizeText(disk.size))\n\n\(bar.draw(table.partitions))\n")
    let width = max(6, "\(disk.size)".count)
    func row(_ start: String, _ length: String, _ type: String, _ place: String) -> String {
      let columns = [
        start.padded(width, right: true), length.padded(width, right: true), type.padded(10), place,
      ]
      return withoutTrailingSpaces(columns.joined(separator: "  ")) + "\n"
    }
    try output.add(row("START", "LENGTH", "CONTENT", "WHERE"))
    try disk.forEachMapEntry { (entry) throws(DiskError) in
      let range = MapRange(entry)
      let place = range.path.map {
        printable($0) + (range.fileOffset.map { " at \($0)" } ?? "")
      }
      try output.add(
        row("\(range.start)", "\(range.length)", range.type, place ?? range.reason ?? ""))
    }
    try output.flush()
  }
}

/// A range as `map --json` prints it. A field never changes its meaning.
private struct MapRange: Encodable {
  /// In bytes, from the start of the disk.
  let start: UInt64
  let length: UInt64
  /// `data`, `compressed`, `zero` or `unreadable`.
  let type: String
  /// Which layer of the chain says so, 0 for the top one.
  let layer: Int
  /// Where the data is stored.
  let path: String?
  let fileOffset: UInt64?
  /// Why it is unreadable.
  let reason: String?

  init(_ entry: MapEntry) {
    start = entry.offset.bytes
    length = entry.length
    layer = entry.layer
    path = entry.path
    fileOffset = entry.fileOffset?.bytes
    switch entry.content {
    case .zero:
      type = "zero"
      reason = nil
    case .data:
      type = "data"
      reason = nil
    case .compressed:
      type = "compressed"
      reason = nil
    case .unreadable(let error):
      type = "unreadable"
      reason = error.description
    }
  }
}
