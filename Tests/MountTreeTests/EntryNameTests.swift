import DiskCore
import MountTree
import TestSupport
import Testing

/// What any name must be: a single, safe, visible file name.
private func expectSafe(_ name: String) {
  #expect(!name.isEmpty && name != "." && name != "..")
  #expect(name.utf8.count <= 255)
  #expect(!name.utf8.contains(0x2F) && !name.utf8.contains(0))
  #expect(
    name.unicodeScalars.allSatisfy { scalar in
      switch scalar.properties.generalCategory {
      case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
        .paragraphSeparator, .spaceSeparator:
        false
      default: true
      }
    })
}

@Suite struct EntryNameTests {
  /// As `udevadm info` shows them for such labels.
  @Test(arguments: [
    ("root", "root"), ("My Disk", "My\\x20Disk"),
    ("EFI system partition", "EFI\\x20system\\x20partition"),
    ("a-b_c.d:e=f@g#h+i", "a-b_c.d:e=f@g#h+i"), ("größe", "größe"), ("100%", "100\\x25"),
    ("a/b", "a\\x2fb"), ("back\\slash", "back\\x5cslash"),
    ("it's \"$x\"", "it\\x27s\\x20\\x22\\x24x\\x22"),
    ("日本", "日本"), ("[a]{b}(c)*?", "\\x5ba\\x5d\\x7bb\\x7d\\x28c\\x29\\x2a\\x3f"), ("~", "\\x7e"),
  ])
  func ordinaryNamesAreAsUdevEscapesThem(_ label: String, _ name: String) {
    #expect(EntryName.escaping(label) == name)
    expectSafe(name)
  }

  @Test func namesThatAreNone() {
    #expect(EntryName.escaping("") == nil)
    #expect(EntryName.escaping(".") == "\\x2e")
    #expect(EntryName.escaping("..") == "\\x2e\\x2e")
    #expect(EntryName.escaping("...") == "...")
    #expect(EntryName.escaping(" ") == "\\x20")
  }

  @Test func longNamesEndWithAWholeCharacter() throws {
    let plain = try #require(EntryName.escaping(String(repeating: "x", count: 1000)))
    #expect(plain.utf8.count == 240)
    // 239 bytes, and a character of four: neither it nor a part of it fits.
    let prefix = String(repeating: "x", count: 239)
    #expect(EntryName.escaping(prefix + "🐧") == prefix)
    #expect(EntryName.escaping(prefix + "/") == prefix)
    #expect(EntryName.escaping(prefix + "y") == prefix + "y")
  }

  @Test func everyCharacterIsSafe() {
    for value in 0...UInt32(0x3100) {
      guard let scalar = Unicode.Scalar(value), let name = EntryName.escaping(String(scalar))
      else { continue }
      expectSafe(name)
    }
    for value in [0xE000, 0xFEFF, 0xFFFD, 0xFFFF, 0x1F427, 0xE0001, 0x10FFFF] as [UInt32] {
      if let scalar = Unicode.Scalar(value) { expectSafe(EntryName.escaping(String(scalar)) ?? "") }
    }
  }

  /// The GPT-name row of shared/HOSTILE.md, as partition names of one disk.
  @Test func hostilePartitionNames() throws {
    let names: [[UInt16]] = [
      Array("../../etc/x".utf16), Array("a/b".utf16), Array("a/b".utf16), [0x61, 0x0A, 0x1B, 0x5B],
      [0xD800], [0xDC00, 0x61], Array(repeating: 0x0301, count: 36), Array(".".utf16),
      Array("..".utf16), Array(repeating: 0x2028, count: 36), Array(repeating: 0xFFFF, count: 36),
      Array(repeating: 0x65E5, count: 36), [0xE9], [0x65, 0x0301], [0x202E, 0x78], [0xD800],
      Array(repeating: 0x2F, count: 36), Array(repeating: 0x202E, count: 36),
      Array(repeating: 0x202E, count: 36), [0], [0x7F], [0x85], [0xFEFF], Array("a\\x2fb".utf16),
      Array("disk".utf16), Array("p1".utf16),
    ]
    var builder = GPTBuilder(sectorCount: 8192)
    for (index, name) in names.enumerated() {
      builder.entries[index] = GPTBuilder.Entry(
        first: UInt64(100 + index), last: UInt64(100 + index), name: name)
    }
    let tree = try ListedTree(builder)
    let entries = try tree.entries("by-partlabel")
    #expect(entries.count == names.count - 1, "all but the empty one")
    for entry in entries { expectSafe(entry.name) }
    #expect(Set(entries.map { Array($0.name.utf8) }).count == entries.count)
    let shown = entries.map(\.name)
    #expect(shown[0] == "..\\x2f..\\x2fetc\\x2fx")
    #expect(shown[1] == "a\\x2fb" && shown[2] == "a\\x2fb-p3")
    #expect(shown[3] == "a\\x0a\\x1b\\x5b")
    #expect(shown[4] == "\u{FFFD}" && shown[5] == "\u{FFFD}a")
    #expect(shown[7] == "\\x2e" && shown[8] == "\\x2e\\x2e")
    #expect(shown.contains("a\\x5cx2fb"), "a name that looks escaped is not another's")
    // Each leads to its own partition.
    for entry in entries {
      #expect(try tree.node("by-partlabel/\(entry.name)").id == entry.node.id)
    }
  }

  /// Labels of file systems are as little to be trusted.
  @Test func hostileLabels() throws {
    var builder = GPTBuilder(sectorCount: 16_384)
    let labels = ["../../../x ", "A\nB\u{1B}[31m  ", "..         ", "/          "]
    for (index, label) in labels.enumerated() {
      let first = UInt64(40 + index * 3000)
      builder.entries[index] = GPTBuilder.Entry(first: first, last: first + 2879)
      builder.content.append((first * 512, FileSystemBuilders.fat12(label: label)))
    }
    let tree = try ListedTree(builder)
    let names = try tree.entries("by-label").map(\.name)
    #expect(names.count == 4 && Set(names).count == 4)
    for name in names { expectSafe(name) }
    #expect(names[0] == "..\\x2f..\\x2f..\\x2fx" && names[2] == "\\x2e\\x2e")
  }
}
