import DiskCore
import ImageFormats
import TestSupport
import Testing

/// Differencing VHDXs, which qemu-img does not read: what they hold is computed from [MS-VHDX].
/// integration/test_dissect_vhdx.py compares others with dissect.hypervisor.
@Suite struct VHDXDifferencingTests {
  static let guids = (0...9).map { "0000000\($0)-AAAA-BBBB-CCCC-DDDDDDDDDDDD" }

  private static func braces(_ guid: String) -> String { "{\(guid.lowercased())}" }

  private static func child(_ size: UInt64, of parent: String, guid: String) -> VHDXBuilder {
    var builder = VHDXBuilder(size: size)
    builder.hasParent = true
    builder.locator = [("parent_linkage", braces(guid)), ("relative_path", parent)]
    return builder
  }

  private func filled(_ letter: Character, _ count: Int = 1 << 20) -> [UInt8] {
    [UInt8](repeating: letter.asciiValue!, count: count)
  }

  private func letters(_ bytes: [UInt8], _ sector: Int) -> String {
    stride(from: 0, to: bytes.count, by: sector).map { start in
      let sector = bytes[start..<min(bytes.count, start + sector)]
      guard let first = sector.first, sector.allSatisfy({ $0 == first }) else { return "?" }
      return first == 0 ? "0" : String(UnicodeScalar(first))
    }.joined()
  }

  @Test(arguments: VHDXTests.sectorSizes) func sectorsOfParentAndChild(
    _ sector: UInt32
  ) throws {
    try HostTools.withFolder { folder in
      var parent = VHDXBuilder(size: 2 << 20)
      parent.sectorSize = sector
      parent.blocks = [0: filled("P"), 1: filled("Q")]
      parent.dataWriteGUID = Self.guids[0]
      var child = Self.child(2 << 20, of: ".\\parent.vhdx", guid: Self.guids[0])
      child.sectorSize = sector
      child.blocks = [0: filled("C")]
      child.ownedSectors = [0: [1, 3, 9]]
      try HostTools.write(parent.file.bytes, to: "\(folder)/parent.vhdx")
      try HostTools.write(child.file.bytes, to: "\(folder)/child.vhdx")
      let image = try OpenImage(path: "\(folder)/child.vhdx")
      #expect(image.notes == [])
      let size = Int(sector)
      #expect(
        letters(try image.disk.whole.bytes(at: .start, count: 16 * size), size)
          == "PCPCPPPPPCPPPPPP")
      #expect(
        letters(try image.disk.whole.bytes(at: DiskOffset(1 << 20), count: size), size) == "Q")
      #expect(image.disk.layers.map(\.description.subformat) == ["differencing", "dynamic"])
      #expect(
        image.disk.layers[0].description.details.last.map { "\($0.name): \($0.value)" }
          == "parent: .\\parent.vhdx")
    }
  }

  /// [MS-VHDX] 2.5.1.1: only blocks that are not present are the parent's; what is undefined or
  /// unmapped is not.
  @Test func statesOfBlocks() throws {
    try HostTools.withFolder { folder in
      var parent = VHDXBuilder(size: 7 << 20)
      for block in 0..<7 { parent.blocks[block] = filled("P") }
      parent.dataWriteGUID = Self.guids[0]
      var child = Self.child(7 << 20, of: "parent.vhdx", guid: Self.guids[0])
      child.states = [0: .notPresent, 1: .undefined, 2: .zero, 3: .unmapped]
      child.blocks = [4: filled("C"), 5: filled("D")]
      child.ownedSectors = [5: []]
      try HostTools.write(parent.file.bytes, to: "\(folder)/parent.vhdx")
      try HostTools.write(child.file.bytes, to: "\(folder)/child.vhdx")
      let image = try OpenImage(path: "\(folder)/child.vhdx")
      let bytes = try image.disk.whole.bytes(at: .start, count: 7 << 20)
      #expect(letters(bytes, 1 << 20) == "P000CPP")
      #expect(bytes == child.content(over: parent.content()))
    }
  }

  @Test(arguments: 1...5) func chains(_ depth: Int) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(depth))
      let sector = VHDXTests.sectorSizes[depth % 2]
      var expected: [UInt8] = []
      for number in 0...depth {
        // Levels may differ in size and in block size, not in their sectors.
        let sectors = Int.random(in: 1 << 20...5 << 20, using: &random) / Int(sector)
        let size = UInt64(sectors) * UInt64(sector)
        var builder =
          number == 0
          ? VHDXBuilder(size: size)
          : Self.child(size, of: "\(number - 1).VHDX", guid: Self.guids[number - 1])
        builder.dataWriteGUID = Self.guids[number]
        builder.sectorSize = sector
        builder.blockSize = [1 << 20, 2 << 20].randomElement(using: &random)!
        for block in 0..<builder.blockCount {
          switch Int.random(in: 0..<6, using: &random) {
          case 0: builder.states[block] = .zero
          case 1: break
          case 2:
            builder.blocks[block] = ImageBytes.pattern(
              Int(builder.blockSize), seed: random.next())
          default:
            builder.blocks[block] = ImageBytes.pattern(
              Int(builder.blockSize), seed: random.next())
            if number == 0 { break }
            var owned: Set<Int> = []
            var place = 0
            while place < Int(builder.blockSize / sector) {
              let run = Int.random(in: 1...[2, 90].randomElement(using: &random)!, using: &random)
              if Bool.random(using: &random) { owned.formUnion(place..<place + run) }
              place += run
            }
            builder.ownedSectors[block] = owned.filter { $0 < builder.blockSize / sector }
          }
        }
        try HostTools.write(builder.file.bytes, to: "\(folder)/\(number).vhdx")
        expected = builder.content(over: expected)
      }
      let image = try OpenImage(path: "\(folder)/\(depth).vhdx")
      #expect(image.disk.layers.count == depth + 1 && image.notes == [])
      #expect(try image.disk.whole.bytes(at: .start, count: expected.count) == expected)
      for _ in 0..<60 {
        let start = Int.random(in: 0..<expected.count, using: &random)
        let count = Int.random(in: 0...min(70_000, expected.count - start), using: &random)
        #expect(
          try image.disk.whole.bytes(at: DiskOffset(UInt64(start)), count: count)
            == Array(expected[start..<start + count]))
      }
    }
  }

  /// The second chunk's bitmap: behind 4 GiB of the disk.
  @Test func bitmapsOfLaterChunks() throws {
    var child = Self.child(9 << 30, of: "p", guid: Self.guids[0])
    child.blockSize = 256 << 20
    #expect(child.chunkRatio == 16)
    child.blocks = [17: filled("C", 65536), 33: filled("D", 65536)]
    child.ownedSectors = [17: [1, 2], 33: [0, 4]]
    let image = try OpenedImage(child)
    for (block, expected) in [(17, "0CC000"), (33, "D000D0"), (16, "000000")] {
      let bytes = try image.disk.whole.bytes(
        at: DiskOffset(UInt64(block) * 256 << 20), count: 6 * 512)
      #expect(letters(bytes, 512) == expected)
    }
    let extent = try image.disk.layers[0].extent(at: DiskOffset(17 * 256 << 20 + 512), limit: 4096)
    #expect(extent.length == 1024)
  }

  @Test func wherePathsLead() throws {
    var child = Self.child(1 << 20, of: "p", guid: Self.guids[0])
    child.locator = [
      ("absolute_win32_path", "\\\\?\\d:\\path2\\sub3\\Parent.vhdx"), ("unknown", "x"),
      ("volume_path", "\\\\?\\Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}\\path2\\Parent.vhdx"),
      ("relative_path", "..\\..\\sub3\\Parent.vhdx"),
      ("parent_linkage2", Self.braces(Self.guids[2]).uppercased()),
      ("parent_linkage", Self.braces(Self.guids[1])),
    ]
    let parent = try #require(try OpenedImage(child).parsed.parent)
    #expect(
      parent.paths == [
        "../../sub3/Parent.vhdx", "../sub3/Parent.vhdx", "sub3/Parent.vhdx", "Parent.vhdx",
        "Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}/path2/Parent.vhdx", "path2/Parent.vhdx",
        "path2/sub3/Parent.vhdx",
      ])
    #expect(parent.name == "..\\..\\sub3\\Parent.vhdx")
    #expect(parent.ignoresCase && parent.format == "vhdx")
    #expect(
      parent.expectations[0].accepted == [Self.guids[1], Self.guids[2]].map { $0.lowercased() })
    #expect(parent.expectations.map(\.isStrict) == [true, true])
  }

  @Test func anotherParentIsRefused() throws {
    try HostTools.withFolder { folder in
      var parent = VHDXBuilder(size: 1 << 20)
      parent.dataWriteGUID = Self.guids[1]
      var child = Self.child(1 << 20, of: "parent.vhdx", guid: Self.guids[0])
      try HostTools.write(parent.file.bytes, to: "\(folder)/parent.vhdx")
      try HostTools.write(child.file.bytes, to: "\(folder)/child.vhdx")
      var error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/child.vhdx") }
      #expect(error?.message.contains("it has the data write GUID 00000001-") == true)
      _ = try OpenImage(
        path: "\(folder)/child.vhdx",
        options: ImageOptions(parents: ["\(folder)/parent.vhdx"]))

      // Either of the two will do: a merge may have been interrupted.
      child.locator.append(("parent_linkage2", Self.braces(Self.guids[1])))
      try HostTools.write(child.file.bytes, to: "\(folder)/child.vhdx")
      _ = try OpenImage(path: "\(folder)/child.vhdx")

      parent.sectorSize = 4096
      try HostTools.write(parent.file.bytes, to: "\(folder)/parent.vhdx")
      error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/child.vhdx") }
      #expect(error?.message.contains("the logical sector size 4096, not 512") == true)
    }
  }

  @Test func chainsThatComeBackAreRefused() throws {
    try HostTools.withFolder { folder in
      for (name, other) in [("a", "b"), ("b", "a"), ("self", "self")] {
        var image = Self.child(1 << 20, of: "\(other).vhdx", guid: Self.guids[0])
        image.dataWriteGUID = Self.guids[0]
        try HostTools.write(image.file.bytes, to: "\(folder)/\(name).vhdx")
      }
      for name in ["a", "self"] {
        let error = #expect(throws: DiskError.self) {
          try OpenImage(path: "\(folder)/\(name).vhdx")
        }
        #expect(error?.message.contains("the chain never ends") == true)
      }
    }
  }

  /// What is wholly in the file or in the parent needs no bitmap.
  @Test func bitmapsThatCannotBeRead() throws {
    var child = Self.child(4 << 20, of: "p", guid: Self.guids[0])
    child.blocks = [0: filled("A"), 1: filled("B")]
    child.ownedSectors = [0: [1]]
    let bitmapEntry = child.tableIndex(ofBitmap: 0) * 8
    for (entry, kind) in [
      (0, .malformed), (6, .malformed), (UInt64(1) << 20 | 6, .malformed),
      (UInt64(1) << 50 | 6, .truncated), (UInt64.max << 20 | 6, .truncated),
      (child.dataOffset | 3, .malformed),
    ] as [(UInt64, DiskError.Kind)] {
      child.editTable = { $0.putLittle(entry, at: bitmapEntry) }
      let image = try OpenedImage(child)
      let error = #expect(throws: DiskError.self) { try image.bytes(1000, 1) }
      #expect(error?.kind == kind && error?.offset != nil)
      #expect(letters(try image.bytes(1 << 20, 2 << 20), 1 << 20) == "B0")
      #expect(try image.disk.whole.mapEntry(at: .start).length == 1 << 20)
    }
  }
}
