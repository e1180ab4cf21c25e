import DiskCore
import Foundation
import TestSupport
import Testing

@testable import Overlays

/// What is left of an overlay when the power fails at any moment: nothing flushed is lost, and no
/// program finds an error in the file.
struct OverlayPowerCutTests {
  /// What was done to the disk, and when, counted in changes of the file.
  private struct Event {
    let from: Int
    let at: Int
    let bytes: [UInt8]
  }

  private struct Flushed {
    let changes: Int
    let events: Int
    let content: [UInt8]
  }

  /// What the file is.
  enum Entries: Sendable, CaseIterable {
    /// An overlay of Platter's.
    case extended
    /// A qcow2 file that is none, with compressed clusters.
    case standard
  }

  /// The part of the disk that is worked on: it lies across the border of two L2 tables.
  private struct Work: Sendable {
    let entries: Entries
    let size: UInt64
    let zone: UInt64
    let count: Int
    let base: MemoryStorage?
    let content: [UInt8]
    /// Clusters that the file has from the start; some are compressed.
    private let compressed: [Int: [UInt8]]

    init(_ kind: BaseKind, _ entries: Entries) {
      self.entries = entries
      let geometry =
        entries == .extended
        ? OverlayTuning.small.geometry : OverlayGeometry(bits: 12, hasSubclusters: false)
      let border = geometry.bytesPerTable
      let below: [UInt8]
      count = 300_000
      zone = border - 150_000
      // Its end is no multiple of a sector where that is possible, and past the work.
      size = entries == .extended ? border + 150_000 + 8300 : (border + 158_300) / 512 * 512
      switch kind {
      case .none:
        base = nil
        below = [UInt8](repeating: 0, count: count)
      case .raw, .short:
        let stored = kind == .raw ? count : 200_123
        let bytes = ImageBytes.pattern(stored, seed: 5)
        base = MemoryStorage(
          size: kind == .raw ? size : zone + UInt64(stored), pieces: [(zone, bytes)])
        below = bytes + [UInt8](repeating: 0, count: count - stored)
      }
      var stored: [Int: [UInt8]] = [:]
      var content = below
      if entries == .standard {
        for number in [3, 4, 5, 9, 30, 31, 50, 51, 52, 60] {
          let bytes =
            ImageBytes.pattern(900, seed: UInt64(number)) + [UInt8](repeating: 0, count: 3196)
          let cluster = (Int(zone) >> 12) + number
          stored[cluster] = bytes
          let at = cluster << 12 - Int(zone)
          content.replaceSubrange(at..<at + 4096, with: bytes)
        }
      }
      compressed = stored
      self.content = content
    }

    /// The file as it is before the work.
    func start(_ file: RecordingStorage, _ kind: BaseKind) throws -> Overlay {
      guard entries == .standard else {
        return try Overlay.create(in: file, size: size, base: kind.overlayBase, .small)
      }
      var builder = QCOW2Builder(size: size)
      builder.clusterBits = 12
      builder.backing = kind == .none ? nil : "base.img"
      for (number, bytes) in compressed {
        builder.clusters[number] =
          number % 2 == 0
          ? .data(bytes) : .compressed(CompressedBytes.deflate(bytes, zerosAfter: 900), bytes)
      }
      try file.write(builder.counted.all, at: 0)
      try file.flush()
      return try open(file)
    }

    func open(_ file: RecordingStorage) throws -> Overlay {
      try Overlay.open(file, .small, as: entries == .extended ? .overlay : .base)
    }

    func disk(_ overlay: Overlay) throws -> Disk {
      try Disk(layers: base.map { [overlay, FlatLayer($0)] } ?? [overlay])
    }
  }

  @Test(arguments: BaseKind.allCases, Entries.allCases)
  func nothingFlushedIsLost(_ kind: BaseKind, _ entries: Entries) throws {
    // The base makes no difference to how entries are written.
    guard entries == .extended || kind != .raw || Soak.isOn else { return }
    var states = 0
    // Each round is a history of its own, cut in 34 places in five ways.
    for seed in 0..<UInt64(Soak.rounds(1)) { states += try history(kind, entries, seed) }
    #expect(states >= Soak.rounds(1) * 150)
  }

  private func history(
    _ kind: BaseKind, _ entries: Entries, _ seed: UInt64
  ) throws -> Int {
    var random = SeededRandom(seed: seed &* 31 &+ 7)
    let work = Work(kind, entries)
    let file = RecordingStorage()
    var overlay = try work.start(file, kind)
    var disk = try work.disk(overlay)
    let created = file.changeCount
    var content = work.content
    var events: [Event] = []
    var flushes = [Flushed(changes: created, events: 0, content: content)]
    for _ in 0..<60 {
      let at = Int.random(in: 0..<work.count, using: &random)
      let longest = Bool.random(using: &random) ? 2000 : 60_000
      let count = Int.random(in: 1...min(longest, work.count - at), using: &random)
      let from = file.changeCount
      switch Int.random(in: 0..<12, using: &random) {
      case 0..<6:
        let bytes = ImageBytes.pattern(count, seed: random.next())
        events.append(Event(from: from, at: at, bytes: bytes))
        content.replaceSubrange(at..<at + count, with: bytes)
        try disk.put(bytes, at: work.zone + UInt64(at))
      case 6..<9:
        let zeros = [UInt8](repeating: 0, count: count)
        events.append(Event(from: from, at: at, bytes: zeros))
        content.replaceSubrange(at..<at + count, with: zeros)
        try disk.zero(at: DiskOffset(work.zone + UInt64(at)), length: UInt64(count))
      case 9..<11:
        let flushed = content
        let known = events.count
        // A write that comes in while the flush is going on is not part of it.
        let late = ImageBytes.pattern(min(count, 20_000), seed: random.next())
        let written = Shared<Int?>(nil)
        if Bool.random(using: &random) {
          let isFirst = Shared(true)
          file.beforeFlush { [disk] in
            guard isFirst.value else { return }
            isFirst.change { $0 = false }
            written.change { $0 = file.changeCount }
            try? disk.put(late, at: work.zone + UInt64(at))
          }
        }
        try disk.flush()
        file.beforeFlush {}
        if let from = written.value {
          events.append(Event(from: from, at: at, bytes: late))
          content.replaceSubrange(at..<at + late.count, with: late)
        }
        flushes.append(
          Flushed(changes: file.changeCount, events: known, content: flushed))
      default:
        try overlay.close()
        flushes.append(
          Flushed(changes: file.changeCount, events: events.count, content: content))
        overlay = try work.open(file)
        disk = try work.disk(overlay)
      }
    }
    try overlay.close()
    flushes.append(Flushed(changes: file.changeCount, events: events.count, content: content))

    let changes = file.changes
    var cuts = PowerCuts(changes)
    var places = (0..<32).map { _ in Int.random(in: created...changes.count, using: &random) }
    places += [created, changes.count]
    var states = 0
    for place in places.sorted() {
      guard let last = flushes.last(where: { $0.changes <= place }) else { continue }
      let later = events[last.events...].filter { $0.from < place }
      for loss in PowerCuts.Loss.allCases {
        let left = cuts.content(after: place, loss, &random)
        // Every state by our own checker; some by QEMU's too.
        try check(
          left, work, last.content, later, kind, "seed \(seed), cut \(place), lost \(loss)",
          useTool: states % 97 == 0)
        states += 1
      }
    }
    return states
  }

  private func check(
    _ left: PagedBytes, _ work: Work, _ flushed: [UInt8], _ later: [Event], _ kind: BaseKind,
    _ what: String, useTool: Bool
  ) throws {
    let crashed = QcowChecker(left)
    try #require(crashed.errors == [], "\(what)")
    if useTool, HostTools.has("qemu-img") { try checkByTool(left, accepting: [0, 3]) }
    let file = RecordingStorage(left, recording: false)
    let overlay = try work.open(file)
    let read = try work.disk(overlay).bytes(at: work.zone, count: work.count)
    try #require(explains(read, flushed, later), "\(what)")
    // It can be gone on with.
    let again = ImageBytes.pattern(70_000, seed: 9)
    try work.disk(overlay).put(again, at: work.zone + 100_000)
    try overlay.close()
    let recovered = QcowChecker(file.content)
    try #require(recovered.errors == [], "\(what)")
    try #require(recovered.leaks == [], "\(what)")
    if useTool, HostTools.has("qemu-img") { try checkByTool(file.content, accepting: [0]) }
    var expected = read
    expected.replaceSubrange(100_000..<170_000, with: again)
    let reopened = try work.disk(try work.open(file))
    try #require(
      same(try reopened.bytes(at: work.zone, count: work.count), expected), "\(what)")
  }

  /// Every byte is as it was flushed or as something later made it.
  private func explains(_ read: [UInt8], _ flushed: [UInt8], _ later: [Event]) -> Bool {
    guard !same(read, flushed) else { return true }
    return read.withUnsafeBytes { read in
      flushed.withUnsafeBytes { flushed in
        var place = 0
        while place < read.count {
          let count = min(512, read.count - place)
          if memcmp(read.baseAddress! + place, flushed.baseAddress! + place, count) != 0 {
            for index in place..<place + count where read[index] != flushed[index] {
              let explained = later.contains {
                index >= $0.at && index < $0.at + $0.bytes.count
                  && $0.bytes[index - $0.at] == read[index]
              }
              if !explained { return false }
            }
          }
          place += count
        }
        return true
      }
    }
  }

  private func checkByTool(_ content: PagedBytes, accepting: Set<Int32>) throws {
    try HostTools.withFolder { folder in
      let path = folder + "/overlay.qcow2"
      try content.save(to: path)
      // 2 would be errors, 3 leaks.
      try HostTools.run(
        "qemu-img",
        [
          "check",
          "json:{\"driver\":\"qcow2\",\"backing\":null,\"file\":{\"driver\":\"file\",\"filename\":\"\(path)\"}}",
        ], accepting: accepting)
    }
  }
}
