import TestSupport

/// Walks a qcow2 file as its specification describes it, independently of
/// the code under test, and counts what refers to each cluster.
struct QcowChecker {
  /// What must never be: a count too low, two owners of a cluster, a place outside the file.
  private(set) var errors: [String] = []
  /// Clusters that are counted higher than they are referred to.
  private(set) var leaks: [Int] = []
  private(set) var dataClusters = 0

  private let file: PagedBytes
  /// What the file counts.
  private var counts: [Int: Int] = [:]
  private(set) var snapshots: [String] = []
  /// What only one thing may refer to.
  private var exclusive: Set<Int> = []
  /// How many entries refer to each cluster.
  private(set) var references: [Int: Int] = [:]
  private var hasSubclusters = true
  private var cluster = 0
  private var clusters = 0

  init(_ content: PagedBytes) {
    file = content
    let bits = Int(big(20, 4))
    guard file.size >= 104, big(0, 4) == 0x5146_49fb, big(4, 4) == 3, (9...21).contains(bits)
    else {
      errors.append("no header")
      return
    }
    hasSubclusters = big(72, 8) & 16 != 0
    if big(72, 8) & ~24 != 0 { errors.append("incompatible features \(big(72, 8))") }
    cluster = 1 << bits
    clusters = (Int(file.size) + cluster - 1) / cluster
    let table = Int(big(48, 8))
    let tableClusters = Int(big(56, 4))
    let blocks = words(table, tableClusters * cluster / 8)
    readCounts(blocks)
    _ = refer(0, "header")
    let snapshotCount = Int(big(60, 4))
    let l1Count = Int(big(36, 4))
    walk(l1: Int(big(40, 8)), count: max(1, l1Count), isActive: true, isAlone: snapshotCount == 0)
    var place = Int(big(64, 8))
    let snapshotTable = place
    for _ in 0..<snapshotCount {
      let id = Int(big(place + 12, 2))
      let name = Int(big(place + 14, 2))
      let text = place + 40 + Int(big(place + 36, 4))
      snapshots.append(
        String(decoding: file.bytes(at: UInt64(text + id), count: name), as: UTF8.self))
      walk(
        l1: Int(big(place, 8)), count: Int(big(place + 8, 4)), isActive: false, isAlone: false)
      place = (text + id + name + 7) / 8 * 8
    }
    for at in stride(
      from: snapshotTable, to: snapshotCount == 0 ? snapshotTable : place, by: cluster)
    { _ = refer(at, "snapshot table") }
    for index in 0..<tableClusters { _ = refer(table + index * cluster, "refcount table") }
    for block in blocks where block != 0 { _ = refer(Int(block), "refcount block") }
    compare()
  }

  private mutating func walk(l1: Int, count: Int, isActive: Bool, isAlone: Bool) {
    for index in 0..<(count * 8 + cluster - 1) / cluster {
      _ = refer(l1 + index * cluster, "L1 table")
    }
    for (index, entry) in words(l1, count).enumerated() where entry != 0 {
      let l2 = Int(entry & 0x00ff_ffff_ffff_fe00)
      if isActive { checkFlag(entry, l2, "L1 entry \(index)") }
      if refer(l2, "L2 table", isShareable: !isAlone) {
        walk(l2, isActive: isActive, isAlone: isAlone)
      }
    }
  }

  /// As qemu-img: the flag says that the file counts the cluster once.
  private mutating func checkFlag(_ entry: UInt64, _ host: Int, _ what: String) {
    if (entry >> 63 == 1) != (counts[host / cluster] == 1) {
      errors.append("\(what): flag \(entry >> 63), counted \(counts[host / cluster] ?? 0)")
    }
  }

  private func big(_ at: Int, _ width: Int) -> UInt64 {
    file.bytes(at: UInt64(at), count: width).reduce(0) { $0 << 8 | UInt64($1) }
  }

  private func words(_ at: Int, _ count: Int) -> [UInt64] {
    let bytes = file.bytes(at: UInt64(at), count: count * 8)
    return bytes.withUnsafeBytes { raw in
      (0..<count).map {
        UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self))
      }
    }
  }

  private mutating func refer(
    _ offset: Int, _ what: String, isShareable: Bool = false
  ) -> Bool {
    // As qemu-img: a cluster may lie partly behind the end.
    guard offset % cluster == 0, offset / cluster < clusters else {
      errors.append("\(what) at \(offset) of \(file.size)")
      return false
    }
    references[offset / cluster, default: 0] += 1
    if !isShareable { exclusive.insert(offset / cluster) }
    if references[offset / cluster] != 1, exclusive.contains(offset / cluster) {
      errors.append("\(what) at \(offset) is shared")
    }
    return true
  }

  private mutating func walk(_ table: Int, isActive: Bool, isAlone: Bool) {
    let entries = words(table, cluster / 8)
    for index in stride(from: 0, to: entries.count, by: hasSubclusters ? 2 : 1) {
      // A standard entry's zero flag says what the other kind's bitmap does.
      let descriptor = hasSubclusters ? entries[index] : entries[index] & ~1
      let bitmap = hasSubclusters ? entries[index + 1] : 0
      guard descriptor != 0 || bitmap != 0 else { continue }
      let place = table + index * 8
      if descriptor >> 62 & 1 == 1 {
        if descriptor >> 63 == 1 { errors.append("compressed and in place at \(place)") }
        refer(compressed: descriptor)
        continue
      }
      let host = Int(descriptor & 0x00ff_ffff_ffff_fe00)
      if bitmap & (bitmap >> 32) & 0xffff_ffff != 0 {
        errors.append("both stored and zero at \(place)")
      }
      if descriptor & ~0x80ff_ffff_ffff_fe00 != 0 { errors.append("reserved bits at \(place)") }
      if host == 0, descriptor != 0 || bitmap & 0xffff_ffff != 0 {
        errors.append("stored nowhere at \(place)")
      }
      guard host != 0 else { continue }
      dataClusters += 1
      if isActive { checkFlag(descriptor, host, "entry at \(place)") }
      _ = refer(host, "data", isShareable: !isAlone)
    }
  }

  /// Every cluster that the sectors of its data lie in; others may lie there too.
  private mutating func refer(compressed descriptor: UInt64) {
    let bits = UInt64(70 - cluster.trailingZeroBitCount)
    let start = Int(descriptor & (1 << bits - 1)) / 512 * 512
    let sectors = Int((descriptor & (1 << 62 - 1)) >> bits) + 1
    let last = (start + sectors * 512 - 1) / cluster
    for number in start / cluster...last {
      _ = refer(number * cluster, "compressed data", isShareable: true)
    }
  }

  private mutating func readCounts(_ blocks: [UInt64]) {
    for (index, block) in blocks.enumerated() where block != 0 {
      for (place, word) in words(Int(block), cluster / 8).enumerated() where word != 0 {
        for part in 0..<4 {
          let count = Int(word >> UInt64(48 - 16 * part) & 0xffff)
          if count != 0 { counts[index * cluster / 2 + place * 4 + part] = count }
        }
      }
    }
  }

  private mutating func compare() {
    for (number, count) in counts {
      let used = references[number] ?? 0
      if count < used { errors.append("cluster \(number) is counted \(count), used \(used)") }
      if count > used { leaks.append(number) }
    }
    for number in references.keys where counts[number] == nil {
      errors.append("cluster \(number) is used and counted as free")
    }
  }
}
