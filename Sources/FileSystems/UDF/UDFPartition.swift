internal import DiskCore

/// Where blocks of a partition are: the first one's place in the volume, in bytes, and how many lie in a
/// row from there on, at least 1.
struct UDFRow: Sendable {
  let position: UInt64
  let blocks: UInt64
}

/// One of a logical volume's partitions, by its map (ECMA-167, 3/10.7; UDF 2.60, 2.2.8 to 2.2.10): what
/// turns a block's number into its place.
enum UDFPartition: Sendable {
  case real(UDFRealPartition)
  case virtual(UDFVirtualTable, over: UDFRealPartition)
  /// - Parameter mirror: where the same blocks are once more.
  case metadata(UDFRuns, mirror: UDFRuns?, over: UDFRealPartition)
  /// It cannot be read, and every use of it says why.
  case unreadable(DiskError)

  /// - Parameter mirrored: whether the second copy is meant, where there is one.
  /// - Throws: `malformed` for a block that it has not got.
  func row(
    at block: UInt32, _ volume: UDFVolume, blockSize: UInt64, mirrored: Bool
  ) throws(DiskError) -> UDFRow {
    switch self {
    case .real(let partition):
      return try partition.row(at: block, volume, blockSize)
    case .virtual(let table, let partition):
      let (stored, count) = try table.blocks(at: block, volume)
      let row = try partition.row(at: stored, volume, blockSize)
      return UDFRow(position: row.position, blocks: min(row.blocks, count))
    case .metadata(let main, let mirror, let partition):
      let runs = mirrored ? mirror ?? main : main
      let offset = UInt64(block) * blockSize
      guard let (run, within) = runs.run(at: offset), case .recorded(let address) = run.content
      else {
        throw volume.failure(
          .malformed, "block \(block) of the metadata partition is not recorded",
          partition.position)
      }
      // Less than 2³⁰ bytes in.
      let first = UInt64(address.block) + within / blockSize
      let row = try partition.row(at: UInt32(clamping: first), volume, blockSize)
      return UDFRow(
        position: row.position,
        blocks: min(row.blocks, max(1, (run.length - within) / blockSize)))
    case .unreadable(let error):
      throw error
    }
  }
}

/// A partition of the disc (ECMA-167, 3/10.5), with a table of what was moved away from defects where
/// it has one.
struct UDFRealPartition: Sendable {
  /// In bytes from the volume's start.
  let position: UInt64
  /// How many blocks it has.
  let blocks: UInt64
  var sparing: UDFSparingTable?

  /// - Throws: `malformed` for a block that is not in the partition.
  func row(
    at block: UInt32, _ volume: UDFVolume, _ blockSize: UInt64
  ) throws(DiskError) -> UDFRow {
    guard block < blocks else {
      throw volume.failure(
        .malformed, "block \(block) of a partition of \(blocks) blocks", position)
    }
    let place = position + UInt64(block) * blockSize
    guard let sparing else { return UDFRow(position: place, blocks: blocks - UInt64(block)) }
    let (moved, count) = sparing.look(at: block)
    let start = moved.map { UInt64($0) * volume.sectorSize } ?? place
    return UDFRow(position: start, blocks: min(UInt64(count), blocks - UInt64(block)))
  }
}
