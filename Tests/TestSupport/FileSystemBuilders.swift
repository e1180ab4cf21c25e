/// The few sectors by which a file system is known, laid out by hand.
public enum FileSystemBuilders {
  /// A 1.44 MB floppy: label `PLATTER` in the root directory, serial number 1234-ABCD.
  public static func fat12(label: String? = "PLATTER    ", copy: String = "NO NAME    ") -> [UInt8]
  {
    var image = ImageBytes(count: 2880 * 512)
    image.put([0xEB, 0x3C, 0x90], at: 0)
    image.put("mkfs.fat", at: 3)
    image.putLittle(512 as UInt16, at: 0x0B)
    image.put([1], at: 0x0D)
    image.putLittle(1 as UInt16, at: 0x0E)
    image.put([2], at: 0x10)
    image.putLittle(224 as UInt16, at: 0x11)
    image.putLittle(2880 as UInt16, at: 0x13)
    image.put([0xF0], at: 0x15)
    image.putLittle(9 as UInt16, at: 0x16)
    image.put([0x29], at: 0x26)
    image.putLittle(0x1234_ABCD as UInt32, at: 0x27)
    image.put(copy, at: 0x2B)
    image.put("FAT12   ", at: 0x36)
    image.put([0x55, 0xAA], at: 510)
    if let label {
      // The root directory follows 1 boot sector and 2 FATs of 9: first a file, then the label.
      let root = 19 * 512
      image.put("FILE    TXT", at: root)
      image.put([0x20], at: root + 11)
      image.putLittle(2 as UInt16, at: root + 26)
      image.put(label, at: root + 32)
      image.put([0x08], at: root + 32 + 11)
    }
    return image.bytes
  }

  /// FAT32 of 40 MB, label in the second cluster of its root directory.
  public static func fat32(label: String = "DEEP       ") -> [UInt8] {
    var image = ImageBytes(count: 700 * 512)
    image.put([0xEB, 0x58, 0x90], at: 0)
    image.putLittle(512 as UInt16, at: 0x0B)
    image.put([1], at: 0x0D)
    image.putLittle(32 as UInt16, at: 0x0E)
    image.put([1], at: 0x10)
    image.put([0xF8], at: 0x15)
    image.putLittle(80_000 as UInt32, at: 0x20)
    image.putLittle(625 as UInt32, at: 0x24)
    image.putLittle(2 as UInt32, at: 0x2C)
    image.putLittle(1 as UInt16, at: 0x30)
    image.put([0x29], at: 0x42)
    image.putLittle(0x00C0_FFEE as UInt32, at: 0x43)
    image.put("NO NAME    FAT32   ", at: 0x47)
    image.put([0x55, 0xAA], at: 510)
    // Clusters 2 → 5 → end.
    image.putLittle(5 as UInt32, at: 32 * 512 + 8)
    image.putLittle(0x0FFF_FFFF as UInt32, at: 32 * 512 + 20)
    let data = (32 + 625) * 512
    for index in 0..<16 { image.put("DELETED    ", at: data + 32 * index) }
    for index in 0..<16 { image.put([0xE5], at: data + 32 * index) }
    image.put(label, at: data + 3 * 512)
    image.put([0x08], at: data + 3 * 512 + 11)
    return image.bytes
  }

  /// NTFS with a `$Volume` record whose name is `Daten`.
  public static func ntfs() -> [UInt8] {
    var image = ImageBytes(count: 64 << 10)
    image.put([0xEB, 0x52, 0x90], at: 0)
    image.put("NTFS    ", at: 3)
    image.putLittle(512 as UInt16, at: 0x0B)
    image.put([8], at: 0x0D)
    image.put([0xF8], at: 0x15)
    image.putLittle(128 as UInt64, at: 0x28)
    image.putLittle(4 as UInt64, at: 0x30)
    image.putLittle(8 as UInt64, at: 0x38)
    image.put([0xF6], at: 0x40)  // 2¹⁰ bytes a record
    image.putLittle(0x0123_4567_89AB_CDEF as UInt64, at: 0x48)
    image.put([0x55, 0xAA], at: 510)
    image.put("FILE", at: 16384)
    let record = 16384 + 3 * 1024
    image.put("FILE", at: record)
    image.putLittle(0x38 as UInt16, at: record + 0x14)
    image.putLittle(1024 as UInt32, at: record + 0x1C)
    image.putLittle(0x30 as UInt32, at: record + 0x38)
    image.putLittle(0x40 as UInt32, at: record + 0x3C)
    let name = record + 0x78
    image.putLittle(0x60 as UInt32, at: name)
    image.putLittle(0x28 as UInt32, at: name + 4)
    image.putLittle(10 as UInt32, at: name + 0x10)
    image.putLittle(0x18 as UInt16, at: name + 0x14)
    for (index, unit) in "Daten".utf16.enumerated() {
      image.putLittle(unit, at: name + 0x18 + 2 * index)
    }
    image.putLittle(UInt32.max, at: name + 0x28)
    return image.bytes
  }

  /// The descriptors of an ISO 9660 image, which belong at 32 KiB.
  public static func isoDescriptors(label: String, joliet: [UInt16]? = nil) -> [UInt8] {
    var image = ImageBytes(count: 3 * 2048)
    func descriptor(_ type: UInt8, at place: Int) {
      image.put([type], at: place)
      image.put("CD001", at: place + 1)
      image.put([1], at: place + 6)
    }
    descriptor(1, at: 0)
    image.put([UInt8](repeating: 0x20, count: 32), at: 40)
    image.put(label, at: 40)
    image.put([0, 8, 8, 0], at: 128)
    image.put("2024013123595900", at: 813)
    image.put("0000000000000000", at: 830)
    if let joliet {
      descriptor(2, at: 2048)
      image.put("%/E", at: 2048 + 88)
      for index in 0..<16 {
        let unit = index < joliet.count ? joliet[index] : 0x20
        image.putBig(unit, at: 2048 + 40 + 2 * index)
      }
    }
    descriptor(255, at: joliet == nil ? 2048 : 4096)
    return image.bytes
  }

  /// `content` at `offset`, and `size` bytes in all.
  public static func placed(_ content: [UInt8], at offset: Int, size: Int) -> [UInt8] {
    var image = ImageBytes(count: size)
    image.put(content, at: offset)
    return image.bytes
  }

  /// UDF with blocks of 2,048 bytes.
  public static func udf(label: String, volumeSet: String) -> [UInt8] {
    var image = ImageBytes(count: 300 * 2048)
    for (index, name) in ["BEA01", "NSR02", "TEA01"].enumerated() {
      image.put(name, at: 32768 + 2048 * index + 1)
    }
    func tag(_ identifier: UInt16, block: UInt32) {
      image.putLittle(identifier, at: Int(block) * 2048)
      image.putLittle(block, at: Int(block) * 2048 + 12)
    }
    func dstring(_ text: String, at offset: Int) {
      image.put([8] + Array(text.utf8), at: offset)
      image.put([UInt8(text.utf8.count + 1)], at: offset + 127)
    }
    tag(2, block: 256)
    image.putLittle(16 * 2048 as UInt32, at: 256 * 2048 + 16)
    image.putLittle(257 as UInt32, at: 256 * 2048 + 20)
    tag(1, block: 257)
    image.put("OSTA Compressed Unicode", at: 257 * 2048 + 201)
    dstring(volumeSet, at: 257 * 2048 + 72)
    tag(6, block: 258)
    image.put("OSTA Compressed Unicode", at: 258 * 2048 + 21)
    image.put("*OSTA UDF Compliant", at: 258 * 2048 + 217)
    dstring(label, at: 258 * 2048 + 84)
    tag(8, block: 259)
    return image.bytes
  }

  /// HFS+ whose root folder is called `Macintosh`, in a wrapper of HFS where asked.
  public static func hfsPlus(wrapped: Bool) -> [UInt8] {
    let base = wrapped ? 8 * 512 + 4 * 4096 : 0
    var image = ImageBytes(count: 256 << 10)
    if wrapped {
      image.put("BD", at: 1024)
      image.putBig(4096 as UInt32, at: 1024 + 20)
      image.putBig(8 as UInt16, at: 1024 + 28)
      image.put("H+", at: 1024 + 124)
      image.putBig(4 as UInt16, at: 1024 + 126)
    }
    let header = base + 1024
    image.put("H+", at: header)
    image.putBig(4096 as UInt32, at: header + 40)
    image.put(Array(1...8), at: header + 104)
    image.putBig(3 as UInt32, at: header + 288)  // first extent of the catalog
    image.putBig(4 as UInt32, at: header + 292)
    let tree = base + 3 * 4096
    image.putBig(1 as UInt32, at: tree + 14 + 6)
    image.putBig(1 as UInt32, at: tree + 14 + 10)
    image.putBig(4096 as UInt16, at: tree + 14 + 18)
    let leaf = tree + 4096
    image.put([0xFF], at: leaf + 8)
    image.putBig(1 as UInt16, at: leaf + 10)
    image.putBig(1 as UInt32, at: leaf + 16)
    image.putBig(9 as UInt16, at: leaf + 20)
    for (index, unit) in "Macintosh".utf16.enumerated() {
      image.putBig(unit, at: leaf + 22 + 2 * index)
    }
    return image.bytes
  }

  public static func hfs() -> [UInt8] {
    var image = ImageBytes(count: 64 << 10)
    image.put("BD", at: 1024)
    image.putBig(512 as UInt32, at: 1024 + 20)
    image.put([4] + Array("Disk".utf8), at: 1024 + 36)
    image.put(Array(1...8), at: 1024 + 116)
    return image.bytes
  }

  public static func luks(version: UInt16) -> [UInt8] {
    var image = ImageBytes(count: 64 << 10)
    image.put([0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE], at: 0)
    image.putBig(version, at: 6)
    if version == 2 { image.put("secrets", at: 24) }
    image.put("e7b8e0a8-1c9f-4f8d-9f0a-1b2c3d4e5f60", at: 168)
    return image.bytes
  }

  public static func lvm2() -> [UInt8] {
    var image = ImageBytes(count: 64 << 10)
    image.put("LABELONE", at: 512)
    image.putLittle(1 as UInt64, at: 520)
    image.put("LVM2 001", at: 536)
    image.put("abcdefGHIJklmnOPQRstuvWXYZ012345", at: 544)
    return image.bytes
  }

  public static func apfs() -> [UInt8] {
    var image = ImageBytes(count: 64 << 10)
    image.putLittle(1 as UInt16, at: 24)
    image.put("NXSB", at: 32)
    image.putLittle(4096 as UInt32, at: 36)
    image.put(Array(0xA0...0xAF), at: 72)
    return image.bytes
  }
}
