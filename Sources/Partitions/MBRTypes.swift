/// The one-byte partition types of the MBR. Nobody assigns them; these are the ones in use, as
/// Andries Brouwer's list and the common tools name them.
enum MBRType {
  static func isExtended(_ type: UInt8) -> Bool { type == 0x05 || type == 0x0F || type == 0x85 }

  static func name(of type: UInt8) -> String? {
    isExtended(type) ? "Extended" : names[type]
  }

  private static let names: [UInt8: String] = [
    0x00: "Empty",
    0x01: "FAT12",
    0x04: "FAT16 (under 32 MiB)",
    0x06: "FAT16",
    0x07: "NTFS, exFAT or HPFS",
    0x0B: "FAT32",
    0x0C: "FAT32 (LBA)",
    0x0E: "FAT16 (LBA)",
    0x11: "Hidden FAT12",
    0x12: "Compaq diagnostics",
    0x14: "Hidden FAT16 (under 32 MiB)",
    0x16: "Hidden FAT16",
    0x17: "Hidden NTFS or HPFS",
    0x1B: "Hidden FAT32",
    0x1C: "Hidden FAT32 (LBA)",
    0x1E: "Hidden FAT16 (LBA)",
    0x27: "Windows recovery environment",
    0x39: "Plan 9",
    0x41: "PowerPC PReP boot",
    0x42: "Windows dynamic disk",
    0x4D: "QNX",
    0x63: "Unix System V",
    0x76: "Amiga rigid disk block",
    0x80: "Old Minix",
    0x81: "Minix",
    0x82: "Linux swap",
    0x83: "Linux",
    0x84: "Hibernation",
    0x8E: "Linux LVM",
    0xA5: "FreeBSD",
    0xA6: "OpenBSD",
    0xA8: "Apple UFS",
    0xA9: "NetBSD",
    0xAB: "Apple boot",
    0xAF: "Apple HFS or HFS+",
    0xBE: "Solaris boot",
    0xBF: "Solaris",
    0xCD: "ISO 9660",
    0xDA: "Data without file system",
    0xDE: "Dell utility",
    0xEA: "Linux extended boot",
    0xEB: "BeOS",
    0xEE: "GPT protective",
    0xEF: "EFI system",
    0xF8: "EBBR protective",
    0xFB: "VMware VMFS",
    0xFC: "VMware swap",
    0xFD: "Linux RAID",
  ]
}
