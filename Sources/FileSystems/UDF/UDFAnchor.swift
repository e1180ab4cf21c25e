internal import DiskCore

/// The way in: an anchor names the places of the volume descriptor sequences (ECMA-167, 3/8.4.2 and
/// 3/10.2; UDF 2.60, 2.2.3).
struct UDFAnchor {
  /// Of the volume, in bytes: an anchor tells by where it is found.
  let sectorSize: UInt64
  /// In bytes from the volume's start.
  let position: UInt64
  let main: UDFSequenceExtent
  let reserve: UDFSequenceExtent

  /// What two anchors of one volume have in common.
  struct Sequences: Hashable {
    let sectorSize: UInt64
    let main: UDFSequenceExtent
    let reserve: UDFSequenceExtent
  }

  var sequences: Sequences {
    Sequences(sectorSize: sectorSize, main: main, reserve: reserve)
  }

  /// Where an anchor can be, the likeliest first. The end is last, because reading it can mean to decode a
  /// whole compressed image.
  static func places(in volume: Volume) -> [(sector: UInt64, sectorSize: UInt64)] {
    // Those of optical discs before those of disks.
    let sizes: [UInt64] = [2048, 512, 4096, 1024]
    // Sector 512 has the only one of a disc that is still open.
    let front = ([256, 512] as [UInt64]).flatMap { sector in
      sizes.map { (sector: sector, sectorSize: $0) }
    }
    let end = sizes.flatMap { size in
      let sectors = volume.size / size
      return sectors > 257
        ? [sectors - 1, sectors - 257].map { (sector: $0, sectorSize: size) } : []
    }
    return front + end
  }

  /// - Returns: nil where there is no anchor that says that it is here.
  init?(_ volume: Volume, _ place: (sector: UInt64, sectorSize: UInt64)) {
    let position = place.sector * place.sectorSize
    guard let reader = try? volume.reader(at: DiskOffset(position), count: 512),
      let tag = UDFTag(reader), tag.kind == UDFTag.Kind.anchor, tag.location == place.sector,
      let main = try? UDFSequenceExtent(reader, at: 16),
      let reserve = try? UDFSequenceExtent(reader, at: 24)
    else { return nil }
    sectorSize = place.sectorSize
    self.position = position
    self.main = main
    self.reserve = reserve
  }
}

/// Sectors outside every partition (`extent_ad`, ECMA-167, 3/7.1).
struct UDFSequenceExtent: Hashable, Sendable {
  /// In bytes.
  let length: UInt32
  let sector: UInt32

  init(_ reader: ByteReader, at offset: Int) throws(DiskError) {
    length = try reader.u32(at: offset)
    sector = try reader.u32(at: offset + 4)
  }
}

/// The sequence at 32 KiB that says what a volume holds (ECMA-167, 2/8.3 and 2/9.1).
struct UDFRecognition {
  /// Of each descriptor: on volumes of larger sectors one takes a whole sector.
  private static let lengths: [UInt64] = [2048, 4096]
  private static let mostDescriptors: UInt64 = 64

  /// Whether it names ECMA-167, 2nd or 3rd edition.
  private(set) var isUDF = false
  /// Whether it has a primary volume descriptor of ISO 9660.
  private(set) var isISO9660 = false

  init(_ volume: Volume) {
    let kinds: [StaticString] = ["BEA01", "BOOT2", "CD001", "CDW02", "TEA01", "NSR02", "NSR03"]
    for length in Self.lengths where !isUDF {
      for index in 0..<Self.mostDescriptors {
        guard
          let reader = try? volume.reader(at: DiskOffset(0x8000 + index * length), count: 6),
          let kind = kinds.first(where: { reader.matches($0, at: 1) })
        else { break }
        if kind.description.hasPrefix("NSR") { isUDF = true }
        if kind.description == "CD001", reader.matches([1], at: 0) { isISO9660 = true }
      }
    }
  }
}
