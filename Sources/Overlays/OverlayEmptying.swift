public import DiskCore

extension Overlay {
  /// Throws every change away: the disk is the base again.
  ///
  /// New tables that map nothing are written behind all that is there, and one write of the file's
  /// first sector makes them the valid ones. Then the same is done once more at the file's start, and
  /// the rest is cut off. After a power cut at any point the file is as it was or empty.
  ///
  /// - Parameter file: an overlay that nobody has open.
  /// - Throws: `invalidRequest` after a commit that did not end; what reading the header and writing
  ///   throw: ENOSPC where there is no room for the new tables, about 0.5 MiB.
  public static func empty(_ file: any WritableStorage) throws(DiskError) {
    try requireNoCommit(file)
    try makeEmpty(file)
  }

  /// As `empty`, in the middle of a commit too, which it ends.
  static func makeEmpty(_ file: any WritableStorage) throws(DiskError) {
    let header = try OverlayHeader(of: file)
    let size = file.size
    let first = try EmptyTables(of: header, at: 1, path: file.path)
    let behind = try EmptyTables(
      of: header, at: max(first.end, header.geometry.clusters(size)), path: file.path)
    do throws(DiskError) {
      try behind.write(to: file)
    } catch {
      try? file.resize(to: size)
      throw error
    }
    try behind.makeValid(in: file)
    try first.write(to: file)
    try first.makeValid(in: file)
    try file.resize(to: first.end * header.geometry.clusterSize)
    try writeState(0, to: file, at: header.statePlace)
  }
}

/// The tables of an overlay that holds nothing, in a row: the refcount table, its blocks, the L1 table.
/// They count themselves and the header, and nothing else.
private struct EmptyTables {
  private let geometry: OverlayGeometry
  /// In clusters of the file, as everything here.
  private let start: UInt64
  private let tableLength: UInt64
  /// Which of the refcount blocks there are: the first, for the header, and those for the tables.
  private let blocks: [UInt64]
  private let l1Length: UInt64

  /// - Throws: `unsupported` for a place so far behind that a refcount table would be too large.
  init(of header: OverlayHeader, at start: UInt64, path: String) throws(DiskError) {
    let geometry = header.geometry
    let l1Length = max(1, geometry.clusters(UInt64(header.l1Count) * 8))
    let perBlock = geometry.countsPerBlock
    var tableLength: UInt64 = 1
    var blocks: [UInt64] = [0]
    // How many blocks there are depends on where the tables end, and that on how many there are.
    while true {
      let last = (start + tableLength + UInt64(blocks.count) + l1Length - 1) / perBlock
      let needed = geometry.clusters((last + 1) * 8)
      guard needed * geometry.clusterSize <= OverlayHeader.largestRefcountTable else {
        throw DiskError(
          .unsupported, "is too large to be emptied; delete it and make a new one", path: path)
      }
      let wanted = Array(Set([0]).union(start / perBlock...last)).sorted()
      if needed <= tableLength, wanted.count <= blocks.count { break }
      tableLength = max(needed, tableLength)
      blocks = wanted
    }
    self.geometry = geometry
    self.start = start
    self.tableLength = tableLength
    self.blocks = blocks
    self.l1Length = l1Length
  }

  private var blocksStart: UInt64 { start + tableLength }
  private var l1Start: UInt64 { blocksStart + UInt64(blocks.count) }
  /// Behind the last cluster.
  var end: UInt64 { l1Start + l1Length }

  func write(to file: any WritableStorage) throws(DiskError) {
    let size = geometry.clusterSize
    var table = [UInt64](repeating: 0, count: Int(tableLength) * geometry.blocksPerCluster)
    for (number, index) in blocks.enumerated() {
      table[Int(index)] = (blocksStart + UInt64(number)) * size
      let counted = index * geometry.countsPerBlock..<(index + 1) * geometry.countsPerBlock
      var counts = [UInt8](repeating: 0, count: Int(size))
      if index == 0 { counts.putBig(UInt16(1), at: 0) }
      for cluster in counted.clamped(to: start..<end) {
        counts.putBig(UInt16(1), at: Int(cluster - counted.lowerBound) * 2)
      }
      try file.write(counts, at: table[Int(index)])
    }
    try file.write(bigEndianBytes(table[...]), at: start * size)
    try file.writeZeros(at: l1Start * size, count: l1Length * size)
    try file.flush()
  }

  /// One write of one sector.
  func makeValid(in file: any WritableStorage) throws(DiskError) {
    var sector = try file.bytes(at: .start, count: SectorSet.size)
    sector.putBig(l1Start * geometry.clusterSize, at: OverlayHeader.l1Field)
    sector.putBig(start * geometry.clusterSize, at: OverlayHeader.refcountTableField)
    sector.putBig(UInt32(tableLength), at: OverlayHeader.refcountTableField + 8)
    // What other programs promise of the content, for those who know what it means.
    sector.putBig(UInt64(0), at: Int(OverlayHeader.autoclearField))
    try file.write(sector, at: 0)
    try file.flush()
  }
}
