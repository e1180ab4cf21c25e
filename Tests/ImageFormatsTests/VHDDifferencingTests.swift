import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Differencing VHDs. No tool here reads them right (qemu-img 7.2 and libvhdi 20210425 both mix up
/// parent and child), so what they hold is computed from the specification.
@Suite struct VHDDifferencingTests {
  static let parentUUID = [UInt8](0xB0...0xBF)

  private static func parent(_ size: UInt64, _ content: [Int: [UInt8]]) -> VHDBuilder {
    var builder = VHDBuilder(.dynamic, size: size)
    builder.blockSize = 8192
    builder.blocks = content
    builder.uuid = parentUUID
    return builder
  }

  private static func child(_ size: UInt64, of parent: VHDBuilder) -> VHDBuilder {
    var builder = VHDBuilder(.differencing, size: size)
    builder.blockSize = 8192
    builder.parent = (parent.uuid, parent.timestamp, "parent.vhd")
    return builder
  }

  /// Each sector as the letter it is full of; `0` for zeros.
  private func letters(_ bytes: [UInt8]) -> String {
    stride(from: 0, to: bytes.count, by: 512).map { start in
      let sector = bytes[start..<min(bytes.count, start + 512)]
      guard let first = sector.first, sector.allSatisfy({ $0 == first }) else { return "?" }
      return first == 0 ? "0" : String(UnicodeScalar(first))
    }.joined()
  }

  private func filled(_ letter: Character, _ count: Int) -> [UInt8] {
    [UInt8](repeating: letter.asciiValue!, count: count)
  }

  private func all(_ image: OpenImage) throws -> [UInt8] {
    try image.disk.whole.bytes(at: .start, count: Int(image.disk.size))
  }

  /// PEERS.md: libvhdi reads `PC0C0000PPPPPPPP` here, and qemu-img `0C0C0000…`.
  @Test func sectorsOfParentAndChild() throws {
    try HostTools.withFolder { folder in
      let parent = Self.parent(24_576, [0: filled("P", 8192), 1: filled("Q", 8192)])
      var child = Self.child(24_576, of: parent)
      // The child's file has other bytes where the parent's sectors are read.
      child.blocks = [0: filled("C", 8192)]
      child.ownedSectors = [0: [1, 3]]
      try HostTools.write(parent.file.bytes, to: "\(folder)/parent.vhd")
      try HostTools.write(child.file.bytes, to: "\(folder)/child.vhd")
      let image = try OpenImage(path: "\(folder)/child.vhd")
      #expect(
        letters(try all(image))
          == "PCPCPPPPPPPPPPPP" + String(repeating: "Q", count: 16)
          + String(repeating: "0", count: 16))
      #expect(image.notes == [])
      let layer = image.disk.layers[0].description
      #expect(layer.subformat == "differencing")
      #expect(
        layer.details.suffix(3).map { "\($0.name): \($0.value)" } == [
          "block size: 8192", "parent: parent.vhd",
          "parent identifier: b0b1b2b3-b4b5-b6b7-b8b9-babbbcbdbebf",
        ])
      #expect(image.disk.layers.map(\.description.subformat) == ["differencing", "dynamic"])
    }
  }

  @Test func runsOfEqualBitsAreOneExtent() throws {
    var child = Self.child(1 << 20, of: Self.parent(1 << 20, [:]))
    child.blockSize = 1 << 19
    child.blocks = [1: ImageBytes.pattern(1 << 19, seed: 1)]
    // 1,024 sectors in a block: words of 64 that are all set, all clear, and mixed.
    child.ownedSectors = [1: Set(0..<130).union([131]).union(200..<1000)]
    let image = try OpenedImage(child)
    var found: [String] = []
    var place = DiskOffset.start
    while place.bytes < 1 << 20 {
      let extent = try image.disk.layers[0].extent(at: place, limit: 1 << 20)
      switch extent.place {
      case .stored: found.append("\(extent.length / 512) here")
      case .below(let offset):
        #expect(offset == place)
        found.append("\(extent.length / 512) below")
      default: found.append("?")
      }
      place = place + extent.length
    }
    #expect(
      found == [
        "1024 below", "130 here", "1 below", "1 here", "68 below", "800 here", "24 below",
      ])
    // Asked for the middle of a sector.
    let extent = try image.disk.layers[0].extent(at: DiskOffset(1 << 19 + 130 * 512 + 5), limit: 9)
    #expect(extent.length == 507)
  }

  /// Sector by sector, as the specification says it: a block that is not allocated and a sector whose
  /// bit is clear are the parent's; past the parent's end are zeros.
  struct Level {
    var builder: VHDBuilder

    func content(over below: [UInt8]) -> [UInt8] {
      var result = Array(
        (below + [UInt8](repeating: 0, count: Int(builder.size)))[..<Int(builder.size)])
      let unit = Int(builder.blockSize)
      for (index, block) in builder.blocks {
        let owned = builder.ownedSectors[index] ?? Set(0..<unit / 512)
        for sector in owned {
          for byte in sector * 512..<sector * 512 + 512 where index * unit + byte < result.count {
            result[index * unit + byte] = byte < block.count ? block[byte] : 0
          }
        }
      }
      return result
    }
  }

  @Test(arguments: 1...5, 0..<4 as Range<UInt64>) func chains(_ depth: Int, _ seed: UInt64) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(depth) * 100 + seed)
      var expected: [UInt8] = []
      for number in 0...depth {
        // Levels may differ in size and in block size.
        let size = UInt64(Int.random(in: 60...160, using: &random)) * 512
        let isBase = number == 0
        var builder = VHDBuilder(
          !isBase ? .differencing : seed == 0 ? .fixed : .dynamic, size: size)
        builder.blockSize = [4096, 8192, 16384].randomElement(using: &random)!
        builder.uuid = [UInt8](repeating: UInt8(number), count: 16)
        let unit = Int(builder.blockSize)
        for index in 0..<(Int(size) + unit - 1) / unit
        where Int.random(in: 0..<3, using: &random) > 0 {
          let room = builder.type == .fixed ? min(unit, Int(size) - index * unit) : unit
          builder.blocks[index] = ImageBytes.pattern(room, seed: random.next())
          if !isBase {
            builder.ownedSectors[index] = Set(
              (0..<unit / 512).filter { _ in Bool.random(using: &random) })
          }
        }
        if !isBase {
          let uuid = [UInt8](repeating: UInt8(number - 1), count: 16)
          builder.parent = (uuid, 0, "")
          builder.locators = [("W2ru", VHDBuilder.utf16(".\\\(number - 1).VHD"))]
        }
        try HostTools.write(builder.file.bytes, to: "\(folder)/\(number).vhd")
        expected = Level(builder: builder).content(over: expected)
      }
      let image = try OpenImage(path: "\(folder)/\(depth).vhd")
      #expect(image.disk.layers.count == depth + 1)
      #expect(try all(image) == expected)
      for _ in 0..<40 {
        let start = Int.random(in: 0..<expected.count, using: &random)
        let count = Int.random(in: 0...min(3000, expected.count - start), using: &random)
        #expect(
          try image.disk.whole.bytes(at: DiskOffset(UInt64(start)), count: count)
            == Array(expected[start..<start + count]))
      }
    }
  }

  @Test func wherePathsLead() throws {
    var child = Self.child(8192, of: Self.parent(8192, [:]))
    child.locators = [
      ("W2ku", VHDBuilder.utf16("C:\\VMs\\base\\Parent.vhd")),
      ("MacX", Array("file:///elsewhere/parent.vhd".utf8)),
      ("W2ru", VHDBuilder.utf16("..\\base\\Parent.vhd")),
      ("Wi2r", Array("old.vhd".utf8)), ("Wi2k", [0xE9, 0x2E]),
    ]
    let parent = try #require(try OpenedImage(child).parsed.parent)
    #expect(
      parent.paths == [
        "../base/Parent.vhd", "base/Parent.vhd", "Parent.vhd", "VMs/base/Parent.vhd", "old.vhd",
        "parent.vhd",
      ])
    #expect(parent.name == "..\\base\\Parent.vhd")
    #expect(parent.ignoresCase && parent.format == "vhd")
  }

  @Test func aLocatorThatCannotBeReadIsPassedOver() throws {
    var child = Self.child(8192, of: Self.parent(8192, [:]))
    child.locators = [("W2ru", VHDBuilder.utf16("a.vhd")), ("W2ku", VHDBuilder.utf16("C:\\b.vhd"))]
    child.editHeader = { $0.putBig(UInt64(1) << 50, at: 576 + 16) }
    let image = try OpenedImage(child)
    #expect(image.parsed.parent?.paths == ["b.vhd", "parent.vhd"])
    #expect(image.notes.count == 1 && image.notes[0].contains("'W2ru'"))
  }

  @Test func anotherParentIsRefusedAndAnotherTimeNoted() throws {
    try HostTools.withFolder { folder in
      var parent = Self.parent(8192, [0: filled("P", 8192)])
      let child = Self.child(8192, of: parent)
      try HostTools.write(child.file.bytes, to: "\(folder)/child.vhd")
      #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/child.vhd") }

      parent.timestamp += 1
      try HostTools.write(parent.file.bytes, to: "\(folder)/parent.vhd")
      let image = try OpenImage(path: "\(folder)/child.vhd")
      #expect(image.notes.count == 1 && image.notes[0].contains("time stamp"))
      #expect(letters(try all(image)) == "PPPPPPPPPPPPPPPP")
      // The time at which the file last changed will do.
      let changed = Date(timeIntervalSince1970: 946_684_800 + Double(0x2A00_0000))
      try FileManager.default.setAttributes(
        [.modificationDate: changed], ofItemAtPath: "\(folder)/parent.vhd")
      #expect(try OpenImage(path: "\(folder)/child.vhd").notes == [])

      parent.uuid = [UInt8](repeating: 7, count: 16)
      try HostTools.write(parent.file.bytes, to: "\(folder)/parent.vhd")
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/child.vhd") }
      #expect(error?.message.contains("it has the UUID 07070707-") == true)
      #expect(error?.message.contains("not b0b1b2b3-") == true)
    }
  }

  @Test func chainsThatComeBackAreRefused() throws {
    try HostTools.withFolder { folder in
      var a = Self.child(8192, of: Self.parent(8192, [:]))
      a.uuid = Self.parentUUID
      for (name, other) in [("a", "b"), ("b", "a")] {
        a.parent = (Self.parentUUID, 0, "\(other).vhd")
        try HostTools.write(a.file.bytes, to: "\(folder)/\(name).vhd")
      }
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/a.vhd") }
      #expect(error?.message.contains("the chain never ends") == true)
    }
  }

  /// The rest of a block whose bitmap cannot be read cannot be read; everything else can.
  @Test func aBitmapThatCannotBeRead() throws {
    var child = Self.child(24_576, of: Self.parent(24_576, [:]))
    child.blocks = [0: filled("A", 8192), 2: filled("C", 8192)]
    let image = try OpenedImage(child)
    // Copy, header, table; bitmap at 2048, block, bitmap at 2048 + 512 + 8192.
    image.storage.damage(2048..<2049)
    let error = #expect(throws: DiskError.self) { try image.bytes(8191, 1) }
    #expect(error?.kind == .inputOutput)
    #expect(letters(try image.bytes(8192, 16_384)) == "0000000000000000CCCCCCCCCCCCCCCC")
    let entry = try image.disk.whole.mapEntry(at: .start)
    #expect(entry.length == 8192)
  }

  /// What is the parent's can be read even where the file ends inside the block.
  @Test func aBlockThatIsCutShort() throws {
    var child = Self.child(8192, of: Self.parent(8192, [:]))
    child.blocks = [0: filled("A", 8192)]
    child.ownedSectors = [0: [0, 1, 15]]
    let bytes = Array(child.file.bytes.prefix(2048 + 512 + 700))
    let image = try OpenedImage(MemoryStorage(bytes, path: "cut.vhd"))
    #expect(letters(try image.bytes(0, 512)) == "A")
    #expect(letters(try image.bytes(1024, 13 * 512)) == "0000000000000")
    for place in [1023, 8191] {
      let error = #expect(throws: DiskError.self) { try image.bytes(place, 1) }
      #expect(error?.kind == .truncated)
    }
  }
}
