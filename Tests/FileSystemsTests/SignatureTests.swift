import DiskCore
import FileSystems
import TestSupport
import Testing

private func find(_ bytes: [UInt8]) throws -> FileSystemSignature? {
  FileSystemSignature.find(in: try Disk.holding(bytes).whole)
}

@Suite struct SignatureTests {
  @Test func fatLabels() throws {
    let serial = "1234-ABCD"
    #expect(
      try find(FileSystemBuilders.fat12())
        == FileSystemSignature(type: "vfat", label: "PLATTER", uuid: serial))
    #expect(
      try find(FileSystemBuilders.fat12(label: nil))
        == FileSystemSignature(type: "vfat", label: nil, uuid: serial))
    #expect(try find(FileSystemBuilders.fat12(label: nil, copy: "COPY       "))?.label == "COPY")
    #expect(
      try find(FileSystemBuilders.fat32())
        == FileSystemSignature(type: "vfat", label: "DEEP", uuid: "00C0-FFEE"))
  }

  @Test func fatBootSectorsThatCannotBe() throws {
    let changes: [(place: Int, bytes: [UInt8])] = [
      (0x0B, [0, 0]), (0x0B, [3, 0]), (0x0B, [0xFF, 0xFF]), (0x0B, [0, 1]), (0x0B, [0, 0x20]),
      (0x0D, [0]), (0x0D, [3]), (0x0E, [0, 0]), (0x10, [0]), (0x15, [0x12]), (0x16, [0xFF, 0xFF]),
      (0x11, [0xFF, 0xFF]), (0x16, [0, 0]), (3, Array("-FVE-FS-".utf8)),
    ]
    for change in changes {
      var image = ImageBytes(FileSystemBuilders.fat12())
      image.put(change.bytes, at: change.place)
      #expect(try find(image.bytes) == nil, "\(change)")
    }
  }

  /// A terabyte claimed on a floppy: still FAT, and nothing is looked for past the end.
  @Test func fatOfATerabyteOnAFloppy() throws {
    var image = ImageBytes(FileSystemBuilders.fat32().prefix(100 * 512).map { $0 })
    image.putLittle(1 << 31 as UInt32, at: 0x20)
    image.put([16], at: 0x0D)
    #expect(try find(image.bytes) == FileSystemSignature(type: "vfat", uuid: "00C0-FFEE"))
  }

  /// A root directory whose clusters go round, and one that never ends.
  @Test func fatDirectoriesThatLoop() throws {
    var loop = ImageBytes(FileSystemBuilders.fat32())
    loop.putLittle(2 as UInt32, at: 32 * 512 + 8)
    #expect(try find(loop.bytes)?.label == nil)
    var endless = ImageBytes(FileSystemBuilders.fat32())
    for cluster in 2..<40 {
      endless.putLittle(UInt32(2 + (cluster - 1) % 38), at: 32 * 512 + 4 * cluster)
    }
    endless.put([UInt8](repeating: 0xE5, count: 38 * 512), at: 657 * 512)
    #expect(try find(endless.bytes) == FileSystemSignature(type: "vfat", uuid: "00C0-FFEE"))
  }

  @Test func ntfs() throws {
    #expect(
      try find(FileSystemBuilders.ntfs())
        == FileSystemSignature(type: "ntfs", label: "Daten", uuid: "0123456789ABCDEF"))
  }

  @Test func isoLabelsAndDates() throws {
    func signature(_ label: String, _ joliet: [UInt16]?) throws -> FileSystemSignature? {
      let descriptors = FileSystemBuilders.isoDescriptors(label: label, joliet: joliet)
      return try find(FileSystemBuilders.placed(descriptors, at: 32768, size: 65536))
    }
    let uuid = "2024-01-31-23-59-59-00"
    #expect(
      try signature("CDROM", nil)
        == FileSystemSignature(type: "iso9660", label: "CDROM", uuid: uuid))
    // Joliet gives the case and what ASCII lacks, the primary descriptor what Joliet cuts off.
    #expect(
      try signature("A_LONG_LABEL_THAT_GOES_ON", Array("A Long Label Tha".utf16))?.label
        == "A Long Label ThaT_GOES_ON")
    #expect(try signature("_BER", Array("über".utf16))?.label == "über")
    // Two different labels: Joliet's.
    #expect(try signature("ONE", Array("Two".utf16))?.label == "Two")
  }

  @Test func udf() throws {
    #expect(
      try find(FileSystemBuilders.udf(label: "Film", volumeSet: "5F3A00112233ABCDLinuxUDF"))
        == FileSystemSignature(type: "udf", label: "Film", uuid: "5f3a00112233abcd"))
    #expect(
      try find(FileSystemBuilders.udf(label: "Film", volumeSet: "5F3A0011LinuxUDF"))?.uuid
        == "5f3a00114c696e75")
    #expect(
      try find(FileSystemBuilders.udf(label: "Film", volumeSet: "LinuxUDF"))?.uuid
        == "4c696e7578554446")
  }

  @Test func appleFileSystems() throws {
    let uuid = try #require(try find(FileSystemBuilders.hfsPlus(wrapped: false))?.uuid)
    for wrapped in [false, true] {
      #expect(
        try find(FileSystemBuilders.hfsPlus(wrapped: wrapped))
          == FileSystemSignature(type: "hfsplus", label: "Macintosh", uuid: uuid))
    }
    #expect(
      try find(FileSystemBuilders.hfs())
        == FileSystemSignature(type: "hfs", label: "Disk", uuid: uuid))
    #expect(
      try find(FileSystemBuilders.apfs())
        == FileSystemSignature(type: "apfs", uuid: "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf"))
  }

  @Test func containers() throws {
    let uuid = "e7b8e0a8-1c9f-4f8d-9f0a-1b2c3d4e5f60"
    #expect(
      try find(FileSystemBuilders.luks(version: 1))
        == FileSystemSignature(type: "crypto_LUKS", uuid: uuid))
    #expect(
      try find(FileSystemBuilders.luks(version: 2))
        == FileSystemSignature(type: "crypto_LUKS", label: "secrets", uuid: uuid))
    #expect(try find(FileSystemBuilders.luks(version: 3)) == nil)
    #expect(
      try find(FileSystemBuilders.lvm2())
        == FileSystemSignature(
          type: "LVM2_member", uuid: "abcdef-GHIJ-klmn-OPQR-stuv-WXYZ-012345"))
  }

  @Test func swapOfEveryPageSize() throws {
    for pageSize in [4096, 8192, 16384, 32768, 65536] {
      for isBig in [false, true] {
        var image = ImageBytes(count: 16 * 65536)
        if isBig {
          image.putBig(1 as UInt32, at: 1024)
        } else {
          image.putLittle(1 as UInt32, at: 1024)
        }
        image.putLittle(15 as UInt32, at: 1028)
        image.put(Array(0x20...0x2F), at: 1036)
        image.put("scratch", at: 1052)
        image.put("SWAPSPACE2", at: pageSize - 10)
        #expect(
          try find(image.bytes)
            == FileSystemSignature(
              type: "swap", label: "scratch", uuid: "20212223-2425-2627-2829-2a2b2c2d2e2f"))
      }
    }
  }

  @Test func nothingKnown() throws {
    #expect(try find([]) == nil)
    #expect(try find([0]) == nil)
    #expect(try find([UInt8](repeating: 0, count: 1 << 20)) == nil)
    for seed in 0..<20 as Range<UInt64> {
      #expect(try find(ImageBytes.pattern(70_000, seed: seed)) == nil)
    }
  }

  /// Cut anywhere, a file system is found or not, but nothing fails.
  @Test func cutShort() throws {
    for image in Self.all {
      for size in [1, 511, 512, 1023, 1024, 1500, 4096, 32768, 32770, 34816]
      where size < image.count {
        _ = try find(Array(image.prefix(size)))
      }
    }
  }

  @Test func fuzzedSuperblocksNeverTrap() throws {
    var random = SeededRandom(seed: 11)
    let clock = ThreadClock()
    for image in Self.all {
      // Where bytes are set at all is where a change matters.
      let places = image.indices.filter { image[$0] != 0 }
      for _ in 0..<Soak.rounds(150) {
        var changed = image
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          let near =
            (places.randomElement(using: &random) ?? 0) + Int.random(in: -2...2, using: &random)
          if changed.indices.contains(near) {
            changed[near] =
              [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &random)]
              .randomElement(using: &random) ?? 0
          }
        }
        let took = try clock.measure { _ = try find(changed) }
        #expect(took < .seconds(1))
      }
    }
  }

  private static let all: [[UInt8]] = [
    FileSystemBuilders.fat12(), FileSystemBuilders.fat32(), FileSystemBuilders.ntfs(),
    FileSystemBuilders.udf(label: "a", volumeSet: "0123456789abcdef"),
    FileSystemBuilders.placed(
      FileSystemBuilders.isoDescriptors(label: "A", joliet: [0x41]), at: 32768, size: 65536),
    FileSystemBuilders.hfs(), FileSystemBuilders.hfsPlus(wrapped: false),
    FileSystemBuilders.hfsPlus(wrapped: true), FileSystemBuilders.luks(version: 2),
    FileSystemBuilders.lvm2(), FileSystemBuilders.apfs(),
  ]
}
