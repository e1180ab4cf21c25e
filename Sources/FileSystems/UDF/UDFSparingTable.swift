internal import DiskCore

/// Which packets of a rewritable disc were moved away from defects (UDF 2.60, 2.2.9 and 2.2.12).
struct UDFSparingTable: Sendable {
  /// Where the first entry is.
  private static let header = 56
  /// In bytes: 65,535 entries and the header, in whole sectors.
  private static let mostBytes: UInt32 = 1 << 20
  /// From here on an entry is free, or its spare itself defective.
  private static let noPacket: UInt32 = 0xFFFF_FFF0

  /// Of each packet, in blocks; a power of two.
  let packet: UInt32
  /// The first block of each packet that was moved, in order, and the sector where it is now.
  private let moved: [(block: UInt32, sector: UInt32)]

  /// Of the copies that a partition map names, the newest that is whole; empty where none is, which is
  /// noted.
  ///
  /// - Parameter map: of a sparable partition.
  init(_ map: ByteReader, _ volume: UDFVolume) throws(DiskError) {
    packet = UInt32(try map.u16(at: 40))
    guard isPowerOfTwo(packet) else {
      throw volume.failure(
        .malformed, "a packet length of \(packet) blocks; it is a power of two", map.base + 40)
    }
    let size = try map.u32(at: 44)
    guard size >= Self.header, size <= Self.mostBytes else {
      throw volume.failure(
        .malformed, "a sparing table of \(size) bytes; it has at most \(Self.mostBytes)",
        map.base + 44)
    }
    var newest: (sequence: UInt32, entries: [UInt32: UInt32])? = nil
    for index in 0..<min(4, Int(try map.u8(at: 42))) {
      let sector = try map.u32(at: 48 + 4 * index)
      guard let copy = try? Self.entries(at: sector, size: Int(size), volume) else {
        volume.notes.add("the sparing table in sector \(sector) is damaged")
        continue
      }
      if newest.map({ copy.sequence > $0.sequence }) ?? true { newest = copy }
    }
    if newest == nil {
      volume.notes.add("no sparing table can be read: moved packets are not found")
    }
    moved = (newest?.entries ?? [:]).map { (block: $0.key, sector: $0.value) }.sorted {
      $0.block < $1.block
    }
  }

  private static func entries(
    at sector: UInt32, size: Int, _ volume: UDFVolume
  ) throws(DiskError) -> (sequence: UInt32, entries: [UInt32: UInt32]) {
    let table = try volume.reader(at: UInt64(sector) * volume.sectorSize, count: size)
    guard volume.tag(table, location: sector)?.kind == 0,
      table.matches("*UDF Sparing Table", at: 17)
    else { throw volume.failure(.malformed, "this is no sparing table", table.base) }
    let count = min(Int(try table.u16(at: 48)), (size - header) / 8)
    var entries: [UInt32: UInt32] = [:]
    for index in 0..<count {
      let block = try table.u32(at: header + 8 * index)
      if block < noPacket { entries[block] = try table.u32(at: header + 8 * index + 4) }
    }
    return (try table.u32(at: 52), entries)
  }

  /// The sector where a block was moved to, nil where it was not, and for how many blocks from there on
  /// that holds, at least 1.
  func look(at block: UInt32) -> (sector: UInt32?, blocks: UInt32) {
    let first = block & ~(packet - 1)
    // The first entry that is not before this packet.
    var (low, high) = (0, moved.count)
    while low < high {
      let middle = (low + high) / 2
      if moved[middle].block < first { low = middle + 1 } else { high = middle }
    }
    // `block` is in this packet, so neither difference is negative.
    let inPacket = packet - (block - first)
    guard low < moved.count else { return (nil, max(inPacket, .max - block)) }
    let next = moved[low]
    if next.block == first {
      return (UInt32(clamping: UInt64(next.sector) + UInt64(block - first)), inPacket)
    }
    // An entry inside a packet can only be damage; it is passed over.
    return (nil, next.block > block ? max(inPacket, next.block - block) : inPacket)
  }
}
