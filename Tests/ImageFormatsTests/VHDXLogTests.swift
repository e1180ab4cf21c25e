import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Images that were not closed: what their tables are to hold stands in the log.
@Suite struct VHDXLogTests {
  typealias Entry = VHDXLogBuilder.Entry
  private static let sector = VHDXLogBuilder.sector

  /// The image as it is to be, and sectors of its tables that are wrong in the file and right in the
  /// log.
  private struct Dirty {
    var builder: VHDXBuilder
    var log = VHDXLogBuilder([])
    /// By place: sectors that the file has otherwise.
    var spoilt: [Int] = []

    init() {
      builder = VHDXBuilder(size: 6 << 20)
      builder.logGUID = VHDXLogBuilder.guid
      builder.blocks = [
        0: ImageBytes.pattern(5000, seed: 1), 4: ImageBytes.pattern(1 << 20, seed: 2),
      ]
      builder.states = [2: .zero, 5: .unmapped]
    }

    /// As it is to be, but for the log.
    var written: [UInt8] { builder.file.bytes }

    /// What the log needs to say for these sectors to be right.
    func changes(at places: some Sequence<Int>) -> [VHDXLogBuilder.Change] {
      let written = written
      return places.map {
        .data(at: UInt64($0), Array(written[$0..<$0 + VHDXLogTests.sector]))
      }
    }

    var bytes: [UInt8] {
      var image = ImageBytes(written)
      for place in spoilt { image.put(ImageBytes.pattern(VHDXLogTests.sector, seed: 9), at: place) }
      image.put(log.bytes, at: Int(VHDXBuilder.logOffset))
      return image.bytes
    }

    func opened() throws -> OpenedImage {
      try OpenedImage(MemoryStorage(bytes, path: "disk.vhdx"), mostRead: 2 << 20)
    }
  }

  private static let table = Int(VHDXBuilder.tableOffset)
  /// Of what opening and reading need: both region tables' first sectors, the metadata's table and
  /// items, the block table.
  private static let needed = [
    192 << 10, 256 << 10, Int(VHDXBuilder.metadataOffset),
    Int(VHDXBuilder.metadataOffset) + 65536, table,
  ]

  private static func note(_ count: Int) -> [String] {
    ["the log held \(count) changes not yet written; they were applied in memory"]
  }

  @Test func oneEntry() throws {
    var dirty = Dirty()
    dirty.spoilt = Self.needed
    dirty.log.entries = [
      Entry(5, dirty.changes(at: Self.needed))
    ]
    let image = try dirty.opened()
    #expect(try image.all == dirty.builder.content())
    #expect(image.notes == Self.note(5))
    #expect(image.disk.files.map(\.path) == ["disk.vhdx"])
  }

  /// An entry goes on at the log's start; so does a sequence.
  @Test(arguments: [0, 1, 2, 3, 4, 5, 6, 100]) func aroundTheEnd(_ sectorsBeforeTheEnd: Int) throws
  {
    var dirty = Dirty()
    dirty.spoilt = Self.needed
    dirty.log.start = (dirty.log.length - sectorsBeforeTheEnd * Self.sector) % dirty.log.length
    dirty.log.entries = [
      Entry(1 << 33 - 1, dirty.changes(at: Self.needed[..<3])),
      Entry(1 << 33, dirty.changes(at: Self.needed[3...])),
    ]
    let image = try dirty.opened()
    #expect(try image.all == dirty.builder.content())
    #expect(image.notes == Self.note(5))
  }

  @Test func laterEntriesCountMore() throws {
    var dirty = Dirty()
    dirty.spoilt = [Self.table]
    let wrong = ImageBytes.pattern(Self.sector, seed: 3)
    let place = UInt64(Self.table)
    dirty.log.entries = [
      Entry(7, [.data(at: place, wrong), .zeros(at: place, count: 1 << 20)]),
      Entry(8, []),
      Entry(9, [.data(at: place, wrong)] + dirty.changes(at: [Self.table])),
    ]
    let image = try dirty.opened()
    #expect(try image.all == dirty.builder.content())
    #expect(image.notes == Self.note(4))
  }

  /// The block table's content is in no block: zeros make every block one that is not there.
  @Test func zerosTakeNoMemory() throws {
    var dirty = Dirty()
    let place = UInt64(Self.table)
    dirty.log.entries = [
      Entry(
        1,
        [
          .zeros(at: place, count: 1 << 20), .zeros(at: 1 << 40, count: 1 << 60),
          .data(at: 1 << 61, [UInt8](repeating: 1, count: Self.sector)),
        ])
    ]
    let image = try dirty.opened()
    #expect(try image.all == [UInt8](repeating: 0, count: 6 << 20))
  }

  /// Entries before the tail of the newest one are written out; what they say may have been
  /// overwritten since.
  @Test func whatIsBeforeTheTailIsNotReplayed() throws {
    var dirty = Dirty()
    let wrong = ImageBytes.pattern(Self.sector, seed: 3)
    var last = Entry(3, dirty.changes(at: [Self.table]))
    // Behind the two others of two sectors each.
    last.tail = 4 * Self.sector
    dirty.log.entries = [
      Entry(1, [.data(at: UInt64(Self.needed[0]), wrong)]),
      Entry(2, [.data(at: UInt64(dirty.builder.dataOffset), wrong)]), last,
    ]
    dirty.spoilt = [Self.table]
    let image = try dirty.opened()
    #expect(image.notes == Self.note(1))
    #expect(try image.all == dirty.builder.content())
  }

  /// Of several sequences the one with the highest number counts, wherever it is.
  @Test(arguments: [false, true]) func theNewestSequence(_ isFirst: Bool) throws {
    var dirty = Dirty()
    dirty.spoilt = [Self.table]
    var right = Entry(40, dirty.changes(at: [Self.table]))
    var old = Entry(38, [.zeros(at: UInt64(Self.table), count: 4096)])
    right.tail = isFirst ? 0 : Self.sector
    old.tail = isFirst ? 2 * Self.sector : 0
    dirty.log.entries = isFirst ? [right, old] : [old, right]
    // Of an earlier opening, with a higher number.
    dirty.log.entries.append(
      Entry(
        99, [.zeros(at: UInt64(Self.table), count: 4096)],
        guid: "00000000-0000-0000-0000-000000000001"))
    let image = try dirty.opened()
    #expect(image.notes == Self.note(1))
    #expect(try image.all == dirty.builder.content())
  }

  /// The newest entry was being written when the power went: what is before it is whole.
  @Test func tornEntries() throws {
    let torn: [VHDXBuilder.Edit] = [
      { $0.put([0], at: 4200) }, { $0.put([9], at: 4) }, { $0.put("LOGE", at: 0) },
    ]
    // With the checksum right, but not of one piece.
    let foreign: [VHDXBuilder.Edit] = [
      { $0.put("DATA", at: 4096) }, { $0.putLittle(7 as UInt32, at: 4100) },
      { $0.putLittle(7 as UInt32, at: 8188) }, { $0.putLittle(7 as UInt64, at: 64 + 24) },
      { $0.put("DESC", at: 64) }, { $0.putLittle(4095 as UInt64, at: 64 + 16) },
      { $0.putLittle(UInt64.max << 12, at: 64 + 16) },
    ]
    let right = Dirty().changes(at: [Self.table])
    for (edit, isTorn) in torn.map({ ($0, true) }) + foreign.map({ ($0, false) }) {
      var dirty = Dirty()
      dirty.spoilt = [Self.table]
      var last = Entry(
        12, [.data(at: UInt64(Self.table), ImageBytes.pattern(Self.sector, seed: 8))])
      if isTorn { last.damage = edit } else { last.edit = edit }
      dirty.log.entries = [
        Entry(11, right), last,
      ]
      let image = try dirty.opened()
      #expect(image.notes == Self.note(1))
      #expect(try image.all == dirty.builder.content())
    }
  }

  @Test func theFileGrows() throws {
    var dirty = Dirty()
    var entry = Entry(1, [])
    dirty.log.entries = [entry]
    let whole = dirty.bytes
    // The last block, number 4, is not in the file yet.
    let cut = Array(whole.dropLast(1 << 20))
    entry.flushedFileOffset = UInt64(cut.count)
    entry.lastFileOffset = UInt64(whole.count)
    dirty.log.entries = [entry]
    let bytes = Array(dirty.bytes.prefix(cut.count))
    var image = try OpenedImage(MemoryStorage(bytes, path: "disk.vhdx"), mostRead: 2 << 20)
    #expect(image.notes == [])
    #expect(try image.bytes(4 << 20, 1 << 20) == [UInt8](repeating: 0, count: 1 << 20))
    #expect(try image.bytes(0, 1 << 20) == Array(dirty.builder.content()[..<(1 << 20)]))
    // A file that has become shorter since.
    let error = #expect(throws: DiskError.self) {
      image = try OpenedImage(
        MemoryStorage(Array(bytes.dropLast()), path: "disk.vhdx"), mostRead: 2 << 20)
    }
    #expect(error?.kind == .truncated)
    #expect(error?.offset == UInt64(cut.count - 1))
  }

  @Test func logsThatAreEmptyAreNotRead() throws {
    var dirty = Dirty()
    dirty.log.entries = [Entry(1, [.zeros(at: UInt64(Self.table), count: 4096)])]
    dirty.builder.logGUID = "00000000-0000-0000-0000-000000000000"
    // Neither its version nor its length matters then.
    dirty.builder.logVersion = 9
    let image = try OpenedImage(
      MemoryStorage(dirty.bytes, path: "disk.vhdx"), mostRead: OpenedImage.mostReadOfVHDX)
    #expect(try image.all == dirty.builder.content())
  }

  /// Sectors of the tables spoilt at random, in any number of entries, anywhere in the ring, with what
  /// an earlier time left in it.
  private static func randomDirty(_ random: inout SeededRandom) -> Dirty {
    var dirty = Dirty()
    for block in 0..<6 where Bool.random(using: &random) {
      dirty.builder.blocks[block] = ImageBytes.pattern(9000, seed: random.next())
    }
    dirty.log.start = Int.random(in: 0..<256, using: &random) * sector
    dirty.log.filler = [0, 0xFF].randomElement(using: &random)!
    dirty.spoilt = needed.filter { _ in Int.random(in: 0..<3, using: &random) > 0 }
    var changes: [VHDXLogBuilder.Change] = []
    for (place, right) in zip(dirty.spoilt, dirty.changes(at: dirty.spoilt)) {
      if Bool.random(using: &random) {
        changes.append(.data(at: UInt64(place), ImageBytes.pattern(sector, seed: 1)))
      }
      if Bool.random(using: &random) { changes.append(.zeros(at: UInt64(place), count: 4096)) }
      changes.append(right)
    }
    // Behind the tables, where the file has zeros.
    changes.append(.zeros(at: UInt64(table) + 8192, count: 65536))
    var sequence = UInt64.random(in: 1...1 << 40, using: &random)
    var rest = changes[...]
    repeat {
      let count = Int.random(in: 0...rest.count, using: &random)
      dirty.log.entries.append(Entry(sequence, Array(rest.prefix(count))))
      rest = rest.dropFirst(count)
      sequence += 1
    } while !rest.isEmpty
    return dirty
  }

  @Test(arguments: 0..<20 as Range<UInt64>) func anyLog(_ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let dirty = Self.randomDirty(&random)
    let image = try dirty.opened()
    #expect(try image.all == dirty.builder.content())
  }

  /// qemu-img opens the copy for writing and writes the log out. The image itself stays as it is.
  @Test(
    .enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"),
    arguments: 0..<6 as Range<UInt64>)
  func asQEMUWritesItOut(_ seed: UInt64) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: 100 + seed)
      let dirty = Self.randomDirty(&random)
      let path = "\(folder)/x.vhdx"
      try HostTools.write(dirty.bytes, to: path)
      try HostTools.write(dirty.bytes, to: "\(folder)/copy.vhdx")
      let image = try OpenImage(path: path)
      let content = try image.disk.whole.bytes(at: .start, count: Int(image.disk.size))
      #expect(content == dirty.builder.content())
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(dirty.bytes))
      try HostTools.run("qemu-img", ["check", "-r", "all", "\(folder)/copy.vhdx"])
      let copy = try OpenImage(path: "\(folder)/copy.vhdx")
      #expect(copy.notes == [], "the copy's log is empty")
      try HostTools.run(
        "qemu-img", ["convert", "-O", "raw", "\(folder)/copy.vhdx", "\(folder)/copy.raw"])
      #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/copy.raw")) == Data(content))
    }
  }
}
