import DiskCore
import FileSystems
import TestSupport
import Testing

@testable import FileSystems

/// FAT volumes laid out by hand.
@Suite struct FATTests {
  private func utf16(_ text: String) -> [UInt16] { Array(text.utf16) }

  @Test(arguments: FATBuilder.Width.allCases)
  func readsAFragmentedFile(_ width: FATBuilder.Width) throws {
    var volume = FATBuilder(width)
    let content = ImageBytes.pattern(5 * 512 + 100, seed: 1)
    volume.fill([9, 10, 7, 150, 3, 199], with: content)
    volume.entry("FILE    BIN", at: volume.root, cluster: 9, size: content.count)
    let files = try ListedFiles(volume.bytes)
    #expect(files.paths == ["FILE.BIN"])
    let file = try #require(files.items["FILE.BIN"])
    #expect(file.content == content)
    #expect(file.attributes.size == 5 * 512 + 100)
    #expect(file.attributes.allocatedBytes == 6 * 512)
    #expect(file.item.number == UInt64(volume.root) / 32)
  }

  @Test(arguments: FATBuilder.Width.allCases)
  func readsFoldersInFolders(_ width: FATBuilder.Width) throws {
    var volume = FATBuilder(width)
    volume.entry("SUB        ", at: volume.root, attributes: FATBuilder.folder, cluster: 20)
    volume.chain([20, 25])
    let sub = volume.place(of: 20)
    volume.entry(".          ", at: sub, attributes: FATBuilder.folder, cluster: 20)
    volume.entry("..         ", at: sub + 32, attributes: FATBuilder.folder)
    for index in 2..<16 { volume.entry("OLD     TMP", at: sub + index * 32) }
    for index in 2..<16 { volume.put([0xE5], at: sub + index * 32) }
    volume.fill([30], with: Array("hello".utf8))
    volume.entry("INNER   TXT", at: volume.place(of: 25), cluster: 30, size: 5)
    // Behind the last entry there is nothing, whatever stands there.
    volume.entry("GHOST   TXT", at: volume.place(of: 25) + 64)
    let files = try ListedFiles(volume.bytes)
    #expect(files.paths == ["SUB", "SUB/INNER.TXT"])
    #expect(files.items["SUB/INNER.TXT"]?.content == Array("hello".utf8))
    #expect(files.items["SUB"]?.attributes.kind == .folder)
    #expect(files.items["SUB"]?.attributes.size == 1024)
    #expect(files.damage.isEmpty)
  }

  @Test func showsShortNamesAsTheMountDoes() throws {
    var volume = FATBuilder()
    let names: [(name: [UInt8], lower: UInt8, text: String)] = [
      (Array("README  TXT".utf8), 0, "README.TXT"),
      (Array("README  MD ".utf8), 0x18, "readme.md"),
      (Array("BOOT    INI".utf8), 0x08, "boot.INI"),
      (Array("IO      SYS".utf8), 0x10, "IO.sys"),
      (Array("NOEXT      ".utf8), 0, "NOEXT"),
      (Array("A B     C D".utf8), 0, "A B.C D"),
      // 437: 0x8E is Ä; with the flag, ä. 0x05 stands for 0xE5, σ.
      (Array("H".utf8) + [0x8E] + Array("SLICH   ".utf8) + [0x20], 0x08, "häslich"),
      ([0x05] + Array("IGMA   TXT".utf8), 0, "σIGMA.TXT"),
    ]
    for (index, name) in names.enumerated() {
      volume.entry(name.name, at: volume.root + index * 32, lowerCase: name.lower)
    }
    #expect(try ListedFiles.tree(volume.bytes).names() == names.map(\.text))
  }

  @Test func readsShortNamesInTheCodePage() throws {
    var volume = FATBuilder()
    volume.entry([0x8F, 0x90, 0x88, 0x82, 0x85, 0x92] + Array("  TXT".utf8), at: volume.root)
    let russian = FileSystemOptions(codePage: 866)
    #expect(try ListedFiles.tree(volume.bytes, options: russian).names() == ["ПРИВЕТ.TXT"])
    let western = FileSystemOptions(codePage: 850)
    #expect(try ListedFiles.tree(volume.bytes, options: western).names() == ["ÅÉêéàÆ.TXT"])
    let unknown = try ListedFiles.tree(volume.bytes, options: FileSystemOptions(codePage: 933))
    let error = try #require(failure { try unknown.root() })
    #expect(error.kind == .invalidRequest)
    #expect(error.message.contains("437, 720"))
  }

  @Test func everyCodePageHasAllItsCharacters() throws {
    for number in OEMCodePage.numbers {
      #expect(try text([0x41], number) == "A")
    }
    #expect(try text([0xD5], 858) == "€")
    #expect(try text([0xA9], 852) == "ę")
    #expect(try text([0xF3], 1125) == "ґ")
    #expect(try text([0xE7], 857) == "\u{FFFD}")
    #expect(try text([0x41, 0x81, 0x5F, 0xB1, 0x5C], 932) == "A＼ｱ\\")
    #expect(try text([0xC4, 0xE3, 0xBA, 0xC3], 936) == "你好")
    #expect(try text([0xC7, 0xD1, 0x8C, 0x63], 949) == "한똠")
    #expect(try text([0xA7, 0x41, 0xA6, 0x6E], 950) == "你好")
    // What begins nothing, is cut in two, or has no second half.
    #expect(try text([0xFF, 0x41], 932) == "\u{FFFD}A")
    #expect(try text([0x41, 0x83], 932) == "A\u{FFFD}")
    #expect(try text([0x83, 0x20, 0x83, 0x41], 932) == "\u{FFFD} ア")
  }

  private func text(_ bytes: [UInt8], _ codePage: Int) throws -> String {
    var text = String.UnicodeScalarView()
    text += try OEMCodePage(codePage).reader().text(of: bytes)
    return String(text)
  }

  @Test func readsNamesOfTwoBytesACharacter() throws {
    var volume = FATBuilder()
    // 表示: the second byte of the first character is that of a backslash. 藺: its first byte is 0xE5, for
    // which 0x05 stands. ﾌｫ in lower case stays as it is.
    let names: [[UInt8]] = [
      [0x95, 0x5C, 0x8E, 0xA6, 0x20, 0x20, 0x20, 0x20], [0x05, 0x61] + Array("ABC   ".utf8),
      [0xCC, 0xAB] + Array("ABC   ".utf8),
    ]
    for (index, name) in names.enumerated() {
      volume.entry(
        name + Array("TXT".utf8), at: volume.root + index * 32, lowerCase: index == 2 ? 0x18 : 0)
    }
    let japanese = FileSystemOptions(codePage: 932)
    #expect(
      try ListedFiles.tree(volume.bytes, options: japanese).names() == [
        "表示.TXT", "藺ABC.TXT", "ﾌｫabc.txt",
      ])
  }

  @Test func readsLongNames() throws {
    var volume = FATBuilder()
    let names = [
      "a", "exactly13char", "a longer one, ünïcödé 🐧.tar.gz", String(repeating: "x", count: 255),
    ]
    var place = volume.root
    for (index, name) in names.enumerated() {
      let short = "LONG~\(index)  TXT"
      place = volume.longName(utf16(name), for: short, at: place)
      volume.entry(short, at: place)
      place += 32
    }
    #expect(try ListedFiles.tree(volume.bytes).names() == names)
  }

  @Test func brokenLongNamesGiveTheShortOne() throws {
    // Each breaks a name of three parts, and gives where the short entry goes.
    let breaks: [(inout FATBuilder, Int) -> Int] = [
      // A part is missing; parts in the wrong order; only the last; another checksum.
      { volume, end in
        volume.put([0xE5], at: end - 64)
        return end
      },
      { volume, end in
        volume.put([0x01], at: end - 64)
        return end
      },
      { volume, end in
        volume.put([0x42], at: end - 32)
        return end
      },
      { volume, end in
        volume.put([0x99], at: end - 32 + 13)
        return end
      },
      // A number of 0, and one that is too large.
      { volume, end in
        volume.put([0x40], at: end - 96)
        return end
      },
      { volume, end in
        volume.put([0x7F], at: end - 96)
        return end
      },
      // Something else between the name and its entry.
      { volume, end in
        volume.entry("VOLUME     ", at: end, attributes: 0x08)
        return end + 32
      },
      { volume, end in
        volume.put([0xE5, 0x20], at: end)
        return end + 32
      },
    ]
    for (index, damage) in breaks.enumerated() {
      var volume = FATBuilder()
      let end = volume.longName(
        utf16("a name that takes three parts."), for: "SHORT   TXT", at: volume.root)
      let place = damage(&volume, end)
      volume.entry("SHORT   TXT", at: place)
      // And the next name is not touched by that.
      let after = volume.longName(utf16("next one"), for: "NEXT    TXT", at: place + 32)
      volume.entry("NEXT    TXT", at: after)
      #expect(try ListedFiles.tree(volume.bytes).names() == ["SHORT.TXT", "next one"], "\(index)")
    }
    // A long name of another entry: the checksum tells.
    var volume = FATBuilder()
    let end = volume.longName(utf16("renamed by DOS"), for: "OLDNAME TXT", at: volume.root)
    volume.entry("NEWNAME TXT", at: end)
    #expect(try ListedFiles.tree(volume.bytes).names() == ["NEWNAME.TXT"])
  }

  @Test func hidesLabelsAndDeletedFiles() throws {
    var volume = FATBuilder()
    volume.entry("MY DISK    ", at: volume.root, attributes: FATBuilder.label)
    volume.entry("GONE    TXT", at: volume.root + 32)
    volume.put([0xE5], at: volume.root + 32)
    volume.entry("HERE    TXT", at: volume.root + 64)
    #expect(try ListedFiles.tree(volume.bytes).names() == ["HERE.TXT"])
  }

  @Test func findsNamesInAnyCase() throws {
    var volume = FATBuilder()
    let end = volume.longName(utf16("Grüße ſ.txt"), for: "GRUE~1  TXT", at: volume.root)
    volume.entry("GRUE~1  TXT", at: end)
    let tree = try ListedFiles.tree(volume.bytes)
    let item = try tree.item("Grüße ſ.txt")
    #expect(try tree.item("GRÜßE ſ.TXT") == item)
    #expect(failure { try tree.item("Grüße s.txt") }?.kind == .notFound)
  }

  /// As `mount -t vfat` does: found, and not listed.
  @Test func findsFilesByTheirShortNames() throws {
    var volume = FATBuilder()
    let end = volume.longName(utf16("Program Files"), for: "PROGRA~1   ", at: volume.root)
    volume.entry("PROGRA~1   ", at: end, attributes: FATBuilder.folder, cluster: 20)
    volume.chain([20])
    volume.entry("INNER   TXT", at: volume.place(of: 20))
    // A long name that is the short one of another entry: the name comes first.
    let other = volume.longName(utf16("a longer name"), for: "TAKEN   TXT", at: end + 32)
    volume.entry("TAKEN   TXT", at: other)
    let taken = volume.longName(utf16("taken.txt"), for: "TAKEN~1 TXT", at: other + 32)
    volume.entry("TAKEN~1 TXT", at: taken)
    let tree = try ListedFiles.tree(volume.bytes)
    #expect(try tree.names() == ["Program Files", "a longer name", "taken.txt"])
    #expect(try tree.item("PROGRA~1") == tree.item("Program Files"))
    #expect(try tree.item("progra~1/inner.txt") == tree.item("Program Files/INNER.TXT"))
    #expect(try tree.item("TAKEN.TXT").number == UInt64(taken / 32))
    #expect(try tree.item("TAKEN~1.TXT").number == UInt64(taken / 32))
    #expect(failure { try tree.item("PROGRA~2") }?.kind == .notFound)
  }

  @Test func readsAttributesAndTimes() throws {
    var volume = FATBuilder()
    volume.entry(
      Array("A       TXT".utf8), at: volume.root, attributes: FATBuilder.readOnly,
      date: 44 << 9 | 2 << 5 | 29, time: 23 << 11 | 59 << 5 | 29)
    // Created 1.99 s later than the two seconds say; last opened on a day.
    volume.put([199], at: volume.root + 13)
    volume.putLittle(UInt16(12 << 11 | 30 << 5 | 5), at: volume.root + 14)
    volume.putLittle(UInt16(44 << 9 | 1 << 5 | 1), at: volume.root + 16)
    volume.putLittle(UInt16(44 << 9 | 12 << 5 | 31), at: volume.root + 18)
    volume.entry(Array("B          ".utf8), at: volume.root + 32, date: 0, time: 0)
    // The last moment that there is, and one with fields out of range.
    volume.entry(
      Array("C          ".utf8), at: volume.root + 64, date: 127 << 9 | 12 << 5 | 31,
      time: 23 << 11 | 59 << 5 | 29)
    volume.entry(
      Array("D          ".utf8), at: volume.root + 96, date: 0xFFE0, time: 0xFFFF)
    let files = try ListedFiles(volume.bytes)
    let a = try #require(files.items["A.TXT"]?.attributes)
    #expect(a.permissions == 0o444)
    #expect(a.modified == FileTime(seconds: 1_709_251_198))  // 2024-02-29 23:59:58
    #expect(a.created == FileTime(seconds: 1_704_112_211, nanoseconds: 990_000_000))
    #expect(a.accessed == FileTime(seconds: 1_735_603_200))  // 2024-12-31
    let b = try #require(files.items["B"]?.attributes)
    #expect(b.permissions == 0o644)
    #expect(b.modified == FileTime(seconds: 315_532_800))  // 1980-01-01
    #expect(b.created == nil && b.accessed == nil)
    #expect(files.items["C"]?.attributes.modified == FileTime(seconds: 4_354_819_198))
    #expect(files.items["D"] != nil)
  }

  @Test func timesAreLocal() throws {
    var volume = FATBuilder()
    // 2024-03-31 02:30: the hour that the clocks skip in Berlin; and 12:00 on that day.
    volume.entry(
      Array("A          ".utf8), at: volume.root, date: 44 << 9 | 3 << 5 | 31, time: 12 << 11)
    volume.entry(
      Array("B          ".utf8), at: volume.root + 32, date: 44 << 9 | 3 << 5 | 31, time: 1 << 11)
    let berlin = FileSystemOptions(localTimeOffset: { $0.seconds < 1_711_846_800 ? 3600 : 7200 })
    let files = try ListedFiles(volume.bytes, options: berlin)
    #expect(files.items["A"]?.attributes.modified == FileTime(seconds: 1_711_879_200))
    #expect(files.items["B"]?.attributes.modified == FileTime(seconds: 1_711_843_200))
  }

  @Test(arguments: [
    (320, 0xFE as UInt8, 64, 1), (360, 0xFC, 64, 2), (640, 0xFF, 112, 1), (720, 0xFD, 112, 2),
    (1440, 0xF9, 112, 3), (2400, 0xF9, 224, 7), (2880, 0xF0, 224, 9),
  ])
  func readsFloppiesWithoutParameters(
    _ sectors: Int, _ media: UInt8, _ entries: Int, _ perFAT: Int
  ) throws {
    let perCluster = (640...1440).contains(sectors) ? 2 : 1
    var image = ImageBytes(count: sectors * 512)
    image.put([0xEB, 0x27, 0x90], at: 0)
    for copy in 0..<2 {
      // Clusters 2 → 3 → end.
      image.put([media, 0xFF, 0xFF, 0x03, 0xF0, 0xFF], at: 512 + copy * perFAT * 512)
    }
    let root = 512 + 2 * perFAT * 512
    image.put("COMMAND COM", at: root)
    image.putLittle(2 as UInt16, at: root + 26)
    image.putLittle(UInt32(perCluster * 512 + 5), at: root + 28)
    let data = root + entries * 32
    image.put(ImageBytes.pattern(perCluster * 512 + 5, seed: 4), at: data)
    let tree = try ListedFiles.tree(image.bytes)
    let file = try tree.item("COMMAND.COM")
    #expect(try tree.content(of: file).all == ImageBytes.pattern(perCluster * 512 + 5, seed: 4))
    #expect(try tree.fileSystem().notes.count == 1)
    // One of the FATs is enough, and then it is the one that is read.
    image.put([UInt8](repeating: 0, count: 6), at: 512)
    #expect(
      try ListedFiles(image.bytes).items["COMMAND.COM"]?.content
        == ImageBytes.pattern(perCluster * 512 + 5, seed: 4))
    // Another medium: another floppy.
    image.put([0xFB], at: 512)
    image.put([0xFB], at: 512 + perFAT * 512)
    #expect(failure { try ListedFiles.tree(image.bytes).root() }?.kind == .unsupported)
  }

  @Test func readsOldFloppiesWithoutASignature() throws {
    var volume = FATBuilder()
    volume.put([0, 0], at: 510)
    volume.put([UInt8](repeating: 0xF6, count: 26), at: 0x24)
    volume.entry("OLD     TXT", at: volume.root)
    #expect(try ListedFiles.tree(volume.bytes).names() == ["OLD.TXT"])
    // One FAT that begins as one does is enough; without any it is nothing.
    volume.put([0x00], at: volume.fat)
    #expect(try ListedFiles.tree(volume.bytes).names() == ["OLD.TXT"])
    volume.put([0x00], at: volume.fat + volume.fatLength)
    #expect(failure { try ListedFiles.tree(volume.bytes).root() }?.kind == .unsupported)
  }

  @Test func readsTheFATInUse() throws {
    var volume = FATBuilder(.fat32)
    let content = ImageBytes.pattern(1024, seed: 5)
    volume.fill([5, 9], with: content)
    volume.entry("FILE       ", at: volume.root, cluster: 5, size: 1024)
    // The first FAT says that the file ends at once; the second one is in use.
    volume.putLittle(0x0FFF_FFFF as UInt32, at: volume.fat + 5 * 4)
    #expect(try ListedFiles(volume.bytes).items["FILE"]?.content == nil)
    volume.putLittle(0x0081 as UInt16, at: 0x28)
    #expect(try ListedFiles(volume.bytes).items["FILE"]?.content == content)
  }

  @Test func followsWhatIsWritten() throws {
    var volume = FATBuilder()
    volume.fill([5], with: [1, 2, 3])
    volume.entry("FILE       ", at: volume.root, cluster: 5, size: 3)
    let base = FlatLayer(MemoryStorage(volume.bytes))
    let disk = try Disk(layers: [MemoryOverlay(size: base.size, unit: 512), base])
    let tree = FileTree(Volume(disk.whole))
    #expect(try tree.names() == ["FILE"])
    let renamed = Array("OTHER".utf8)
    try disk.whole.write(at: DiskOffset(UInt64(volume.root)), from: renamed.span.bytes)
    #expect(try tree.names() == ["OTHER"])
  }

  @Test func theNumberOfAnItemIsChecked() throws {
    var volume = FATBuilder()
    volume.entry("FILE       ", at: volume.root)
    let tree = try ListedFiles.tree(volume.bytes)
    let numbers = [
      1, UInt64(volume.root) / 32 + 1, UInt64(volume.bytes.count) / 32, ItemID.largest, .max,
    ]
    for number in numbers {
      #expect(failure { try tree.attributes(of: ItemID(number)) }?.kind == .notFound, "\(number)")
    }
    #expect(failure { try tree.content(of: tree.root()) }?.kind == .invalidRequest)
  }
}
