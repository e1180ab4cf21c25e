import DiskCore
import ImageFormats
import TestSupport
import Testing

@testable import Overlays

/// Named states beside the active one, against arrays of bytes.
struct OverlaySnapshotTests {
  /// A disk that lies across two L2 tables, and what it and its snapshots should hold.
  final class History {
    static let size = Int(OverlayTuning.small.geometry.bytesPerTable) + 100_700
    /// What is worked on.
    static let zone = size - 250_000..<size
    /// In the zone alone there is anything.
    let base: MemoryStorage?
    /// What the zone holds without changes.
    let pristine: [UInt8]
    let file: RecordingStorage
    var overlay: Overlay
    var disk: Disk
    var model: [UInt8]
    var saved: [String: [UInt8]] = [:]
    var random: SeededRandom

    init(_ kind: BaseKind, seed: UInt64, recording: Bool = false) throws {
      let bytes = kind.bytes(Self.zone.count)
      pristine = bytes + [UInt8](repeating: 0, count: Self.zone.count - bytes.count)
      base =
        kind == .none
        ? nil
        : MemoryStorage(
          size: UInt64(Self.zone.lowerBound + bytes.count),
          pieces: [(UInt64(Self.zone.lowerBound), bytes)])
      file = RecordingStorage(recording: recording)
      overlay = try Overlay.create(
        in: file, size: UInt64(Self.size), base: kind.overlayBase, .small)
      disk = try Self.disk(overlay, base)
      model = pristine
      random = SeededRandom(seed: seed)
    }

    /// Goes on with a file that `other` has closed.
    init(_ other: History, content: PagedBytes) throws {
      base = other.base
      pristine = other.pristine
      file = RecordingStorage(content, recording: false)
      overlay = try Overlay.open(file, .small)
      disk = try Self.disk(overlay, base)
      model = other.model
      saved = other.saved
      random = other.random
    }

    func open() throws {
      overlay = try Overlay.open(file, .small)
      disk = try Self.disk(overlay, base)
    }

    // On the open overlay, or on the closed file.

    func create(_ name: String, _ isLive: Bool) throws {
      if isLive {
        try overlay.createSnapshot(name)
      } else {
        try Overlay.createSnapshot(name, in: file)
      }
      saved[name] = model
    }

    func delete(_ name: String, _ isLive: Bool) throws {
      if isLive {
        try overlay.deleteSnapshot(name)
      } else {
        try Overlay.deleteSnapshot(name, in: file)
      }
      saved[name] = nil
    }

    func revert(_ name: String, _ isLive: Bool) throws {
      if isLive { try overlay.revert(to: name) } else { try Overlay.revert(file, to: name) }
      if let state = saved[name] { model = state }
    }

    /// Only ever on the closed file.
    func discardAll(_ isLive: Bool) throws {
      if isLive { try overlay.close() }
      try Overlay.empty(file)
      if isLive { try open() }
      model = pristine
    }

    func write() throws {
      let longest = Bool.random(using: &random) ? 3000 : 50_000
      let at = Int.random(in: 0..<model.count, using: &random)
      let count = Int.random(in: 1...min(longest, model.count - at), using: &random)
      let bytes = ImageBytes.pattern(count, seed: random.next())
      try disk.put(bytes, at: UInt64(Self.zone.lowerBound + at))
      model.replaceSubrange(at..<at + count, with: bytes)
    }

    func zero() throws {
      let at = Int.random(in: 0..<model.count, using: &random)
      let count = Int.random(in: 1...min(60_000, model.count - at), using: &random)
      try disk.zero(at: DiskOffset(UInt64(Self.zone.lowerBound + at)), length: UInt64(count))
      model.replaceSubrange(at..<at + count, with: [UInt8](repeating: 0, count: count))
    }

    static func disk(_ layer: any ImageLayer, _ base: MemoryStorage?) throws -> Disk {
      try Disk(layers: [layer] + (base.map { [FlatLayer($0)] } ?? []))
    }

    func content(_ disk: Disk) throws -> [UInt8] {
      try disk.bytes(at: UInt64(Self.zone.lowerBound), count: Self.zone.count)
    }

    func agree(_ what: String) throws {
      try #require(same(try content(disk), model), "\(what)")
    }

    func reopen() throws {
      try overlay.close()
      try check(file.content, leaks: false, "closed")
      overlay = try Overlay.open(file, .small)
      try #require(!overlay.wasRecovered)
      disk = try Self.disk(overlay, base)
    }

    func check(_ content: PagedBytes, leaks: Bool, _ what: String) throws {
      let checked = QcowChecker(content)
      try #require(checked.errors == [], "\(what)")
      if !leaks { try #require(checked.leaks == [], "\(what)") }
      try #require(Set(checked.snapshots) == Set(saved.keys), "\(what)")
    }

    /// Every snapshot holds what the disk held when it was taken.
    func checkSnapshots(in content: PagedBytes, _ what: String) throws {
      for (name, expected) in saved {
        try #require(
          same(try snapshot(name, in: content), expected), "\(what): \(name)")
      }
    }

    func snapshot(_ name: String, in content: PagedBytes) throws -> [UInt8] {
      let image = try QCOW2Format().open(RecordingStorage(content, recording: false), .none)
      let found = try #require(image.snapshots.first { $0.name == name })
      return try self.content(try Self.disk(found.open(), base))
    }

    /// One thing more, on the open overlay or on the closed file.
    func step() throws {
      let name = "s\(Int.random(in: 0..<5, using: &random))"
      let isOpen = Bool.random(using: &random)
      switch Int.random(in: 0..<16, using: &random) {
      case 0..<7: try write()
      case 7..<9: try zero()
      case 9..<11: try disk.flush()
      case 11: try reopen()
      case 12, 13:
        let isThere = saved[name] != nil
        try change(isOpen) { isThere ? try delete(name, isOpen) : try create(name, isOpen) }
      case 14:
        guard saved[name] != nil else { return }
        try change(isOpen) { try revert(name, isOpen) }
      default: try agree("read")
      }
    }

    private func change(_ isOpen: Bool, _ body: () throws -> Void) throws {
      if isOpen { return try body() }
      try overlay.close()
      try body()
      try open()
    }
  }

  @Test(arguments: BaseKind.allCases) func randomHistoriesAgree(_ kind: BaseKind) throws {
    for seed in 0..<UInt64(Soak.rounds(2)) {
      let history = try History(kind, seed: seed)
      for number in 0..<120 {
        try history.step()
        if number % 10 == 0 {
          try history.disk.flush()
          try history.check(history.file.content, leaks: true, "seed \(seed), step \(number)")
          try history.checkSnapshots(in: history.file.content, "seed \(seed), step \(number)")
          try history.agree("seed \(seed), step \(number)")
        }
      }
      try history.reopen()
      try history.agree("seed \(seed)")
      try history.checkSnapshots(in: history.file.content, "seed \(seed)")
      // With the last snapshot goes what only snapshots had.
      for name in history.saved.keys.sorted() {
        try history.overlay.deleteSnapshot(name)
        history.saved[name] = nil
        try history.agree("seed \(seed), without \(name)")
      }
      try history.reopen()
      try history.agree("seed \(seed), alone")
    }
  }
}
