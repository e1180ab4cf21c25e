import DiskCore
import TestSupport
import Testing

@testable import Overlays

/// Snapshot tables that cannot be, and names.
struct HostileSnapshotTests {
  /// An overlay with two snapshots.
  private static func sample(isOpen: Bool = false) throws -> PagedBytes {
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(
      in: file, size: 20 << 20, base: BaseKind.raw.overlayBase, .small)
    let disk = try OverlaidDisk(overlay, [1, 2, 3]).disk
    try disk.put(ImageBytes.pattern(100_000, seed: 1), at: 1000)
    try overlay.createSnapshot("one")
    try disk.put(ImageBytes.pattern(50_000, seed: 2), at: 60_000)
    try overlay.createSnapshot("two")
    try disk.put(ImageBytes.pattern(50_000, seed: 3), at: 90_000)
    if isOpen { try disk.flush() } else { try overlay.close() }
    return file.content
  }

  private static func word(_ content: PagedBytes, at offset: UInt64) -> UInt64 {
    content.bytes(at: offset, count: 8).reduce(0) { $0 << 8 | UInt64($1) }
  }

  private func refuse(_ content: PagedBytes, _ complaint: String) {
    let file = RecordingStorage(content)
    let attempts: [(RecordingStorage) throws -> Void] = [
      { _ = try Overlay.open($0, .small) }, { try Overlay.createSnapshot("three", in: $0) },
      { try Overlay.revert($0, to: "one") }, { try Overlay.deleteSnapshot("one", in: $0) },
    ]
    for attempt in attempts {
      let error = #expect(throws: DiskError.self) { try attempt(file) }
      #expect(error?.description.contains(complaint) == true, "\(String(describing: error))")
      #expect(file.changeCount == 0)
    }
  }

  @Test(arguments: [
    (60, [0xff, 0xff, 0xff, 0xff] as [UInt8], "of which there can be 65536"),
    (60, [0, 1, 0, 0], "extra data"), (64, [0x7f], "does not lie in the file"),
    (71, [1], "does not lie in the file"),
    (64, [0, 0, 0, 0, 0, 0, 0, 0], "does not lie in the file"),
  ])
  func theHeaderIsWrong(_ at: Int, _ bytes: [UInt8], _ complaint: String) throws {
    var content = try Self.sample()
    content.write(bytes[...], at: UInt64(at))
    refuse(content, complaint)
  }

  @Test(arguments: [
    (36, [0, 0, 4, 1] as [UInt8], "1025 bytes of extra data"),
    (8, [0xff, 0xff, 0xff, 0xff], "L1 table of"), (8, [0, 0x10, 0, 0], "does not lie in the file"),
    (0, [0x7f], "does not lie in the file"), (7, [8], "does not lie in the file"),
    (12, [0xff, 0xff, 0xff, 0xff], "ends before"),
  ])
  func anEntryIsWrong(_ at: Int, _ bytes: [UInt8], _ complaint: String) throws {
    var content = try Self.sample()
    content.write(bytes[...], at: Self.word(content, at: 64) + UInt64(at))
    refuse(content, complaint)
  }

  @Test func tablesOnTopOfEachOther() throws {
    let sample = try Self.sample()
    let table = Self.word(sample, at: 64)
    func put(_ word: UInt64, at offset: UInt64) -> PagedBytes {
      var content = sample
      var bytes: [UInt8] = []
      bytes.appendBig(word)
      content.write(bytes[...], at: offset)
      return content
    }
    // The L1 table of the snapshot is the active one, the refcount table, the header.
    refuse(put(Self.word(sample, at: 40), at: table), "share a cluster")
    refuse(put(Self.word(sample, at: 48), at: table), "share a cluster")
    // Its first L2 table is no cluster, or an L1 table.
    let l1 = Self.word(sample, at: table)
    refuse(put(1 << 40, at: l1), "of a snapshot lies at 1099511627776")
    refuse(put(l1 | 512, at: l1), "of a snapshot lies at")
    refuse(put(l1, at: l1), "share a cluster")
  }

  /// A file that counts a shared cluster once would lose it with the snapshot.
  @Test func countsThatAreTooLow() throws {
    var content = try Self.sample()
    let block = Self.word(content, at: Self.word(content, at: 48))
    let counts = content.bytes(at: block, count: 200)
    let shared = try #require(
      (0..<100).first { counts[$0 * 2] == 0 && counts[$0 * 2 + 1] == 3 })
    content.write([0, 1], at: block + UInt64(shared * 2))
    for verb in 0..<3 {
      let file = RecordingStorage(content)
      let error = #expect(throws: DiskError.self) {
        switch verb {
        case 0: try Overlay.createSnapshot("three", in: file)
        case 1: try Overlay.deleteSnapshot("one", in: file)
        default: try Overlay.revert(file, to: "one")
        }
      }
      #expect(error?.description.contains("used 1 times, and not 3") == true)
      #expect(file.changeCount == 0)
    }
  }

  /// Marked as its own, the disk's cluster would be written in place, and the snapshot with it.
  @Test(arguments: [false, true]) func markedAsCountedOnce(_ isTable: Bool) throws {
    var content = try Self.sample(isOpen: true)
    let l1 = Self.word(content, at: 40)
    let table = Self.word(content, at: l1) & L2Entry.hostMask
    let place = try #require(
      stride(from: table, to: table + 1600, by: 16).first {
        let entry = L2Entry(descriptor: Self.word(content, at: $0), bitmap: 0)
        return entry.host != 0 && !entry.isCopied
      })
    if isTable {
      // The active state and the first snapshot have one table together, as QEMU makes them.
      let other = Self.word(content, at: Self.word(content, at: Self.word(content, at: 64)))
      var bytes: [UInt8] = []
      bytes.appendBig(other & L2Entry.hostMask | L2Entry.copied)
      content.write(bytes[...], at: l1)
      let block = Self.word(content, at: Self.word(content, at: 48))
      // Counted often enough, all of them.
      for cluster in 1..<100
      where content.bytes(at: block + UInt64(cluster * 2), count: 2) != [0, 0] {
        content.write([0, 9], at: block + UInt64(cluster * 2))
      }
    } else {
      content.write([0x80 | content.bytes(at: place, count: 1)[0]], at: place)
    }
    let file = RecordingStorage(content)
    let error = #expect(throws: DiskError.self) { _ = try Overlay.open(file, .small) }
    #expect(
      error?.description.contains("is marked as used once") == true, "\(String(describing: error))")
    #expect(file.changeCount == 0)
  }

  @Test func names() throws {
    let file = RecordingStorage(try Self.sample(), recording: false)
    func refused(_ name: String, _ complaint: String) {
      let error = #expect(throws: DiskError.self) { try Overlay.createSnapshot(name, in: file) }
      #expect(error?.description.contains(complaint) == true)
    }
    refused("", "1 to 255 bytes")
    refused(String(repeating: "ä", count: 128), "and not 256")
    refused("a\u{0}b", "control")
    refused("one", "already")
    refused("2", "number of a snapshot")
    // Nobody's name becomes a number.
    try Overlay.createSnapshot("4", in: file)
    try Overlay.createSnapshot(String(repeating: "ä", count: 127) + "x", in: file)
    #expect(try Overlay.snapshots(in: file).map(\.id) == ["1", "2", "3", "5"])
    try Overlay.deleteSnapshot("5", in: file)
    try Overlay.deleteSnapshot("4", in: file)
    #expect(try Overlay.snapshots(in: file).map(\.name) == ["one", "two"])
    let error = #expect(throws: DiskError.self) { try Overlay.deleteSnapshot("4", in: file) }
    #expect(error?.kind == .notFound)
    #expect(error?.description.contains("there are: one, two") == true)
  }

  /// A commit that did not end is the only thing that may go on.
  @Test func notDuringACommit() throws {
    let file = RecordingStorage(try Self.sample())
    let place = try OverlayHeader(of: file).statePlace
    try Overlay.writeState(OverlayExtension.commitMark, to: file, at: place)
    let changes = file.changeCount
    #expect(throws: DiskError.self) { try Overlay.createSnapshot("three", in: file) }
    #expect(throws: DiskError.self) { try Overlay.revert(file, to: "one") }
    #expect(throws: DiskError.self) { try Overlay.deleteSnapshot("one", in: file) }
    #expect(file.changeCount == changes)
  }

  /// Mutated files are refused or not, and never trap or hang.
  @Test func fuzzedFiles() throws {
    var random = SeededRandom(seed: 12)
    let samples = [try Self.sample(), try Self.sample(isOpen: true)]
    for _ in 0..<Soak.rounds(60) {
      var content = samples.randomElement(using: &random) ?? PagedBytes()
      let table = Self.word(content, at: 64)
      let l1 = Self.word(content, at: table)
      let l2 = Self.word(content, at: l1) & L2Entry.hostMask
      let block = Self.word(content, at: Self.word(content, at: 48))
      let places = [
        36..<72, table..<table + 140, l1..<l1 + 16, l2..<l2 + 200, block..<block + 100,
      ]
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = places.randomElement(using: &random) ?? 0..<1
        let value = [0, 1, 0x7f, 0x80, 0xff, UInt8.random(in: 0...255, using: &random)]
        content.write(
          [value.randomElement(using: &random) ?? 0], at: UInt64.random(in: place, using: &random))
      }
      let file = RecordingStorage(content, recording: false)
      _ = try? Overlay.snapshots(in: file)
      switch Int.random(in: 0..<4, using: &random) {
      case 0: try? Overlay.createSnapshot("three", in: file)
      case 1: try? Overlay.revert(file, to: "one")
      case 2: try? Overlay.deleteSnapshot("one", in: file)
      default: try? Overlay.empty(file)
      }
      guard let overlay = try? Overlay.open(file, .small),
        let disk = try? OverlaidDisk(overlay, [1, 2, 3]).disk
      else { continue }
      _ = try? disk.bytes(at: 0, count: Int(min(200_000, disk.size)))
      try? disk.put(ImageBytes.pattern(60_000, seed: 2), at: 40_000)
      try? overlay.createSnapshot("four")
      try? overlay.revert(to: "two")
      try? overlay.deleteSnapshot("two")
      try? overlay.close()
    }
  }
}
