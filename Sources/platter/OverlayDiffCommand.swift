internal import ArgumentParser
internal import DiskCore
internal import MountServer
internal import Overlays
internal import Partitions

/// There can be millions of ranges, so they are printed as they are found.
struct OverlayDiffCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract: "List which bytes differ from the base, in which partition.",
    discussion: """
      In sectors of 512 bytes. What was written and is the same as before is not listed. Of an overlay \
      that is mounted, all that was written until now is listed; what is written meanwhile may be. The \
      mount point can be named in place of the file.

      Example: how many bytes of the second partition differ.

        $ platter overlay diff --json work.qcow2 |
            jq '[.ranges[] | select(.partition == 2).length] | add'
      """)

  @OptionGroup var arguments: OverlayArguments

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let (stored, mount) = try arguments.stored()
    guard try mount != nil || !stored.isInUse() else {
      throw DiskError(.busy, "another program has it open for writing", path: stored.path)
    }
    let opened = try arguments.onBase(stored)
    try opened.lockBase(.read)
    let table = try PartitionTable.read(from: opened.image.disk.whole, sectorSize: nil)
    let cuts = PartitionCuts(table.partitions)
    if json { try printJSON(of: opened, cuts) } else { try printText(of: opened, cuts) }
  }

  private func printJSON(of opened: OverlayOnBase, _ cuts: PartitionCuts) throws(DiskError) {
    var output = OutputBuffer()
    try output.add(
      "{\n\"version\": 1,\n\"path\": \(JSON.text(of: opened.overlay.path)),\n"
        + "\"base\": \(JSON.text(of: opened.basePath)),\n"
        + "\"virtualSize\": \(opened.overlay.info.size),\n\"ranges\": [\n")
    var separator = ""
    try opened.forEachDifference { (range) throws(DiskError) in
      for piece in cuts.pieces(of: range) {
        try output.add(separator + JSON.text(of: DiffRange(piece)))
        separator = ",\n"
      }
    }
    try output.add("\n]\n}\n")
    try output.flush()
  }

  private func printText(of opened: OverlayOnBase, _ cuts: PartitionCuts) throws(DiskError) {
    let width = max(6, "\(opened.overlay.info.size)".count)
    var output = OutputBuffer()
    func row(_ place: String, _ start: String, _ length: String) -> String {
      "\(place.padded(8))  \(start.padded(width, right: true))  \(length.padded(width, right: true))\n"
    }
    var totals: [Int: UInt64] = [:]
    try opened.forEachDifference { (range) throws(DiskError) in
      for piece in cuts.pieces(of: range) {
        if totals.isEmpty { try output.add(row("IN", "START", "LENGTH")) }
        // Where there is no partition, 0 stands for that: none has that number.
        totals[piece.partition?.number ?? 0, default: 0] += piece.length
        let range = DiffRange(piece)
        try output.add(
          row(
            Self.name(piece.partition?.number ?? 0), "\(range.offset ?? range.start)",
            "\(range.length)"))
      }
    }
    try output.add(totals.isEmpty ? "no difference\n" : "\n")
    for (number, bytes) in totals.sorted(by: { $0.key < $1.key }) {
      try output.add("\(Self.name(number).padded(8))  \(sizeText(bytes)) differ\n")
    }
    try output.flush()
  }

  private static func name(_ number: Int) -> String { number == 0 ? "outside" : "p\(number)" }
}

/// A range as `overlay diff --json` prints it. A field never changes its meaning.
private struct DiffRange: Encodable {
  /// In bytes, from the start of the disk.
  let start: UInt64
  let length: UInt64
  /// The smallest partition that it lies in; absent where it lies in none.
  let partition: Int?
  /// From the start of that partition.
  let offset: UInt64?

  init(_ piece: PartitionCuts.Piece) {
    start = piece.start.bytes
    length = piece.length
    partition = piece.partition?.number
    offset = piece.partition.map { piece.start.bytes - $0.start.bytes }
  }
}
