internal import DiskCore

/// The volume descriptors of one sequence that prevail: of those for the same thing, the one with the
/// highest number (ECMA-167, 3/8.4 and 3/10).
struct UDFDescriptorSequence {
  /// In all extents of one sequence; discs have fewer than 20.
  static let mostDescriptors = 256

  private(set) var logicalVolume: ByteReader?
  /// By the partition's own number.
  private(set) var partitions: [UInt16: ByteReader] = [:]
  /// Whether everything in it is as it should be.
  private(set) var isWhole = true

  /// Whether there is enough to go on with.
  var isUsable: Bool { logicalVolume != nil && !partitions.isEmpty }

  /// What cannot be read or is damaged is passed over.
  init(_ extent: UDFSequenceExtent, _ volume: UDFVolume) {
    var extent = extent
    var left = Self.mostDescriptors
    while let next = walk(extent, volume, &left) { extent = next }
    if left == 0 {
      isWhole = false
      volume.notes.add(
        "a volume descriptor sequence does not end; \(Self.mostDescriptors) are read")
    }
  }

  /// - Returns: where the sequence goes on.
  private mutating func walk(
    _ extent: UDFSequenceExtent, _ volume: UDFVolume, _ left: inout Int
  ) -> UDFSequenceExtent? {
    let count = UInt64(extent.length) / volume.sectorSize
    for index in 0..<count {
      guard left > 0, let sector = UInt32(exactly: UInt64(extent.sector) + index),
        let reader = try? volume.sector(sector)
      else {
        isWhole = false
        return nil
      }
      left -= 1
      // Behind the last descriptor nothing was written.
      if reader.bytes.prefix(UDFTag.length).allSatisfy({ $0 == 0 }) { return nil }
      guard let tag = volume.tag(reader, location: sector) else {
        volume.notes.add(
          "volume descriptors that are damaged, the first at byte \(reader.base)",
          as: .descriptor)
        isWhole = false
        continue
      }
      if !tag.covers(reader) || tag.location != sector { isWhole = false }
      switch tag.kind {
      case UDFTag.Kind.logicalVolume: keepNewer(reader, &logicalVolume)
      case UDFTag.Kind.partition:
        if let number = try? reader.u16(at: 22) { keepNewer(reader, &partitions[number]) }
      case UDFTag.Kind.volumePointer: return try? UDFSequenceExtent(reader, at: 20)
      case UDFTag.Kind.terminating: return nil
      default: continue
      }
    }
    return nil
  }

  private func keepNewer(_ found: ByteReader, _ kept: inout ByteReader?) {
    func number(_ reader: ByteReader) -> UInt32 { (try? reader.u32(at: 16)) ?? 0 }
    if kept.map({ number(found) >= number($0) }) ?? true { kept = found }
  }
}
