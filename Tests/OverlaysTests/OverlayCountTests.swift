import DiskCore
import TestSupport
import Testing

@testable import Overlays

/// Reference counts, the memory that tables take, and the smallest and largest disks.
struct OverlayCountTests {
  private static let cluster = 131072

  @Test func refcountBlocksAndTheirTableGrow() throws {
    // 8,192 clusters to a block of 16 KiB, 2,048 blocks to a table of one cluster.
    for border: UInt64 in [8192, 8192 * 2048] {
      var tuning = OverlayTuning.small
      tuning.firstCluster = border - 7
      let file = RecordingStorage()
      let size = 2 << 20
      let overlay = try Overlay.create(in: file, size: UInt64(size), base: nil, tuning)
      let disk = try OverlaidDisk(overlay, []).disk
      let bytes = ImageBytes.pattern(size, seed: border)
      for at in stride(from: 0, to: size, by: 50_000) {
        try disk.put(Array(bytes[at..<min(size, at + 50_000)]), at: UInt64(at))
      }
      try disk.flush()
      let tableAt = file.content.bytes(at: 48, count: 8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      #expect((tableAt != 16384) == (border > 8192))
      #expect(QcowChecker(file.content).errors == [])
      // Cut off at every change.
      var cuts = PowerCuts(file.changes)
      var random = SeededRandom(seed: border)
      for count in 9...file.changeCount {
        // Nothing names anything new before the flush at the end.
        let isNear = file.changeCount - count < 16
        guard isNear || count % 9 == 0 else { continue }
        for index in 0..<(isNear ? 25 : 5) {
          let loss = PowerCuts.Loss.allCases[index % 5]
          let left = cuts.content(after: count, loss, &random)
          try #require(QcowChecker(left).errors == [], "\(count) \(loss)")
          guard index < 5 else { continue }
          let again = RecordingStorage(left, recording: false)
          try Overlay.open(again, .small).close()
          let checked = QcowChecker(again.content)
          try #require(checked.errors == [], "\(count) \(loss)")
          try #require(checked.leaks == [], "\(count) \(loss)")
        }
      }
      try overlay.close()
      let checked = QcowChecker(file.content)
      #expect(checked.errors == [])
      #expect(checked.leaks == [])
      let again = try OverlaidDisk(try Overlay.open(file, .small), []).disk
      #expect(same(try again.bytes(at: 0, count: size), bytes))
    }
  }

  @Test func whatWasLostIsCollected() throws {
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: 1 << 30, base: nil)
    let disk = try OverlaidDisk(overlay, []).disk
    try disk.put([1, 2, 3], at: 77)
    try disk.flush()
    #expect(QcowChecker(file.content).leaks.count == 62)
    let again = try Overlay.open(file)
    #expect(again.wasRecovered)
    #expect(again.description.notes.count == 1)
    #expect(QcowChecker(file.content).leaks == [])
    #expect(try OverlaidDisk(again, []).disk.bytes(at: 77, count: 3) == [1, 2, 3])
    try again.close()
    #expect(file.size == 6 * UInt64(Self.cluster))
    #expect(try !Overlay.open(file).wasRecovered)
  }

  @Test func freeClustersOfEarlierTimesAreFound() throws {
    let file = RecordingStorage(recording: false)
    let first = try Overlay.create(in: file, size: 64 << 20, base: nil)
    let disk = try OverlaidDisk(first, []).disk
    try disk.put(ImageBytes.pattern(8 << 20, seed: 1), at: 0)
    try disk.zero(at: .start, length: 6 << 20)
    try first.close()
    let size = file.size
    let second = try Overlay.open(file)
    try OverlaidDisk(second, []).disk.put(ImageBytes.pattern(6 << 20, seed: 2), at: 16 << 20)
    #expect(file.size == size)
    try second.close()
    #expect(QcowChecker(file.content).leaks == [])
    #expect(QcowChecker(file.content).errors == [])
  }

  @Test func memoryIsBounded() throws {
    let tuning = OverlayTuning.small
    let border = tuning.geometry.bytesPerTable
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: border * 40, base: nil, tuning)
    let disk = try OverlaidDisk(overlay, []).disk
    for index in 0..<40 {
      try disk.put([UInt8(index)], at: border * UInt64(index))
      #expect(overlay.state.withLock { $0.tables.count } <= 3)
    }
    for index in 0..<40 {
      #expect(try disk.bytes(at: border * UInt64(index), count: 1) == [UInt8(index)])
      #expect(overlay.state.withLock { $0.tables.count } <= 3)
    }
  }

  @Test(arguments: [0, 1, 511, 512] as [UInt64])
  func aTinyDisk(_ size: UInt64) throws {
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: size, base: nil)
    let disk = try OverlaidDisk(overlay, []).disk
    if size > 0 { try disk.put([3], at: size - 1) }
    #expect(throws: DiskError.self) { try disk.put([3], at: size) }
    try disk.flush()
    let again = try Overlay.open(file)
    #expect(again.size == size)
    try again.close()
    #expect(QcowChecker(file.content).errors == [])
    #expect(QcowChecker(file.content).leaks == [])
  }

  /// Features that a writer who does not know them must take back.
  @Test func autoclearFeaturesAreCleared() throws {
    let file = RecordingStorage(recording: false)
    try Overlay.create(in: file, size: 1 << 20, base: nil).close()
    var content = file.content
    content.write([0x80, 0, 0, 0, 0, 0, 0, 4], at: 88)
    let other = RecordingStorage(content, recording: false)
    try Overlay.open(other).close()
    #expect(other.content.bytes(at: 88, count: 8).allSatisfy { $0 == 0 })
  }

  /// A cut while an overlay is being made: there is one, or there is none.
  @Test func aCutWhileItIsMade() throws {
    let file = RecordingStorage()
    let overlay = try Overlay.create(
      in: file, size: 1 << 20, base: BaseKind.raw.overlayBase, .small)
    let made = file.changeCount
    try overlay.close()
    var cuts = PowerCuts(file.changes)
    var random = SeededRandom(seed: 1)
    for count in 0...file.changeCount {
      for loss in PowerCuts.Loss.allCases {
        for _ in 0..<8 {
          let left = RecordingStorage(
            cuts.content(after: count, loss, &random), recording: false)
          if count >= made || left.content.bytes(at: 0, count: 4) == [0x51, 0x46, 0x49, 0xfb] {
            try Overlay.open(left, .small).close()
            #expect(QcowChecker(left.content).errors == [])
            #expect(QcowChecker(left.content).leaks == [])
          } else {
            #expect(throws: DiskError.self) { try Overlay.open(left, .small) }
          }
        }
      }
    }
  }

  /// A table stays while somebody is about to change it, and while a flush writes it: what the file
  /// has is older.
  @Test func tablesThatAreNeededStay() throws {
    let tuning = OverlayTuning.small
    let border = tuning.geometry.bytesPerTable
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: border * 8, base: nil, tuning)
    let disk = try OverlaidDisk(overlay, []).disk
    for index in 0..<8 { try disk.put([UInt8(index)], at: border * UInt64(index)) }
    try disk.flush()
    let readOthers: @Sendable () -> Void = {
      for index in 1..<8 { _ = try? disk.bytes(at: border * UInt64(index), count: 1) }
    }
    // A subcluster that is not there, of a cluster that is.
    let place = try overlay.reserve(at: DiskOffset(1024), length: 512)
    readOthers()
    try place.storage.write([UInt8](repeating: 5, count: 512).span.bytes, at: place.at)
    overlay.publish(place)
    readOthers()
    #expect(try disk.bytes(at: 1024, count: 1) == [5])
    file.beforeFlush {
      readOthers()
      #expect((try? disk.bytes(at: 1024, count: 1)) == [5])
    }
    try disk.flush()
    file.beforeFlush {}
    readOthers()
    #expect(try disk.bytes(at: 1024, count: 1) == [5])
  }

  /// 64 TiB: the L1 table is 512 KiB, and nothing else is larger than for a floppy.
  @Test func aLargeDisk() throws {
    let file = RecordingStorage(recording: false)
    let size: UInt64 = 64 << 40
    let overlay = try Overlay.create(in: file, size: size, base: nil)
    let disk = try OverlaidDisk(overlay, []).disk
    #expect(file.size == 7 * UInt64(Self.cluster))
    try disk.put([9], at: size - 1)
    try overlay.close()
    let again = try OverlaidDisk(try Overlay.open(file), []).disk
    #expect(try again.bytes(at: size - 2, count: 2) == [0, 9])
    #expect(throws: DiskError.self) {
      try Overlay.create(in: RecordingStorage(), size: 1 << 62, base: nil)
    }
  }
}
