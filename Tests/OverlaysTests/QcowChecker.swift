import TestSupport

/// Walks a qcow2 file with extended L2 entries as its specification describes it, independently of
/// the code under test, and counts what refers to each cluster.
struct QcowChecker {
  /// What must never be: a count too low, two owners of a cluster, a place outside the file.
  private(set) var errors: [String] = []
  /// Clusters that are counted higher than they are referred to.
  private(set) var leaks: [Int] = []
  private(set) var dataClusters = 0

  private let file: [UInt8]

  private func big(_ at: Int, _ width: Int) -> Int {
    guard at + width <= file.count else { return 0 }
    var value = 0
    for index in at..<at + width { value = value << 8 | Int(file[index]) }
    return value
  }

  init(_ content: PagedBytes) {
    file = content.all
    let bits = big(20, 4)
    guard file.count >= 104, big(0, 4) == 0x5146_49fb, big(4, 4) == 3, (14...21).contains(bits)
    else {
      errors.append("no header")
      return
    }
    if big(72, 8) != 16 { errors.append("incompatible features \(big(72, 8))") }
    let cluster = 1 << bits
    let clusters = (file.count + cluster - 1) / cluster
    var references = [Int](repeating: 0, count: clusters)
    var failures: [String] = []
    func refer(_ offset: Int, _ what: String) -> Bool {
      // As qemu-img: a cluster may lie partly behind the end.
      guard offset % cluster == 0, offset / cluster < clusters else {
        failures.append("\(what) at \(offset) of \(file.count)")
        return false
      }
      references[offset / cluster] += 1
      if references[offset / cluster] > 1 { failures.append("\(what) at \(offset) is shared") }
      return true
    }
    _ = refer(0, "header")
    let l1Count = big(36, 4)
    let l1 = big(40, 8)
    for index in 0..<max(1, (l1Count * 8 + cluster - 1) / cluster) {
      _ = refer(l1 + index * cluster, "L1 table")
    }
    let table = big(48, 8)
    for index in 0..<big(56, 4) { _ = refer(table + index * cluster, "refcount table") }
    var blocks: [Int: Int] = [:]
    for index in 0..<big(56, 4) * cluster / 8 {
      let block = big(table + index * 8, 8)
      if block != 0, refer(block, "refcount block") { blocks[index] = block }
    }
    for index in 0..<l1Count {
      let entry = UInt64(bitPattern: Int64(big(l1 + index * 8, 8)))
      guard entry != 0 else { continue }
      if entry >> 63 != 1 { failures.append("L1 entry \(index) is not marked as its only owner") }
      let l2 = Int(entry & 0x00ff_ffff_ffff_fe00)
      guard refer(l2, "L2 table") else { continue }
      for place in stride(from: l2, to: min(file.count, l2 + cluster), by: 16) {
        let bitmap = UInt64(bitPattern: Int64(big(place + 8, 8)))
        let descriptor = UInt64(bitPattern: Int64(big(place, 8)))
        guard descriptor != 0 || bitmap != 0 else { continue }
        let host = Int(descriptor & 0x00ff_ffff_ffff_fe00)
        if bitmap & (bitmap >> 32) & 0xffff_ffff != 0 {
          failures.append("both stored and zero at \(place)")
        }
        if descriptor & ~0x80ff_ffff_ffff_fe00 != 0 {
          failures.append("reserved bits at \(place)")
        }
        if host == 0, descriptor != 0 || bitmap & 0xffff_ffff != 0 {
          failures.append("stored nowhere at \(place)")
        }
        guard host != 0 else { continue }
        dataClusters += 1
        if descriptor >> 63 != 1 { failures.append("not marked as its only owner at \(place)") }
        _ = refer(host, "data")
      }
    }
    errors = failures
    let perBlock = cluster / 2
    for index in 0..<clusters {
      let count = blocks[index / perBlock].map { big($0 + index % perBlock * 2, 2) } ?? 0
      if count < references[index] {
        errors.append("cluster \(index) is counted \(count) and used \(references[index])")
      } else if count > references[index] {
        leaks.append(index)
      }
    }
    // Counts behind the end of the file.
    for (block, at) in blocks {
      let first = max(0, clusters - block * perBlock)
      guard first < perBlock else { continue }
      let counts = file[min(file.count, at + first * 2)..<min(file.count, at + cluster)]
      if counts.contains(where: { $0 != 0 }) { leaks.append(clusters) }
    }
  }
}
