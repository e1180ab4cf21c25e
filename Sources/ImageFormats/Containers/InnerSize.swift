internal import DiskCore

/// How large a disk is at least by what stands in its first bytes, for streams that do not say.
enum InnerSize {
  /// What is looked at: an ISO's volume descriptor is at 32 KiB.
  static let looked = 64 << 10

  /// In bytes; nil where nothing says.
  static func atLeast(_ head: [UInt8]) -> UInt64? {
    let reader = ByteReader(head)
    let sizes = [gpt(reader, 512), gpt(reader, 4096), mbr(reader), iso(reader)].compactMap(\.self)
    return sizes.filter { $0 <= Limits.largestDisk }.max()
  }

  /// The backup header is the last sector (UEFI 2.10, section 5.3.2: AlternateLBA at 32).
  private static func gpt(_ head: ByteReader, _ sector: UInt64) -> UInt64? {
    guard head.matches("EFI PART", at: Int(sector)),
      let last = try? head.u64(at: Int(sector) + 32), last < Limits.largestDisk / sector
    else { return nil }
    return (last + 1) * sector
  }

  /// To the end of the last primary partition.
  private static func mbr(_ head: ByteReader) -> UInt64? {
    guard head.matches([0x55, 0xaa], at: 510) else { return nil }
    var end: UInt64 = 0
    for entry in 0..<4 {
      let place = 446 + 16 * entry
      // 0xEE covers a GPT, or all that 32 bits can.
      guard let flags = try? head.u8(at: place), flags & 0x7f == 0,
        let type = try? head.u8(at: place + 4), type != 0, type != 0xee,
        let start = try? head.u32(at: place + 8), let count = try? head.u32(at: place + 12)
      else { continue }
      end = max(end, (UInt64(start) + UInt64(count)) * 512)
    }
    return end == 0 ? nil : end
  }

  /// The volume's blocks (ECMA-119, section 8.4: space size at 80, block size at 128).
  private static func iso(_ head: ByteReader) -> UInt64? {
    guard head.matches("CD001", at: 0x8001), let blocks = try? head.u32(at: 0x8050),
      let size = try? head.u16(at: 0x8080), blocks > 0, size > 0
    else { return nil }
    return UInt64(blocks) * UInt64(size)
  }
}
