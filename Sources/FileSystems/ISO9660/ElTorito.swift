internal import DiskCore

/// What a disc starts computers with (El Torito Bootable CD-ROM Format Specification 1.0; UEFI 2.10, 13.3.2.1).
enum ElTorito {
  /// Of the boot catalogue, in bytes.
  private static let mostBytes: UInt64 = 32 << 10
  private static let mostImages = 64
  private static let entryLength = 32

  struct Image {
    let name: FileName
    /// In the volume, in bytes.
    let start: UInt64
    /// In bytes, never past the volume's end.
    let size: UInt64
  }

  /// The images that the catalogue at `sector` names, the first as entry 1.
  ///
  /// - Throws: `malformed` for a catalogue whose checksum or keys are wrong.
  static func images(catalogueAt sector: UInt32, _ volume: ISOVolume) throws(DiskError) -> [Image] {
    let position = UInt64(sector) * ISOVolume.sectorSize
    guard position < volume.volume.size else {
      throw volume.failure(.truncated, "the boot catalogue lies past the volume's end", position)
    }
    let catalogue = try volume.reader(
      at: position, count: Int(min(mostBytes, volume.volume.size - position)))
    try validate(catalogue, volume)
    var platform = try catalogue.u8(at: 1)
    var images: [Image] = []
    func take(_ place: Int) throws(DiskError) {
      if let range = try range(of: catalogue, at: place, platform, volume) {
        images.append(
          Image(
            name: FileName("eltorito-\(images.count + 1)-\(name(of: platform)).img"),
            start: range.lowerBound, size: range.upperBound - range.lowerBound))
      }
    }
    var place = entryLength
    try take(place)
    place += entryLength
    while place + entryLength <= catalogue.count {
      let header = try catalogue.u8(at: place)
      guard header == 0x90 || header == 0x91 else { break }
      platform = try catalogue.u8(at: place + 1)
      let count = Int(try catalogue.u16(at: place + 2))
      place += entryLength
      for _ in 0..<count where place + entryLength <= catalogue.count && images.count < mostImages {
        try take(place)
        var goesOn = try catalogue.u8(at: place + 1) & 0x20 != 0
        place += entryLength
        // Extensions of the entry, which have nothing about the image.
        while goesOn, place + entryLength <= catalogue.count, try catalogue.u8(at: place) == 0x44 {
          goesOn = try catalogue.u8(at: place + 1) & 0x20 != 0
          place += entryLength
        }
      }
      // The last header.
      if header == 0x91 || images.count >= mostImages { break }
    }
    return images
  }

  /// By its first entry: two keys, and a checksum that makes the sum of its words zero.
  private static func validate(_ catalogue: ByteReader, _ volume: ISOVolume) throws(DiskError) {
    var sum: UInt16 = 0
    for index in 0..<entryLength / 2 { sum &+= try catalogue.u16(at: 2 * index) }
    guard sum == 0, try catalogue.u8(at: 0) == 1, catalogue.matches([0x55, 0xAA], at: 30) else {
      throw volume.failure(
        .malformed, "the boot catalogue's checksum or keys are wrong", catalogue.base)
    }
  }

  private static func name(of platform: UInt8) -> String {
    switch platform {
    case 0: "bios"
    case 1: "powerpc"
    case 2: "mac"
    case 0xEF: "uefi"
    default: "platform-\(hexadecimal(platform))"
    }
  }

  /// Where the image of an entry is; nil for an entry without one.
  private static func range(
    of catalogue: ByteReader, at place: Int, _ platform: UInt8, _ volume: ISOVolume
  ) throws(DiskError) -> Range<UInt64>? {
    let indicator = try catalogue.u8(at: place)
    let sectors = UInt64(try catalogue.u16(at: place + 6))
    let start = UInt64(try catalogue.u32(at: place + 8)) * ISOVolume.sectorSize
    guard indicator == 0x88 || indicator == 0, start > 0, start < volume.volume.size else {
      return nil
    }
    let room = volume.volume.size - start
    let size: UInt64 =
      switch try catalogue.u8(at: place + 1) & 0x0F {
      case 1: 1_228_800
      case 2: 1_474_560
      case 3: 2_949_120
      case 4: hardDiskSize(at: start, volume) ?? 512 * sectors
      default: Self.size(withoutEmulation: sectors, at: start, volume) ?? room
      }
    return start..<start + min(size, room)
  }

  /// Up to the end of the one partition that an emulated hard disk has.
  private static func hardDiskSize(at start: UInt64, _ volume: ISOVolume) -> UInt64? {
    guard let sector = try? volume.reader(at: start, count: 512),
      sector.matches([0x55, 0xAA], at: 510), let first = try? sector.u32(at: 446 + 8),
      let count = try? sector.u32(at: 446 + 12), count > 0
    else { return nil }
    return 512 * (UInt64(first) + UInt64(count))
  }

  /// The catalogue has how much of the image is loaded: its first 2,048 bytes for most boot loaders, and 0
  /// or 1 for a file system that is too large for 16 bits. How long the image is, it says itself: in the
  /// boot information table that mkisofs puts there, or as a FAT file system.
  ///
  /// - Returns: nil where nothing says so, which means up to the volume's end.
  private static func size(
    withoutEmulation sectors: UInt64, at start: UInt64, _ volume: ISOVolume
  ) -> UInt64? {
    guard let head = try? volume.reader(at: start, count: 512) else { return nil }
    let own = UInt32(truncatingIfNeeded: start / ISOVolume.sectorSize)
    if (try? head.u32(at: 12)) == own, let length = try? head.u32(at: 16),
      UInt64(length) >= 512
    {
      return UInt64(length)
    }
    if let fat = fatSize(head) { return max(fat, 512 * sectors) }
    return sectors > 1 ? 512 * sectors : nil
  }

  /// By the parameters in a FAT file system's first sector; nil where that is none.
  private static func fatSize(_ head: ByteReader) -> UInt64? {
    guard head.matches([0x55, 0xAA], at: 510), let sectorSize = try? head.u16(at: 11),
      [512, 1024, 2048, 4096].contains(sectorSize), let short = try? head.u16(at: 19),
      let long = try? head.u32(at: 32), let copies = try? head.u8(at: 16), (1...2).contains(copies)
    else { return nil }
    let sectors = short > 0 ? UInt64(short) : UInt64(long)
    return sectors > 0 ? sectors * UInt64(sectorSize) : nil
  }
}
