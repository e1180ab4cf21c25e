/// Blocks and stored pieces of one layer that a thread reads in one go.
struct ReadingBatch: Sendable {
  private enum Piece: Sendable {
    case block(any BlockDecoder, UInt64)
    case stored(any Storage, FileOffset)
  }

  /// Of a range that cannot be read in one piece, this much is given up at once, in bytes.
  private static let sector: UInt64 = 4096

  private let verification: Verification
  private let content: CheckedContent
  private let layer: Int
  private let format: String
  private var pieces: [(piece: Piece, range: Range<UInt64>)] = []
  /// Of the disk.
  private(set) var bytes: UInt64 = 0

  init(_ verification: Verification, _ content: CheckedContent, layer: Int, format: String) {
    self.verification = verification
    self.content = content
    self.layer = layer
    self.format = format
  }

  var isEmpty: Bool { pieces.isEmpty }
  var count: Int { pieces.count }

  mutating func add(_ decoder: any BlockDecoder, _ index: UInt64, _ range: Range<UInt64>) {
    bytes += UInt64(range.count)
    // The rest of the block that came before.
    if let last = pieces.last, case .block(let other, let number) = last.piece, other === decoder,
      number == index, last.range.upperBound == range.lowerBound
    {
      pieces[pieces.count - 1].range = last.range.lowerBound..<range.upperBound
    } else {
      pieces.append((.block(decoder, index), range))
    }
  }

  mutating func add(_ storage: any Storage, _ at: FileOffset, _ range: Range<UInt64>) {
    bytes += UInt64(range.count)
    pieces.append((.stored(storage, at), range))
  }

  func run() {
    var counts = CheckCounts()
    var blocks = 0
    var buffer: [UInt8] = []
    for (piece, range) in pieces {
      switch piece {
      case .block(let decoder, let index):
        blocks += 1
        decode(decoder, index, range, &buffer, &counts)
      case .stored(let storage, let at): read(storage, at, range, &buffer)
      }
    }
    verification.progress.advance(by: bytes)
    verification.count(format, counts)
    if blocks > 0 { verification.countBlocks(blocks) }
  }

  private func decode(
    _ decoder: any BlockDecoder, _ index: UInt64, _ range: Range<UInt64>, _ buffer: inout [UInt8],
    _ counts: inout CheckCounts
  ) {
    let checksum = decoder.checksum(of: index)
    do throws(DiskError) {
      try Self.fill(&buffer, decoder.decodedBytes(of: index)) { (target) throws(DiskError) in
        try decoder.decode(index, into: &target)
      }
      if let checksum { counts.add(checksum, right: 1) }
    } catch {
      if let checksum { counts.add(checksum, unreadable: 1) }
      verification.add(content.damage(error, layer: layer, range: range, in: decoder.source))
    }
  }

  /// What cannot be read in one piece is read in halves, so that a bad sector is told exactly.
  private func read(
    _ storage: any Storage, _ at: FileOffset, _ range: Range<UInt64>, _ buffer: inout [UInt8]
  ) {
    let count = UInt64(range.count)
    do throws(DiskError) {
      try Self.fill(&buffer, Int(count)) { (target) throws(DiskError) in
        try storage.read(at: at, into: &target)
      }
    } catch {
      guard count > Self.sector, at.bytes < storage.size else {
        var damage = content.damage(error, layer: layer, range: range, in: storage)
        if damage.stream == nil { damage.fileOffset = at.bytes }
        return verification.add(damage)
      }
      // Halves in whole sectors of the file, as far as there is one between them.
      let middle = (at.bytes + count / 2) / Self.sector * Self.sector
      let first = middle > at.bytes ? middle - at.bytes : count / 2
      read(storage, at, range.lowerBound..<range.lowerBound + first, &buffer)
      read(storage, at + first, range.lowerBound + first..<range.upperBound, &buffer)
    }
  }

  private static func fill(
    _ buffer: inout [UInt8], _ count: Int, by read: (inout MutableRawSpan) throws(DiskError) -> Void
  ) throws(DiskError) {
    if buffer.count < count { buffer = [UInt8](repeating: 0, count: count) }
    var elements = buffer.mutableSpan
    var bytes = unsafe elements.mutableBytes
    var target = bytes._mutatingExtracting(0..<count)
    try read(&target)
  }
}
