import DiskCore
import TestSupport
import Testing

@testable import Overlays

/// Throwing every change away, and what is left when that is cut off.
struct OverlayEmptyingTests {
  private static let base = ImageBytes.pattern(3_000_000, seed: 21)

  /// An overlay with changes in several tables.
  private static func written(_ tuning: OverlayTuning, close: Bool = true) throws -> (
    file: RecordingStorage, size: UInt64
  ) {
    let size = tuning.geometry.bytesPerTable * 200 + 1000
    let file = RecordingStorage()
    let overlay = try Overlay.create(
      in: file, size: size, base: OverlayBase(name: "b", format: "raw", identity: []), tuning)
    let disk = try OverlaidDisk(overlay, Self.base).disk
    for number in 0..<12 {
      let offset = UInt64(number) * (size / 12) / 512 * 512
      try disk.put(ImageBytes.pattern(50_000, seed: UInt64(number)), at: offset)
    }
    try disk.zero(at: DiskOffset(100_000), length: 300_000)
    try disk.flush()
    if close { try overlay.close() }
    return (file, size)
  }

  private static func sample(_ content: PagedBytes, size: UInt64) throws -> [UInt8] {
    let file = RecordingStorage(content, recording: false)
    let overlay = try Overlay.open(file)
    let disk = try OverlaidDisk(overlay, base).disk
    var bytes = try disk.bytes(at: 0, count: 500_000)
    for number in 1..<12 {
      bytes += try disk.bytes(at: UInt64(number) * (size / 12) / 512 * 512, count: 50_000)
    }
    try overlay.close()
    let checker = QcowChecker(file.content)
    try #require(checker.errors == [])
    try #require(checker.leaks == [])
    return bytes
  }

  /// Whatever arrived, it is as it was or empty; afterwards it is a new overlay.
  @Test(arguments: [true, false]) func cutOff(_ isClosed: Bool) throws {
    let (file, size) = try Self.written(.small, close: isClosed)
    let before = try Self.sample(file.content, size: size)
    let start = file.changeCount
    try Overlay.empty(file)
    let after = try Self.sample(file.content, size: size)
    #expect(before != after)
    #expect(same(Array(after.prefix(500_000)), Array(Self.base.prefix(500_000))))

    let fresh = RecordingStorage(recording: false)
    try Overlay.create(
      in: fresh, size: size, base: OverlayBase(name: "b", format: "raw", identity: []), .small
    ).close()
    #expect(file.size == fresh.size)
    let count = Int(fresh.size)
    #expect(
      same(file.content.bytes(at: 0, count: count), fresh.content.bytes(at: 0, count: count)))

    var random = SeededRandom(seed: 5)
    var cuts = PowerCuts(file.changes)
    var seen = (old: 0, new: 0)
    for count in start...file.changeCount {
      for loss in PowerCuts.Loss.allCases {
        let left = cuts.content(after: count, loss, &random)
        try #require(QcowChecker(left).errors == [], "\(count), \(loss)")
        let found = try Self.sample(left, size: size)
        try #require(same(found, before) || same(found, after), "\(count), \(loss)")
        if same(found, before) { seen.old += 1 } else { seen.new += 1 }
      }
    }
    #expect(seen.old > 0 && seen.new > 0)
  }

  /// Each call fails in turn: as it was or empty, and it can be done again.
  @Test(arguments: RecordingStorage.Fault.allCases) func failures(
    _ fault: RecordingStorage.Fault
  ) throws {
    let (written, size) = try Self.written(.small)
    let before = try Self.sample(written.content, size: size)
    var number = 1
    while true {
      let file = RecordingStorage(written.content, recording: false)
      file.fail(call: number, with: fault)
      let failed = (try? Overlay.empty(file)) == nil
      let found = try Self.sample(file.content, size: size)
      if !failed {
        #expect(!same(found, before))
        break
      }
      let again = RecordingStorage(file.content, recording: false)
      try Overlay.empty(again)
      #expect(same(try Self.sample(file.content, size: size), found))
      #expect(!same(try Self.sample(again.content, size: size), before))
      number += 1
    }
    #expect(number > 10)
  }

  /// Behind 8 GiB of clusters another refcount block counts; the table needs a second cluster behind
  /// those that one counts.
  @Test(arguments: [OverlayGeometry.standard, OverlayGeometry(bits: 14)]) func farBehind(
    _ geometry: OverlayGeometry
  ) throws {
    var tuning = OverlayTuning(geometry: geometry)
    tuning.firstCluster = geometry.countsPerBlock * UInt64(geometry.blocksPerCluster) - 20
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(
      in: file, size: 1 << 30, base: OverlayBase(name: "b", format: "raw", identity: []), tuning)
    let disk = try OverlaidDisk(overlay, Self.base).disk
    try disk.put(ImageBytes.pattern(1 << 20, seed: 1), at: 0)
    try overlay.close()
    #expect(file.size > geometry.countsPerBlock * geometry.clusterSize)
    try Overlay.empty(file)
    #expect(file.size == geometry.clusterSize * 4)
    let reopened = try OverlaidDisk(try Overlay.open(file), Self.base)
    #expect(same(try reopened.disk.bytes(at: 0, count: 1 << 20), Array(Self.base.prefix(1 << 20))))
    try reopened.overlay.close()
    #expect(QcowChecker(file.content).leaks == [])
    #expect(QcowChecker(file.content).errors == [])
  }

  /// In the middle of a commit nothing but that commit may go on.
  @Test func notDuringACommit() throws {
    let (file, _) = try Self.written(.small)
    let place = try OverlayHeader(of: file).statePlace
    try Overlay.writeState(OverlayExtension.commitMark, to: file, at: place)
    #expect(try Overlay.info(of: file).isMarkedCommitting)
    let content = file.changeCount
    let other = OverlayBase(name: "c", format: "raw", identity: [])
    #expect(throws: DiskError.self) { try Overlay.open(file) }
    #expect(throws: DiskError.self) { try Overlay.empty(file) }
    #expect(throws: DiskError.self) { try Overlay.relink(file, to: other) }
    #expect(file.changeCount == content)
    try Overlay.tie(file, to: other)
    #expect(try Overlay.info(of: file).isMarkedCommitting)
    try Overlay.makeEmpty(file)
    #expect(try !Overlay.info(of: file).isMarkedCommitting)
    #expect(try Overlay.info(of: file).base?.name == "c")
  }
}
