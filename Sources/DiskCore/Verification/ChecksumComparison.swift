/// Computes checksums that are recorded of a disk and its files, and compares them.
struct ChecksumComparison {
  private static let piece: UInt64 = 1 << 20

  private let verification: Verification
  private let disk: Disk
  private let layer: Int
  private let content: CheckedContent

  init(_ verification: Verification, _ disk: Disk, layer: Int, _ content: CheckedContent) {
    self.verification = verification
    self.disk = disk
    self.layer = layer
    self.content = content
  }

  /// - Parameter name: what has the checksums.
  /// - Returns: which parts of the disk were read without an error, in order.
  func run(_ checksums: [RecordedChecksum], of name: String) -> [Range<UInt64>] {
    var read: [Range<UInt64>] = []
    var counts = CheckCounts()
    for checksum in checksums {
      do throws(DiskError) {
        if try isRight(checksum, &read) {
          counts.add(checksum.kind, right: 1)
        } else {
          counts.add(checksum.kind, wrong: 1)
          for damage in damage(of: checksum) { verification.add(damage) }
        }
      } catch {
        // Of the disk, what cannot be read is listed by who reads all of it.
        counts.add(checksum.kind, unreadable: 1)
        let isOfTheDisk = checksum.parts.contains { if case .disk = $0 { true } else { false } }
        guard !isOfTheDisk else { continue }
        verification.add(content.damage(error, layer: layer, range: nil, in: nil))
      }
    }
    verification.count(name, counts)
    return read.sorted { $0.lowerBound < $1.lowerBound }
  }

  private func isRight(
    _ checksum: RecordedChecksum, _ read: inout [Range<UInt64>]
  ) throws(DiskError) -> Bool {
    var sum = checksum.begin()
    var bytes = [UInt8](repeating: 0, count: Int(Self.piece))
    for part in checksum.parts {
      switch part {
      case .bytes(let bytes): sum.add(unsafe bytes.span.bytes)
      case .disk(let range):
        let disk = disk
        try Self.add(range, to: &sum, by: &bytes) { (at, buffer) throws(DiskError) in
          try disk.read(at: DiskOffset(at), into: &buffer)
        }
        read.append(range)
        verification.progress.advance(by: UInt64(range.count))
      case .stored(let storage, let range):
        try Self.add(range, to: &sum, by: &bytes) { (at, buffer) throws(DiskError) in
          try storage.read(at: FileOffset(at), into: &buffer)
        }
      }
    }
    switch checksum.value {
    case .known(let value): return sum.value == value
    case .stored(let storage, let place, let order):
      return try storage.reader(at: place, count: 4).u32(at: 0, order) == sum.value
    }
  }

  private static func add(
    _ range: Range<UInt64>, to sum: inout any RunningChecksum, by bytes: inout [UInt8],
    read: (UInt64, inout MutableRawSpan) throws(DiskError) -> Void
  ) throws(DiskError) {
    var place = range.lowerBound
    while place < range.upperBound {
      let count = min(piece, range.upperBound - place)
      var elements = bytes.mutableSpan
      var buffer = unsafe elements.mutableBytes
      var target = buffer._mutatingExtracting(0..<Int(count))
      try read(place, &target)
      sum.add(target.bytes)
      place += count
    }
  }

  /// What a wrong checksum says: something in each of these ranges is not as it was.
  private func damage(of checksum: RecordedChecksum) -> [Damage] {
    let name = checksum.name.isEmpty ? "" : " of '\(printable(checksum.name))'"
    let reason = "the \(checksum.kind)\(name) is wrong"
    var ranges: [Range<UInt64>] = []
    // Bytes that stand for the checksum's own field leave a gap of their length.
    var gap: UInt64 = 0
    var stored: (storage: any Storage, range: Range<UInt64>)?
    for part in checksum.parts {
      switch part {
      case .bytes(let bytes): gap = UInt64(bytes.count)
      case .disk(let range):
        if let last = ranges.last, last.upperBound <= range.lowerBound,
          range.lowerBound - last.upperBound <= gap
        {
          ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
        } else if !range.isEmpty {
          ranges.append(range)
        }
        gap = 0
      case .stored(let storage, let range):
        let known = stored?.range ?? range
        stored = (
          storage,
          min(known.lowerBound, range.lowerBound)..<max(known.upperBound, range.upperBound)
        )
      }
    }
    guard ranges.isEmpty else {
      return ranges.map { range in
        var damage = Damage(.checksum, layer: layer, range: range, reason: reason)
        damage.path = disk.files.first?.path
        return damage
      }
    }
    var damage = Damage(.checksum, layer: layer, reason: reason)
    damage.path = disk.files.first?.path
    if let stored { content.place(&damage, stored.storage, stored.range) }
    return [damage]
  }
}
