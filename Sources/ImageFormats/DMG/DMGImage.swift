internal import DiskCore

/// The disk of a DMG.
final class DMGImage: ChecksummedLayer {
  let size: UInt64
  private let source: any Storage
  private let trailer: DMGTrailer
  private let tables: [DMGBlockTable]
  private let chunks: DMGChunks

  init(
    _ source: any Storage, _ trailer: DMGTrailer, _ tables: [DMGBlockTable], _ chunks: DMGChunks
  ) {
    self.source = source
    self.trailer = trailer
    self.tables = tables
    self.chunks = chunks
    size = max(trailer.sectorCount * DMG.sectorBytes, chunks.end)
  }

  /// They are read when it is opened.
  var tableBytes: UInt64 { 0 }
  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let index = chunks.index(at: offset.bytes)
    guard index < chunks.all.count else { return Extent(.zero, length: size - offset.bytes) }
    let start = chunks.all[index].range.lowerBound
    guard start <= offset.bytes else { return Extent(.zero, length: start - offset.bytes) }
    return chunks.extent(of: index, from: offset.bytes - start)
  }

  var description: LayerDescription {
    var counts: [UInt32: Int] = [:]
    var covered: UInt64 = 0
    for chunk in chunks.all {
      counts[chunk.type, default: 0] += 1
      covered += chunk.size
    }
    var notes: [String] = []
    if trailer.sectorCount * DMG.sectorBytes < chunks.end {
      notes.append(
        "its trailer speaks of \(trailer.sectorCount) sectors, its block tables of "
          + "\(chunks.end / DMG.sectorBytes): the larger number is shown")
    }
    if covered < size {
      notes.append(
        "\(size - covered) bytes of the disk are in no block table; they are shown as zeros")
    }
    let unread = counts.keys.filter { [nil, .lzfse].contains(DMGChunk.Kind(rawValue: $0)) }
    for type in unread.sorted() {
      let name = type == DMGChunk.Kind.lzfse.rawValue ? "LZFSE" : "0x" + String(type, radix: 16)
      notes.append(
        "\(counts[type] ?? 0) of \(chunks.all.count) chunks are of the type \(name), which is not "
          + "read: what is in them gives an error, the rest of the disk is there")
    }
    return LayerDescription(
      format: "dmg", subformat: subformat(counts),
      details: [("block tables", "\(tables.count)"), ("chunks", "\(chunks.all.count)")],
      notes: notes)
  }

  /// hdiutil's name for images that are compressed so.
  private func subformat(_ counts: [UInt32: Int]) -> String {
    let names: [(kind: DMGChunk.Kind, name: String)] = [
      (.lzma, "ULMO"), (.lzfse, "ULFO"), (.bzip2, "UDBZ"), (.zlib, "UDZO"), (.adc, "UDCO"),
    ]
    return names.first { counts[$0.kind.rawValue] != nil }?.name ?? "UDRO"
  }

  var checksums: [RecordedChecksum] {
    var checksums: [RecordedChecksum] = []
    for table in tables {
      guard let sum = table.checksum else { continue }
      var ranges: [Range<UInt64>] = []
      var index = chunks.index(at: table.range.lowerBound)
      while index < chunks.all.count, chunks.all[index].range.lowerBound < table.range.upperBound {
        if chunks.all[index].kind != .ignored { ranges.append(chunks.all[index].range) }
        index += 1
      }
      checksums.append(
        RecordedChecksum(
          "block table CRC-32", name: table.name, of: ranges.map { .disk($0) }, is: .known(sum),
          by: { CRC32Sum() }))
    }
    if let sum = trailer.dataChecksum {
      checksums.append(
        RecordedChecksum(
          "data fork CRC-32", name: "", of: [.stored(source, trailer.dataFork)], is: .known(sum),
          by: { CRC32Sum() }))
    }
    if let sum = trailer.masterChecksum, tables.allSatisfy({ $0.checksum != nil }) {
      let sums = tables.flatMap { table in
        (0..<4).map { UInt8(truncatingIfNeeded: (table.checksum ?? 0) >> UInt32(24 - 8 * $0)) }
      }
      checksums.append(
        RecordedChecksum(
          "master CRC-32", name: "", of: [.bytes(sums)], is: .known(sum), by: { CRC32Sum() }))
    }
    return checksums
  }
}
