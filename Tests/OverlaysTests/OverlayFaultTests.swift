import DiskCore
import Glibc
import TestSupport
import Testing

@testable import Overlays

/// The file fails at one call or other: what was asked for fails with a reason, and nothing else.
struct OverlayFaultTests {
  private static let size = 400_000

  /// What each byte of the disk may be.
  private struct Model {
    var content: [UInt8]
    /// Writes that failed: their bytes may be there or not.
    var doubtful: [(at: Int, bytes: [UInt8])] = []

    mutating func write(_ bytes: [UInt8], at: Int) {
      content.replaceSubrange(at..<at + bytes.count, with: bytes)
      // Written over: no longer in doubt. What a failed write left half of stays so.
      doubtful = doubtful.flatMap { old -> [(at: Int, bytes: [UInt8])] in
        let end = old.at + old.bytes.count
        var rest: [(at: Int, bytes: [UInt8])] = []
        if old.at < at { rest.append((old.at, Array(old.bytes.prefix(at - old.at)))) }
        let from = at + bytes.count
        if end > from {
          rest.append((max(from, old.at), Array(old.bytes.suffix(end - max(from, old.at)))))
        }
        return end <= at || old.at >= from ? [old] : rest
      }
    }

    func explains(_ read: [UInt8]) -> Bool {
      if same(read, content) { return true }
      // Bytes in doubt become what is expected where a failed write explains them.
      var settled = read
      for (at, bytes) in doubtful {
        for index in bytes.indices where read[at + index] == bytes[index] {
          settled[at + index] = content[at + index]
        }
      }
      return same(settled, content)
    }
  }

  @Test(arguments: RecordingStorage.Fault.allCases)
  func everyCallFailsInTurn(_ fault: RecordingStorage.Fault) throws {
    var number = 0
    var reached = true
    while reached {
      // Each call in turn by `make soak`.
      number += Soak.isOn ? 1 : 11
      reached = try run(fault, number)
    }
    #expect(number > 100)
  }

  /// False where there were not so many calls.
  private func run(_ fault: RecordingStorage.Fault, _ number: Int) throws -> Bool {
    var random = SeededRandom(seed: 3)
    let base = BaseKind.raw.bytes(Self.size)
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(
      in: file, size: UInt64(Self.size), base: BaseKind.raw.overlayBase, .small)
    let disk = try OverlaidDisk(overlay, base).disk
    var model = Model(content: base)
    let created = file.calls
    file.fail(call: created + number, with: fault)
    var failures = 0
    for _ in 0..<70 {
      let at = Int.random(in: 0..<Self.size, using: &random)
      let count = Int.random(in: 1...min(40_000, Self.size - at), using: &random)
      let kind = Int.random(in: 0..<10, using: &random)
      let bytes =
        kind < 6
        ? ImageBytes.pattern(count, seed: random.next()) : [UInt8](repeating: 0, count: count)
      do throws(DiskError) {
        switch kind {
        case 0..<6: try disk.put(bytes, at: UInt64(at))
        case 6..<8: try disk.zero(at: DiskOffset(UInt64(at)), length: UInt64(count))
        default:
          try disk.flush()
          continue
        }
        model.write(bytes, at: at)
      } catch {
        failures += 1
        #expect(error.systemError == (fault == .noSpace ? ENOSPC : EIO))
        if kind < 8 { model.doubtful.append((at, bytes)) }
      }
      if kind == 0 || failures == 1 {
        let read = try disk.bytes(at: 0, count: Self.size)
        try #require(model.explains(read), "\(fault) at call \(number)")
      }
    }
    let reached = file.calls > created + number
    // A failed write-back of free space is nobody's concern.
    #expect(failures <= 1)
    do throws(DiskError) { try overlay.close() } catch { try overlay.close() }
    let read = try disk.bytes(at: 0, count: Self.size)
    try #require(model.explains(read), "\(fault) at call \(number)")
    let checked = QcowChecker(file.content)
    try #require(checked.errors == [], "\(fault) at call \(number)")
    try #require(checked.leaks == [], "\(fault) at call \(number)")
    let again = try OverlaidDisk(try Overlay.open(file, .small), base).disk
    try #require(
      same(try again.bytes(at: 0, count: Self.size), read), "\(fault) at call \(number)")
    return reached
  }

  @Test func aFailedFlushIsTriedAgain() throws {
    let file = RecordingStorage()
    let overlay = try Overlay.create(in: file, size: 1 << 20, base: nil, .small)
    let disk = try OverlaidDisk(overlay, []).disk
    let bytes = ImageBytes.pattern(5000, seed: 1)
    try disk.put(bytes, at: 100)
    file.fail(call: file.calls + 2, with: .inputOutput)
    #expect(throws: DiskError.self) { try disk.flush() }
    try disk.flush()
    var cuts = PowerCuts(file.changes)
    var random = SeededRandom(seed: 1)
    let left = cuts.content(after: file.changeCount, .everything, &random)
    let again = try OverlaidDisk(
      try Overlay.open(RecordingStorage(left, recording: false), .small), []
    ).disk
    #expect(same(try again.bytes(at: 100, count: 5000), bytes))
  }

  /// A full disk: the write that does not fit fails, what came before stays, and when there is room
  /// again it goes on.
  @Test func aFullDisk() throws {
    let size = 3 << 20
    let base = BaseKind.raw.bytes(size)
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(
      in: file, size: UInt64(size), base: BaseKind.raw.overlayBase, .small)
    let disk = try OverlaidDisk(overlay, base).disk
    var model = base
    file.limit(to: 600_000)
    var random = SeededRandom(seed: 8)
    var refused = 0
    for round in 0..<300 {
      if round == 150 { file.limit(to: .max) }
      let at = Int.random(in: 0..<size / 512, using: &random) * 512
      let count = min(512 * Int.random(in: 1...30, using: &random), size - at)
      let bytes = ImageBytes.pattern(count, seed: random.next())
      do throws(DiskError) {
        try disk.put(bytes, at: UInt64(at))
        model.replaceSubrange(at..<at + count, with: bytes)
      } catch {
        #expect(error.systemError == ENOSPC)
        #expect(round < 150)
        refused += 1
        // Its beginning can have been written.
        let left = try disk.bytes(at: UInt64(at), count: count)
        for index in 0..<count {
          try #require([model[at + index], bytes[index]].contains(left[index]))
        }
        model.replaceSubrange(at..<at + count, with: left)
      }
      // The tables have their space already: a flush does not run out of it.
      if round % 10 == 9 { try disk.flush() }
    }
    #expect(refused > 20)
    #expect(same(try disk.bytes(at: 0, count: size), model))
    try overlay.close()
    let checked = QcowChecker(file.content)
    #expect(checked.errors == [])
    #expect(checked.leaks == [])
  }

  @Test func aTableThatCannotBeReadFailsOnlyWhatItMaps() throws {
    let tuning = OverlayTuning.small
    let border = tuning.geometry.bytesPerTable
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: border * 3, base: nil, tuning)
    let disk = try OverlaidDisk(overlay, []).disk
    for index in 0..<3 { try disk.put([1, 2, 3], at: border * UInt64(index)) }
    try overlay.close()
    // The second table's first entry points behind the end of the file.
    var content = file.content
    let l1 = content.bytes(at: 3 << 14, count: 24)
    let table = l1[8..<16].reduce(UInt64(0)) { $0 << 8 | UInt64($1) } & 0x00ff_ffff_ffff_fe00
    content.write([0x80, 0, 0, 0xff, 0, 0, 0, 0], at: table)
    let damaged = try OverlaidDisk(
      try Overlay.open(RecordingStorage(content, recording: false), tuning), []
    ).disk
    #expect(try damaged.bytes(at: 0, count: 3) == [1, 2, 3])
    #expect(try damaged.bytes(at: border * 2, count: 3) == [1, 2, 3])
    #expect(try damaged.bytes(at: border + 16384, count: 3) == [0, 0, 0])
    #expect(throws: DiskError.self) { try damaged.bytes(at: border, count: 3) }
    #expect(throws: DiskError.self) { try damaged.put([9], at: border) }
  }

  /// A thread that waited for a table to be made, and comes to try it again when that has failed, others
  /// have made it, and it was written to.
  @Test func anAttemptThatComesTooLate() throws {
    let file = RecordingStorage(recording: false)
    try Overlay.create(in: file, size: 1 << 20, base: nil, .small).close()
    let overlay = try Overlay.open(file, .small)
    let disk = try OverlaidDisk(overlay, []).disk
    let late = Shared<Lazy<Void>?>(nil)
    file.beforeRead { _, _ in
      let running = overlay.state.withLock { $0.loads[0]?.attempt }
      if let running { late.change { $0 = running } }
    }
    file.fail(call: file.calls + 1, with: .inputOutput)
    #expect(throws: DiskError.self) { try disk.put([1], at: 0) }
    file.beforeRead { _, _ in }
    let bytes = ImageBytes.pattern(50_000, seed: 1)
    try disk.put(bytes, at: 0)
    try #require(late.value).get()
    #expect(same(try disk.bytes(at: 0, count: bytes.count), bytes))
    try overlay.close()
    #expect(QcowChecker(file.content).errors == [])
    #expect(QcowChecker(file.content).leaks == [])
  }

  /// The table that a reader wants is gone with an exchange of the tables: it makes none.
  @Test func aReaderMakesNoTable() throws {
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: 1 << 20, base: nil, .small)
    try overlay.load(0)
    #expect(overlay.state.withLock { $0.l1 } == [0])
    try overlay.close()
  }
}
