import Digests
import DiskCore
import ImageFormats
import Synchronization
import TestSupport
import Testing

@testable import Overlays

/// What is left of overlay and base when the power fails during a commit: the disk reads the same, and
/// another commit finishes it.
struct OverlayCommitPowerCutTests {
  static let size = 400_384

  /// A flat image in memory that takes writes.
  private final class FlatTarget: WritableLayer {
    let storage: RecordingStorage
    init(_ storage: RecordingStorage) { self.storage = storage }
    var size: UInt64 { storage.size }
    var tableBytes: UInt64 { 0 }
    var files: [any Storage] { [storage] }
    var description: LayerDescription { LayerDescription(format: "raw") }
    var unit: UInt64 { 1 }
    func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
      Extent(.stored(storage, at: FileOffset(offset.bytes)), length: size - offset.bytes)
    }
    func reserve(at offset: DiskOffset, length: UInt64) throws(DiskError) -> Reservation {
      Reservation(storage, at: FileOffset(offset.bytes), offset: offset, length: length)
    }
    func publish(_ reservation: Reservation) {}
    func abandon(_ reservation: Reservation) {}
    func discard(at offset: DiskOffset, length: UInt64) throws(DiskError) {
      try storage.punch(at: FileOffset(offset.bytes), length: length)
    }
    func flush() throws(DiskError) -> UInt64 {
      try storage.flush()
      return 0
    }
    func reclaim(upTo generation: UInt64) {}
  }

  /// What the changes are put into.
  enum Base: Sendable, CaseIterable {
    case flat
    /// Without extended entries, on a file of its own; with compressed clusters.
    case qcow2

    func content() -> PagedBytes {
      guard self == .qcow2 else { return PagedBytes(ImageBytes.pattern(size, seed: 1)) }
      var builder = QCOW2Builder(size: UInt64(size))
      builder.clusterBits = 12
      builder.backing = "below.raw"
      for number in [0, 1, 2, 11, 12, 60] {
        builder.clusters[number] = .data(ImageBytes.pattern(4096, seed: UInt64(number)))
      }
      for number in [20, 22, 23, 24, 25, 48, 49] {
        let content =
          ImageBytes.pattern(700, seed: UInt64(number)) + [UInt8](repeating: 0, count: 3396)
        builder.clusters[number] = .compressed(
          CompressedBytes.deflate(content, zerosAfter: 700), content)
      }
      builder.clusters[50] = .zero
      builder.clusters[70] = .zeroAt(ImageBytes.pattern(4096, seed: 70))
      return builder.counted
    }

    private static let below = FlatLayer(MemoryStorage(ImageBytes.pattern(size / 2, seed: 4)))

    func layers(_ file: any Storage) throws -> [any ImageLayer] {
      self == .flat
        ? [FlatLayer(file)] : [try QCOW2Format().open(file, .none).layers[0], Self.below]
    }

    func target(_ file: RecordingStorage) -> CommitTarget {
      guard self == .qcow2 else { return .flat(FlatTarget(file)) }
      var tuning = OverlayTuning.small
      tuning.raisedRun = 3
      return .qcow2(file, below: [Self.below], tuning)
    }

    var format: String { self == .flat ? "raw" : "qcow2" }
  }

  private static func disk(
    _ overlay: any Storage, _ base: any Storage, _ kind: Base
  ) throws -> Disk {
    let layer = try QCOW2Format().open(overlay, .none).layers[0]
    return try Disk(layers: [layer] + kind.layers(base))
  }

  private static func commit(
    _ overlay: RecordingStorage, _ base: RecordingStorage, _ kind: Base
  ) throws {
    try OverlayCommit.run(
      overlay, try StoredOverlay(overlay), from: try disk(overlay, base, kind),
      into: kind.target(base), progress: { _ in },
      base: { () throws(DiskError) in
        OverlayBase(
          name: "base.img", format: kind.format, identity: [try FileIdentityRecord.of(base)])
      })
  }

  /// Both files before a commit, and what their disk reads.
  private static func prepared(
    _ kind: Base, leftOpen: Bool
  ) throws -> (overlay: PagedBytes, base: PagedBytes, whole: [UInt8]) {
    let base = kind.content()
    let file = RecordingStorage(recording: false)
    let under = RecordingStorage(base, path: "base.img", recording: false)
    let record = OverlayBase(
      name: "base.img", format: kind.format, identity: [try FileIdentityRecord.of(under)])
    let overlay = try Overlay.create(in: file, size: UInt64(size), base: record, .small)
    let disk = try Disk(layers: [overlay] + kind.layers(under))
    for number in 0..<8 {
      try disk.put(ImageBytes.pattern(9000, seed: UInt64(number + 5)), at: UInt64(number * 47_777))
    }
    try disk.zero(at: DiskOffset(200_000), length: 90_000)
    try disk.put(ImageBytes.pattern(500, seed: 99), at: UInt64(size - 500))
    try disk.flush()
    let whole = try disk.bytes(at: 0, count: size)
    if !leftOpen { try overlay.close() }
    return (file.content, base, whole)
  }

  private static func content(of base: RecordingStorage, _ kind: Base) throws -> [UInt8] {
    try Disk(layers: kind.layers(base)).bytes(at: 0, count: size)
  }

  @Test(arguments: Base.allCases, [false, true])
  func cutOff(_ kind: Base, _ leftOpen: Bool) throws {
    let before = try Self.prepared(kind, leftOpen: leftOpen)
    let overlay = RecordingStorage(before.overlay)
    let base = RecordingStorage(before.base, path: "base.img")
    // How many changes each had when either was flushed.
    let moments = Mutex<[[Int]]>([[0, 0]])
    let note: @Sendable () -> Void = {
      moments.withLock { $0.append([overlay.changeCount, base.changeCount]) }
    }
    overlay.beforeFlush(note)
    base.beforeFlush(note)
    try Self.commit(overlay, base, kind)
    note()
    #expect(same(try Self.content(of: base, kind), before.whole))

    var random = SeededRandom(seed: 8)
    // A power cut is played over what was there at the start, too.
    let start = { (content: PagedBytes) -> [RecordingStorage.Change] in
      [.write(at: 0, bytes: content.bytes(at: 0, count: Int(content.size))), .flush]
    }
    var overlayCuts = PowerCuts(start(before.overlay) + overlay.changes)
    var baseCuts = PowerCuts(start(before.base) + base.changes)
    var states = 0
    let all = moments.withLock { $0 }
    for (from, to) in zip(all, all.dropFirst()) {
      // What makes the order right: one file at a time, and on the disk before the other one's turn.
      // (The flush at `from` itself is a change of its file.)
      let changed = [to[0] - from[0], to[1] - from[1]]
      try #require(changed[0] <= 1 || changed[1] <= 1, "\(from), \(to)")
      for step in 0...max(changed[0], changed[1]) {
        let counts = [from[0] + min(step, changed[0]), from[1] + min(step, changed[1])]
        for loss in PowerCuts.Loss.allCases {
          states += 1
          // Of many more states, every few, and each by `make soak`.
          guard kind == .flat || Soak.isOn || states % 4 == 0 else { continue }
          let left = RecordingStorage(
            overlayCuts.content(after: counts[0] + 2, loss, &random), recording: false)
          let under = RecordingStorage(
            baseCuts.content(after: counts[1] + 2, loss, &random), path: "base.img",
            recording: false)
          try check(left, under, kind, before.whole, "\(counts), \(loss)")
        }
      }
    }
    #expect(states > 100)
  }

  private func check(
    _ overlay: RecordingStorage, _ base: RecordingStorage, _ kind: Base, _ whole: [UInt8],
    _ what: String
  ) throws {
    try #require(QcowChecker(overlay.content).errors == [], "\(what)")
    if kind == .qcow2 { try #require(QcowChecker(base.content).errors == [], "\(what)") }
    let read = try Self.disk(overlay, base, kind).bytes(at: 0, count: Self.size)
    try #require(same(read, whole), "\(what)")
    // Without the mark, the base is as it was recorded; with it, where the overlay holds nothing.
    let info = try Overlay.info(of: overlay)
    if let record = info.base?.identity.first {
      let differences =
        info.hasDiskSamples
        ? try record.differences(from: try Disk(layers: kind.layers(base)))
        : info.isMarkedCommitting ? [] : try record.differences(from: base)
      try #require(differences.allSatisfy { !$0.isOfContent }, "\(what)")
    }
    try Self.commit(overlay, base, kind)
    try #require(same(try Self.content(of: base, kind), whole), "\(what)")
    try #require(try StoredOverlay(overlay).heldBytes().all == 0, "\(what)")
    try #require(try !Overlay.info(of: overlay).isMarkedCommitting, "\(what)")
    for file in kind == .qcow2 ? [overlay, base] : [overlay] {
      let checker = QcowChecker(file.content)
      try #require(checker.errors == [] && checker.leaks == [], "\(what)")
    }
  }

  /// A call that fails: nothing is lost, and the next commit finishes it.
  @Test(arguments: Base.allCases, RecordingStorage.Fault.allCases) func failures(
    _ kind: Base, _ fault: RecordingStorage.Fault
  ) throws {
    let before = try Self.prepared(kind, leftOpen: false)
    for failsBase in [false, true] {
      var number = 1
      while true {
        let overlay = RecordingStorage(before.overlay, recording: false)
        let base = RecordingStorage(before.base, path: "base.img", recording: false)
        (failsBase ? base : overlay).fail(call: number, with: fault)
        let failed = (try? Self.commit(overlay, base, kind)) == nil
        // What failed once does not fail again.
        try check(
          RecordingStorage(overlay.content, recording: false),
          RecordingStorage(base.content, path: "base.img", recording: false), kind, before.whole,
          "call \(number)")
        if !failed { break }
        // Of many more calls, every few, and each by `make soak`.
        number += kind == .qcow2 && !Soak.isOn ? 19 : 1
      }
      #expect(number > 5)
    }
  }
}
