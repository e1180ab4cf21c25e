internal import DiskCore

/// How large a disk is at least by what stands in its first bytes, for streams that do not say.
enum InnerSize {
  /// What is looked at: an ISO's volume descriptor is at 32 KiB.
  static let looked = 64 << 10

  /// In bytes; nil where nothing says.
  static func atLeast(_ head: [UInt8]) -> UInt64? {
    let reader = ByteReader(head)
    let sizes = [
      gpt(reader, 512), gpt(reader, 4096), mbr(reader), iso(reader), ext(reader), ntfs(reader),
      fat(reader), squashfs(reader),
    ].compactMap(\.self)
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

  /// s_magic at 56 of the superblock, which is at 1024; s_blocks_count_lo at 4, s_log_block_size at 24
  /// (Linux, Documentation/filesystems/ext4/super.rst). What has more than 2³² blocks says less here.
  private static func ext(_ head: ByteReader) -> UInt64? {
    guard head.matches([0x53, 0xef], at: 1080), let blocks = try? head.u32(at: 1028),
      let shift = try? head.u32(at: 1048), shift <= 6, blocks > 0
    else { return nil }
    return UInt64(blocks) << (10 + UInt64(shift))
  }

  /// Its sectors at 40, and the copy of the boot sector behind them (linux-ntfs documentation, "$Boot").
  private static func ntfs(_ head: ByteReader) -> UInt64? {
    guard head.matches("NTFS    ", at: 3), let sectors = try? head.u64(at: 40),
      let bytes = try? head.u16(at: 11), sectors > 0, sectors < Limits.largestDisk / 65536
    else { return nil }
    return (sectors + 1) * UInt64(bytes)
  }

  /// BPB_TotSec16 at 19, BPB_TotSec32 at 32 (Microsoft, "FAT: General Overview of On-Disk Format").
  private static func fat(_ head: ByteReader) -> UInt64? {
    guard head.matches([0x55, 0xaa], at: 510),
      head.matches("FAT", at: 54) || head.matches("FAT32", at: 82),
      let bytes = try? head.u16(at: 11), let few = try? head.u16(at: 19),
      let many = try? head.u32(at: 32)
    else { return nil }
    let sectors = few == 0 ? UInt64(many) : UInt64(few)
    return sectors == 0 ? nil : sectors * UInt64(bytes)
  }

  /// bytes_used at 40; mksquashfs fills up to 4 KiB (Linux, fs/squashfs/squashfs_fs.h).
  private static func squashfs(_ head: ByteReader) -> UInt64? {
    guard head.matches("hsqs", at: 0), let used = try? head.u64(at: 40), used > 0,
      used < Limits.largestDisk
    else { return nil }
    return (used + 4095) / 4096 * 4096
  }

  /// The volume's blocks (ECMA-119, section 8.4: space size at 80, block size at 128).
  private static func iso(_ head: ByteReader) -> UInt64? {
    guard head.matches("CD001", at: 0x8001), let blocks = try? head.u32(at: 0x8050),
      let size = try? head.u16(at: 0x8080), blocks > 0, size > 0
    else { return nil }
    return UInt64(blocks) * UInt64(size)
  }
}
