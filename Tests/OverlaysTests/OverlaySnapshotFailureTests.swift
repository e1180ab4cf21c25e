import DiskCore
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Overlays

/// Snapshots when the power fails, when calls fail, and with many writers.
struct OverlaySnapshotFailureTests {
  private typealias History = OverlaySnapshotTests.History

  /// The disk and its snapshots at one moment.
  private struct Moment {
    let model: [UInt8]
    let saved: [String: [UInt8]]
    /// Changes of the file by when it was on the disk, at the latest.
    var changes = 0
    init(_ history: History) {
      model = history.model
      saved = history.saved
      changes = history.file.changeCount
    }

    /// What is to be found where an overlay went on after a verb.
    init(_ history: History, _ before: Moment, _ after: Moment, _ failed: Bool) {
      model = history.model
      saved = failed ? before.saved : after.saved
    }
  }

  /// Whatever arrived of a verb, the file holds the state before it or the one after it, of the disk
  /// and of all snapshots, and what was flushed before.
  @Test(arguments: [BaseKind.none, .raw]) func powerCuts(_ kind: BaseKind) throws {
    var states = 0
    for seed in 0..<UInt64(Soak.rounds(1)) { states += try cut(kind, seed) }
    #expect(states >= Soak.rounds(1) * 60)
  }

  private func cut(_ kind: BaseKind, _ seed: UInt64) throws -> Int {
    let history = try History(kind, seed: seed &* 17 &+ 3, recording: true)
    // What the file was at the start and the end of each verb; both are flushed.
    var verbs: [(before: Moment, after: Moment)] = []
    for number in 0..<12 {
      for _ in 0..<2 { try history.write() }
      if number % 3 == 0 { try history.zero() }
      try history.disk.flush()
      let before = Moment(history)
      let name = "s\(number % 4)"
      let isLive = Bool.random(using: &history.random)
      if !isLive { try history.overlay.close() }
      switch (history.saved[name] == nil, number % 5) {
      case (true, 0): try history.discardAll(isLive)
      case (true, _): try history.create(name, isLive)
      case (false, 0..<2): try history.delete(name, isLive)
      case (false, _): try history.revert(name, isLive)
      }
      if !isLive { try history.open() }
      verbs.append((before, Moment(history)))
      // On top of what the verb left: the cuts below reach into these, too.
      try history.write()
    }
    try history.overlay.close()

    var cuts = PowerCuts(history.file.changes)
    var states = 0
    for (number, verb) in verbs.enumerated() {
      var places = Array(verb.before.changes...verb.after.changes)
      if !Soak.isOn {
        places = (places.shuffled(using: &history.random).prefix(1) + places.suffix(2)).sorted()
      }
      for place in places {
        let losses = PowerCuts.Loss.allCases
        for loss in Soak.isOn ? losses : [losses[place % losses.count], .sectors] {
          let left = cuts.content(after: place, loss, &history.random)
          try check(
            left, verb.before, verb.after, history,
            "seed \(seed), verb \(number), \(place), \(loss)",
            useTool: states % 61 == 0)
          states += 1
        }
      }
    }
    return states
  }

  private func check(
    _ left: PagedBytes, _ before: Moment, _ after: Moment, _ history: History, _ what: String,
    useTool: Bool
  ) throws {
    let crashed = QcowChecker(left)
    try #require(crashed.errors == [], "\(what)")
    if useTool, HostTools.has("qemu-img") { try checkByTool(left, accepting: [0, 3]) }
    let file = RecordingStorage(left, recording: false)
    let overlay = try Overlay.open(file, .small)
    let disk = try History.disk(overlay, history.base)
    let found = try history.content(disk)
    let names = Set(crashed.snapshots)
    let moment = [before, after].first {
      names == Set($0.saved.keys) && same(found, $0.model)
    }
    let state = try #require(moment, "\(what)")
    for (name, expected) in state.saved {
      try #require(same(try history.snapshot(name, in: left), expected), "\(what): \(name)")
    }
    // It can be gone on with.
    try disk.put(ImageBytes.pattern(50_000, seed: 9), at: UInt64(History.zone.lowerBound + 60_000))
    if names.count.isMultiple(of: 2) { try overlay.createSnapshot("more") }
    try overlay.close()
    let recovered = QcowChecker(file.content)
    try #require(recovered.errors == [], "\(what)")
    try #require(recovered.leaks == [], "\(what)")
    for (name, expected) in state.saved {
      try #require(
        same(try history.snapshot(name, in: file.content), expected), "\(what): \(name), gone on")
    }
    if useTool, HostTools.has("qemu-img") { try checkByTool(file.content, accepting: [0]) }
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

  /// Writes over clusters and tables that are shared, cut off anywhere.
  @Test func powerCutsWhileClustersMove() throws {
    for seed in 0..<UInt64(Soak.rounds(1)) {
      let history = try History(.raw, seed: seed, recording: true)
      for _ in 0..<6 { try history.write() }
      try history.create("one", true)
      let start = history.file.changeCount
      var flushes = [(changes: start, content: history.model)]
      var writes: [(from: Int, at: Int, bytes: [UInt8])] = []
      for number in 0..<30 {
        let from = history.file.changeCount
        let before = history.model
        if number % 4 == 3 { try history.zero() } else { try history.write() }
        let changed = before.indices.filter { before[$0] != history.model[$0] }
        if let first = changed.first, let last = changed.last {
          writes.append((from, first, Array(history.model[first...last])))
        }
        if number % 3 == 2 {
          try history.disk.flush()
          flushes.append((history.file.changeCount, history.model))
        }
      }
      var cuts = PowerCuts(history.file.changes)
      let places = start...history.file.changeCount
      let chosen =
        Soak.isOn
        ? Array(places) : (0..<16).map { _ in Int.random(in: places, using: &history.random) }
      for place in chosen.sorted() {
        guard let flushed = flushes.last(where: { $0.changes <= place }) else { continue }
        let losses = PowerCuts.Loss.allCases
        for loss in Soak.isOn ? losses : [.nothing, losses[1 + place % (losses.count - 1)]] {
          let what = "seed \(seed), \(place), \(loss)"
          let left = cuts.content(after: place, loss, &history.random)
          try #require(QcowChecker(left).errors == [], "\(what)")
          let expected = try #require(history.saved["one"])
          try #require(same(try history.snapshot("one", in: left), expected), "\(what)")
          let file = RecordingStorage(left, recording: false)
          let overlay = try Overlay.open(file, .small)
          let found = try history.content(try History.disk(overlay, history.base))
          let later = writes.filter { $0.from >= flushed.changes && $0.from < place }
          let doubtful = found.indices.filter { found[$0] != flushed.content[$0] }
          let isExplained = doubtful.allSatisfy { index in
            later.contains {
              index >= $0.at && index < $0.at + $0.bytes.count
                && $0.bytes[index - $0.at] == found[index]
            }
          }
          try #require(isExplained, "\(what)")
          try overlay.close()
          try #require(QcowChecker(file.content).errors == [], "\(what)")
          try #require(QcowChecker(file.content).leaks == [], "\(what)")
        }
      }
      try history.overlay.close()
    }
  }

  /// Each call fails in turn, in a verb on the open overlay or on the file.
  @Test(arguments: RecordingStorage.Fault.allCases) func everyCallFailsInTurn(
    _ fault: RecordingStorage.Fault
  ) throws {
    let start = try History(.raw, seed: 4)
    for _ in 0..<6 { try start.write() }
    try start.create("one", true)
    for _ in 0..<4 { try start.write() }
    try start.create("two", true)
    try start.write()
    try start.overlay.close()
    for verb in 0..<4 {
      for isLive in [true, false] where verb < 3 || !isLive {
        var number = 1
        while try run(fault, start, verb, isLive, number) { number += Soak.isOn ? 1 : 7 }
        #expect(number > 5)
      }
    }
  }

  /// False where there were not so many calls.
  private func run(
    _ fault: RecordingStorage.Fault, _ start: History, _ verb: Int, _ isLive: Bool, _ number: Int
  ) throws -> Bool {
    let what = "\(fault), verb \(verb), \(isLive ? "live" : "file"), call \(number)"
    let history = try History(start, content: start.file.content)
    let before = Moment(history)
    if !isLive { try history.overlay.close() }
    let calls = history.file.calls
    history.file.fail(call: calls + number, with: fault)
    var failed = false
    do {
      switch verb {
      case 0: try history.create("three", isLive)
      case 1: try history.revert("one", isLive)
      case 2: try history.delete("one", isLive)
      default: try history.discardAll(isLive)
      }
    } catch let error as DiskError {
      failed = true
      let isBroken = error.description.contains("open it again")
      #expect(error.systemError == (fault == .noSpace && !isBroken ? ENOSPC : EIO), "\(what)")
    }
    let reached = history.file.calls >= calls + number
    history.file.fail(call: .max, with: fault)
    // The verb as it would have gone.
    let done = try History(start, content: start.file.content)
    switch verb {
    case 0: try done.create("three", isLive)
    case 1: try done.revert("one", isLive)
    case 2: try done.delete("one", isLive)
    default: try done.discardAll(false)
    }
    let after = Moment(done)
    if !failed { history.model = after.model }
    // An open overlay goes on, or says that it cannot.
    var wentOn = false
    if isLive {
      do {
        try history.write()
        wentOn = true
      } catch let error as DiskError {
        try #require(error.description.contains("open it again"), "\(what)")
      }
      try history.agree(what)
      if wentOn { try history.overlay.close() }
    }
    // After the last write that makes it valid failed it is one or the other.
    try check(
      history.file.content, wentOn ? Moment(history, before, after, failed) : before,
      wentOn ? Moment(history, before, after, failed) : after, history, what, useTool: false)
    return reached
  }

  /// Threads write over what snapshots have, and nothing of any of them is lost.
  @Test func writersOverSharedClusters() throws {
    let threads = 8
    let tuning = OverlayTuning.small
    let border = tuning.geometry.bytesPerTable
    let file = RecordingStorage(recording: false)
    let size = border * 3 + 100_000
    let base = ImageBytes.pattern(1000, seed: 4)
    let overlay = try Overlay.create(
      in: file, size: size, base: BaseKind.raw.overlayBase, tuning)
    let disk = try OverlaidDisk(overlay, base).disk
    // Each thread has every eighth piece of 3,000 bytes: pieces share subclusters and clusters, and
    // lie in four tables.
    let piece = 3000
    let pieces = 160
    let zones = [0, border - 240_000, border * 2 - 240_000, border * 3 - 380_000]
    @Sendable func place(_ index: Int) -> UInt64 {
      zones[index % 4] + UInt64(index / 4 * piece)
    }
    func all(_ disk: Disk) throws -> [UInt8] {
      try zones.flatMap { try disk.bytes(at: $0, count: pieces / 4 * piece) }
    }
    for index in 0..<pieces where index % 5 > 0 {
      try disk.put(ImageBytes.pattern(piece, seed: UInt64(index)), at: place(index))
    }
    var saved: [String: [UInt8]] = [:]
    for round in 0..<Soak.rounds(4) {
      let name = "\(round) "
      try overlay.createSnapshot(name)
      saved[name] = try all(disk)
      let failures = Threads.results(threads) { thread -> [String] in
        var random = SeededRandom(seed: UInt64(thread + 100 * round))
        var mine = [Int: [UInt8]]()
        var failures: [String] = []
        do {
          for _ in 0..<60 {
            let index = Int.random(in: 0..<pieces / threads, using: &random) * threads + thread
            let at = place(index)
            switch Int.random(in: 0..<8, using: &random) {
            case 0..<5:
              let bytes = ImageBytes.pattern(piece, seed: random.next())
              try disk.put(bytes, at: at)
              mine[index] = bytes
            case 5:
              try disk.zero(at: DiskOffset(at), length: UInt64(piece))
              mine[index] = [UInt8](repeating: 0, count: piece)
            case 6: try disk.flush()
            default:
              guard let expected = mine[index] else { continue }
              if !same(try disk.bytes(at: at, count: piece), expected) {
                failures.append("piece \(index) of thread \(thread)")
              }
            }
          }
          for (index, bytes) in mine
          where !same(try disk.bytes(at: place(index), count: piece), bytes) {
            failures.append("at the end piece \(index) of thread \(thread)")
          }
        } catch {
          failures.append("\(error)")
        }
        return failures
      }
      #expect(failures.flatMap { $0 } == [])
      if round % 4 == 3 {
        let gone = try #require(saved.keys.randomElement())
        try overlay.deleteSnapshot(gone)
        saved[gone] = nil
      }
    }
    let now = try all(disk)
    for (name, expected) in saved {
      try overlay.revert(to: name)
      #expect(same(try all(disk), expected), "\(name)")
    }
    #expect(!same(try all(disk), now))
    try overlay.close()
    let checked = QcowChecker(file.content)
    #expect(checked.errors == [])
    #expect(checked.leaks == [])
  }

  /// Reads go on while snapshots come and go, and see what is there or what was there.
  @Test func readersMeanwhile() throws {
    let history = try History(.raw, seed: 6)
    for _ in 0..<8 { try history.write() }
    try history.overlay.createSnapshot("a")
    let first = history.model
    for _ in 0..<8 { try history.write() }
    let second = history.model
    try history.overlay.createSnapshot("b")
    let disk = history.disk
    let overlay = history.overlay
    let isOver = Shared(false)
    let failures = Threads.results(4) { thread -> String? in
      var random = SeededRandom(seed: UInt64(thread))
      do {
        if thread == 0 {
          defer { isOver.change { $0 = true } }
          for round in 0..<Soak.rounds(12) {
            try overlay.revert(to: round % 2 == 0 ? "a" : "b")
            try overlay.createSnapshot("c")
            try disk.flush()
            try overlay.deleteSnapshot("c")
            try disk.flush()
          }
          return nil
        }
        while !isOver.value {
          // Within one cluster: what is read is of one moment.
          let at = Int.random(in: 0..<first.count / 512, using: &random) * 512
          let count = min(512, first.count - at)
          let read = try disk.bytes(at: UInt64(History.zone.lowerBound + at), count: count)
          let unit = History.zone.lowerBound % 512
          if unit == 0, !same(read, Array(first[at..<at + count])),
            !same(read, Array(second[at..<at + count]))
          {
            return "at \(at)"
          }
          for index in 0..<count
          where read[index] != first[at + index] && read[index] != second[at + index] {
            return "at \(at + index)"
          }
        }
        return nil
      } catch { return "\(error)" }
    }
    #expect(failures.compactMap { $0 } == [])
    try overlay.close()
    #expect(QcowChecker(history.file.content).errors == [])
    #expect(QcowChecker(history.file.content).leaks == [])
  }

  /// While somebody is between `reserve` and `publish` nothing is done, and said.
  @Test func notWhileSomebodyWrites() throws {
    let history = try History(.none, seed: 6)
    let reservation = try history.overlay.reserve(at: .start, length: 4096)
    let error = #expect(throws: DiskError.self) { try history.overlay.createSnapshot("a") }
    #expect(error?.kind == .busy)
    history.overlay.abandon(reservation)
    try history.overlay.createSnapshot("a")
    #expect(try history.overlay.snapshots.map(\.name) == ["a"])
    try history.overlay.close()
    #expect(throws: DiskError.self) { try history.overlay.createSnapshot("b") }
  }
}
