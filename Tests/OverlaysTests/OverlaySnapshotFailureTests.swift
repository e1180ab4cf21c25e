import DiskCore
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Overlays

/// Snapshots when the power fails, and when calls fail.
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
    // By `make soak` every change of a history is cut at, in every way: some 1,500 states each.
    for seed in 0..<UInt64(Soak.isOn ? 8 : 1) { states += try cut(kind, seed) }
    #expect(states >= (Soak.isOn ? 8000 : 60))
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
}
