import DiskCore
import ImageFormats
import TestSupport
import Testing

/// Logs that no writer wrote. Each is refused in one line, within the second, or is what is left of
/// the log where it is damaged.
@Suite struct HostileVHDXLogTests {
  typealias Entry = VHDXLogBuilder.Entry
  private static let sector = VHDXLogBuilder.sector

  private func image(_ log: VHDXLogBuilder) -> VHDXBuilder {
    var builder = VHDXBuilder(size: 2 << 20)
    builder.blocks = [0: [1, 2, 3]]
    builder.logGUID = VHDXLogBuilder.guid
    builder.log = log.bytes
    return builder
  }

  @discardableResult
  private func refusal(
    _ builder: VHDXBuilder, _ kind: DiskError.Kind = .malformed
  ) throws -> String {
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(builder.storage(), mostRead: 2 << 20)
    }
    #expect(error?.kind == kind && error?.offset != nil)
    return try #require(error).message
  }

  @Test func nothingInIt() throws {
    #expect(
      try refusal(image(VHDXLogBuilder([])))
        == "its log should hold changes that were not yet made, but is damaged")
    var builder = image(VHDXLogBuilder([Entry(1, [])]))
    builder.logLength = 0
    try refusal(builder)
    builder.logLength = 1 << 20
    builder.logVersion = 1
    #expect(try refusal(builder, .unsupported).contains("a log of version 1"))
    // Of another time.
    try refusal(
      image(VHDXLogBuilder([Entry(1, [], guid: "00000000-0000-0000-0000-000000000001")])))
  }

  @Test func headersOfEntries() throws {
    let edits: [VHDXBuilder.Edit] = [
      // Descriptor counts, lengths, tails, a number that is none.
      { $0.putLittle(UInt32.max, at: 24) }, { $0.putLittle(127 as UInt32, at: 24) },
      { $0.putLittle(1 as UInt32, at: 24) }, { $0.putLittle(0 as UInt32, at: 8) },
      { $0.putLittle(4095 as UInt32, at: 8) }, { $0.putLittle(UInt32.max, at: 8) },
      { $0.putLittle(UInt32.max << 12, at: 8) }, { $0.putLittle(UInt32(1 << 20 + 4096), at: 8) },
      { $0.putLittle(UInt32.max, at: 12) }, { $0.putLittle(UInt32(1 << 20), at: 12) },
      { $0.putLittle(100 as UInt32, at: 12) }, { $0.putLittle(UInt32(4096), at: 12) },
      { $0.putLittle(0 as UInt64, at: 16) }, { $0.putLittle(UInt64.max, at: 56) },
    ]
    for edit in edits {
      var entry = Entry(1, [])
      entry.edit = edit
      try refusal(image(VHDXLogBuilder([entry])))
    }
    var entry = Entry(1, [])
    entry.flushedFileOffset = .max
    #expect(
      try refusal(image(VHDXLogBuilder([entry])), .truncated).contains("the file is cut short"))
  }

  @Test func zerosPastTheEndOfNumbers() throws {
    for (at, count) in [(4096, .max << 12), (1 << 62, 4096), (0, 1 << 63), (4096, 100)]
      as [(UInt64, UInt64)]
    {
      try refusal(image(VHDXLogBuilder([Entry(1, [.zeros(at: at, count: count)])])))
    }
  }

  /// 255 entries, of which each could be the start of a sequence that goes around the ring.
  @Test func loops() throws {
    let entries = { (sequence: (Int) -> UInt64, tail: (Int) -> Int) in
      VHDXLogBuilder(
        (0..<255).map { index in
          var entry = Entry(sequence(index), [])
          entry.tail = tail(index) * Self.sector
          return entry
        })
    }
    // Tails that lead to no entry of the sequence: to the sector behind them.
    try refusal(image(entries({ UInt64($0 + 1) }, { _ in 255 })))
    // To the next entry, and from the last to the first.
    _ = try OpenedImage(
      image(entries({ UInt64($0 + 1) }, { ($0 + 1) % 255 })).storage(), mostRead: 2 << 20)
    // The numbers' end.
    _ = try OpenedImage(
      image(entries({ .max - 254 + UInt64($0) }, { _ in 0 })).storage(), mostRead: 2 << 20)
    try refusal(image(entries({ .max - UInt64($0 % 2) }, { ($0 + 128) % 255 })))
    // All of one number, each its own tail: the first of them, which changes nothing.
    let equal = (0..<256).map { index -> Entry in
      var entry = Entry(5, [])
      entry.tail = index * Self.sector
      return entry
    }
    #expect(
      try OpenedImage(image(VHDXLogBuilder(equal)).storage(), mostRead: 2 << 20).bytes(0, 4)
        == [1, 2, 3, 0])
  }

  /// Each of 256 sectors starts an entry as long as the log: to check them all takes a checksum of
  /// 256 times the log.
  @Test func entriesOnTopOfEachOther() throws {
    let log = VHDXLogBuilder(
      (0..<256).map { _ in
        var entry = Entry(5, [])
        entry.edit = { $0.putLittle(UInt32(1 << 20), at: 8) }
        return entry
      })
    #expect(try refusal(image(log)).contains("lie on top of each other"))
  }

  @Test(arguments: [17 << 20, 0xFFF0_0000] as [UInt64]) func logsThatAreTooLarge(
    _ length: UInt64
  ) throws {
    var builder = image(VHDXLogBuilder([Entry(1, [])]))
    builder.logLength = length
    builder.editHeaders = { $0.putLittle(UInt64(1) << 40, at: 72) }
    #expect(try refusal(builder, .unsupported).contains("a log of \(length) bytes"))
    builder.logLength = 1 << 20
    try refusal(builder, .truncated)
  }

  /// Many changes, none beside the one before it.
  @Test func manyChanges() throws {
    let changes = (0..<8000).map { number -> VHDXLogBuilder.Change in
      .zeros(at: UInt64(number * 5011 % 8000) * 8192 + 1 << 40, count: 4096)
    }
    let image = try OpenedImage(
      image(VHDXLogBuilder([Entry(1, changes)])).storage(), mostRead: 2 << 20)
    #expect(try image.bytes(0, 4) == [1, 2, 3, 0])
    #expect(image.notes.count == 1 && image.notes[0].contains("held 8000 changes"))
  }

  @Test(arguments: [false, true]) func overwritten(_ isSealed: Bool) throws {
    let table = VHDXBuilder.tableOffset
    let content = ImageBytes.pattern(Self.sector, seed: 1)
    var log = VHDXLogBuilder([
      Entry(1, [.data(at: table + 4096, content), .zeros(at: table + 8192, count: 8192)]),
      Entry(2, [.data(at: table + 8192, content)]),
    ])
    log.start = log.length - 3 * Self.sector
    let builder = image(log)
    let bytes = builder.file.bytes
    let place = Int(VHDXBuilder.logOffset)
    let first = place + log.start
    // Header and descriptors of both entries, and the data's ends; the second goes around the end.
    let starts = [(first, 2 * Self.sector), (first + 2 * Self.sector, Self.sector)]
    var fields = Array(place..<place + 8) + Array(place + 4088..<place + 4096)
    for (start, _) in starts { fields += Array(start..<start + 128) }
    var random = SeededRandom(seed: isSealed ? 1 : 0)
    var opened = 0
    let rounds = Soak.rounds(80)
    for _ in 0..<rounds {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      if isSealed { VHDXBuilder.seal(&image, of: first..<first + 2 * Self.sector) }
      if try FuzzedImage.survives(image.bytes, as: VHDXFormat(), &random) { opened += 1 }
    }
    #expect(opened > rounds / 20)
  }
}
