import DiskCore
import ImageFormats
import TestSupport

extension OpenedImage {
  /// Opening a VHDX reads one copy of the region table whole, 64 KiB, for its checksum.
  static let mostReadOfVHDX = 96 << 10

  init(_ builder: VHDXBuilder) throws(DiskError) {
    try self.init(builder.storage(), mostRead: Self.mostReadOfVHDX)
  }
}

extension VHDXBuilder {
  /// What the virtual disk holds over a parent that holds `below`, block by block and sector by sector
  /// as [MS-VHDX] 2.5.1.1 says it.
  func content(over below: [UInt8] = []) -> [UInt8] {
    let total = Int(size)
    var result = [UInt8](repeating: 0, count: total)
    let unit = Int(blockSize)
    let sectorBytes = Int(sectorSize)
    for block in 0..<blockCount {
      let range = block * unit..<min(total, (block + 1) * unit)
      if let stored = blocks[block], ownedSectors[block] == nil {
        let held = range.lowerBound..<min(range.upperBound, range.lowerBound + stored.count)
        result.replaceSubrange(held, with: stored[..<held.count])
        continue
      }
      let isParents = blocks[block] != nil || (states[block] ?? .notPresent) == .notPresent
      guard hasParent, isParents else { continue }
      let seen = range.clamped(to: 0..<below.count)
      result.replaceSubrange(seen, with: below[seen])
      guard let stored = blocks[block] else { continue }
      for sector in ownedSectors[block] ?? [] {
        let start = sector * sectorBytes
        let end = min(start + sectorBytes, range.count)
        guard start < end else { continue }
        var piece = Array(stored[min(start, stored.count)..<min(end, stored.count)])
        piece += [UInt8](repeating: 0, count: end - start - piece.count)
        result.replaceSubrange(range.lowerBound + start..<range.lowerBound + end, with: piece)
      }
    }
    return result
  }
}
