import DiskCore
import FileSystems
import Foundation
import ImageFormats
import Partitions
import TestSupport
import Testing

/// What opening a disk in a compressed stream looks at, and what waits until somebody asks.
@Suite(.serialized, .enabled(if: HostTools.has("gzip", "xz"), "a tool is missing"))
struct StreamLooksTests {
  private static let size: UInt64 = 96 << 20

  /// Two partitions, the second one far inside.
  private static func gpt(_ edit: (inout GPTBuilder) -> Void = { _ in }) -> GPTBuilder {
    var builder = GPTBuilder(
      sectorCount: size / 512,
      entries: [
        0: GPTBuilder.Entry(first: 2048, last: 4095),
        1: GPTBuilder.Entry(first: 100_000, last: 150_000),
      ])
    edit(&builder)
    return builder
  }

  /// Compresses a disk of these pieces, and gives what is said of it when it is opened to be looked at.
  private func opened(
    _ pieces: [(at: UInt64, bytes: [UInt8])], with tool: String = "gzip -1c",
    _ body: (OpenImage, _ again: () throws(DiskError) -> OpenImage) throws -> Void
  ) throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, [])
      try HostTools.makeFile(fixture.plain, size: Self.size)
      let file = try FileHandle(forWritingTo: URL(fileURLWithPath: fixture.plain))
      for (place, bytes) in pieces {
        try file.seek(toOffset: place)
        try file.write(contentsOf: Data(bytes))
      }
      try file.close()
      try fixture.shell("\(tool) disk.img > packed")
      let open = { () throws(DiskError) in
        try fixture.open("packed", exact: false, keepsIndex: true)
      }
      try body(try open(), open)
    }
  }

  /// How many places the stream is known to be entered at; zlib makes 8 MiB of zeros one block.
  private func reach(of image: OpenImage) -> Int {
    image.facts("entry points").first.flatMap { Int($0) } ?? .max
  }

  @Test func backupTableWaits() throws {
    // Nothing at its end but zeros.
    try opened(Self.gpt().pieces.filter { $0.at < 1 << 20 }) { image, again in
      let table = try PartitionTable.read(from: image.disk.whole)
      #expect(table.kind == .gpt)
      #expect(table.partitions.map(\.number) == [1, 2])
      #expect(table.notes == [])
      #expect(reach(of: image) <= 2)
      #expect(image.blocks.figures.misses == 1)
      // Once the way there is known it is looked at.
      _ = try image.disk.whole.bytes(at: DiskOffset(Self.size - 512), count: 512)
      let later = try PartitionTable.read(from: image.disk.whole)
      #expect(later.notes.contains { $0.contains("backup") })
      let second = try PartitionTable.read(from: try again().disk.whole)
      #expect(second.notes.contains { $0.contains("backup") })
    }
  }

  /// Without a good one at the start it is what the partitions are known by.
  @Test func backupTableIsLookedAtWhereItIsNeeded() throws {
    let builder = Self.gpt { $0.damagePrimary = { $0.put([0xFF], at: 60) } }
    try opened(builder.pieces) { image, _ in
      let table = try PartitionTable.read(from: image.disk.whole)
      #expect(table.partitions.map(\.number) == [1, 2])
      #expect(table.notes.contains { $0.contains("backup") })
    }
  }

  /// A file system is looked for where it confirms what the table's unit is, not for its label.
  @Test func confirmingATableGoesNotFar() throws {
    let far = MBRBuilder.sector([
      0: MBRBuilder.Entry(0x83, start: 100_000, sectors: 2048),
      1: MBRBuilder.Entry(0x83, start: 120_000, sectors: 2048),
    ])
    try opened([(0, far)]) { image, _ in
      let table = try PartitionTable.read(from: image.disk.whole)
      #expect(table.kind == .mbr)
      #expect(table.sectorSize == 512)
      #expect(table.partitions.map(\.start.bytes) == [51_200_000, 61_440_000])
      #expect(reach(of: image) <= 2)
      #expect(image.blocks.figures.misses <= 2)
      // Who asks for labels gets an answer, however far it is.
      let window = try image.disk.whole.window(of: table.partitions[0])
      #expect(FileSystemSignature.find(in: window) == nil)
      #expect(reach(of: image) >= 6)
    }
  }

  /// Counting what is allocated reads no table that is far away, and a map calls it what it is.
  @Test func mapSaysCompressed() throws {
    try opened(Self.gpt().pieces.filter { $0.at < 1 << 20 }, with: "xz -0c") { image, _ in
      var entries: [MapEntry] = []
      try image.disk.whole.forEachMapEntry { entries.append($0) }
      #expect(entries.count == 1)
      #expect(entries[0].length == Self.size)
      #expect(entries[0].path == image.path)
      #expect(entries[0].fileOffset == nil)
      if case .compressed = entries[0].content {} else { Issue.record("\(entries[0].content)") }
      #expect(try image.disk.whole.nextHole(from: .start).bytes == Self.size)
      #expect(image.disk.whole.allocatedBytes() == Self.size)
    }
  }

  /// What was found out of a stream inside another one is kept too, without decoding that one.
  @Test func indexOfNestedContainers() throws {
    try opened(
      [(0, ImageBytes.pattern(2 << 20, seed: 3))], with: "sh -c 'gzip -1c $0 | xz -0c'"
    ) { image, again in
      let place = DiskOffset(Self.size - 4096)
      let bytes = try image.disk.whole.bytes(at: place, count: 4096)
      _ = try image.disk.whole.bytes(at: DiskOffset(Self.size - 1), count: 1)
      #expect(image.containers.map(\.name) == ["xz", "gzip"])
      #expect(bytes.allSatisfy { $0 == 0 })
      let second = try again()
      #expect(second.containers[1].isSizeExact)
      #expect(try #require(Int(second.facts("entry points")[1])) > 10)
      #expect(second.containers[1].longestWay < 12 << 20)
    }
  }
}
