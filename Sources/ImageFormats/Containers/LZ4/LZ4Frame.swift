internal import Decoders
internal import DiskCore

/// What an LZ4 frame's header says (lz4_Frame_format.md 1.6.3).
struct LZ4Frame {
  static let magic: UInt32 = 0x184d_2204
  static let legacyMagic: UInt32 = 0x184c_2102
  static let longestHeader = 19
  /// Of every block of a legacy frame but the last, decoded.
  static let legacyBlock = 8 << 20
  /// What incompressible data can grow to (lz4.h: LZ4_COMPRESSBOUND).
  static let longestLegacyBlock = legacyBlock + legacyBlock / 255 + 16

  /// What decoding a legacy frame takes, in bytes: a block, and two copies of what it is made from while
  /// that is read.
  static let legacyMemory = legacyBlock + 2 * longestLegacyBlock

  static func isSkippable(_ magic: UInt32) -> Bool { magic & 0xffff_fff0 == 0x184d_2a50 }

  /// Independent blocks, block checksums, content size, content checksum, dictionary.
  let flags: UInt8
  /// The largest block, in its bits 4 to 6.
  let descriptor: UInt8

  var isIndependent: Bool { flags & 0x20 != 0 }
  var blockChecksumSize: Int { flags & 0x10 != 0 ? 4 : 0 }
  var contentChecksumSize: Int { flags & 0x04 != 0 ? 4 : 0 }
  var hasContentSize: Bool { flags & 0x08 != 0 }
  var needsDictionary: Bool { flags & 0x01 != 0 }
  var headerSize: Int { 7 + (hasContentSize ? 8 : 0) + (needsDictionary ? 4 : 0) }
  /// In decoded bytes: 64 KiB to 4 MiB.
  var largestBlock: Int { 1 << (8 + 2 * Int(descriptor >> 4 & 7)) }

  /// Nil for what no version of the format has.
  init?(flags: UInt8, descriptor: UInt8) {
    guard flags >> 6 == 1, flags & 2 == 0, (4...7).contains(descriptor >> 4 & 7),
      descriptor & 0x8f == 0
    else { return nil }
    self.flags = flags
    self.descriptor = descriptor
  }

  /// Whether a decoder can begin at a later block: what blocks refer to is put before it as a stored
  /// block, which has no checksum.
  var hasEntryPoints: Bool { isIndependent || blockChecksumSize == 0 }

  /// The start of a frame that goes on with what is one of this frame's later blocks.
  ///
  /// - Parameter window: the bytes before it, at most 64 KiB, which is the smallest largest block.
  func start(window: [UInt8]) -> [UInt8] {
    // Without sizes, checksum and dictionary of the whole.
    let fields = [flags & ~0x0d, descriptor]
    let header =
      [0x04, 0x22, 0x4d, 0x18] + fields
      + [UInt8(truncatingIfNeeded: Self.checksum(of: fields) >> 8)]
    guard !window.isEmpty else { return header }
    let size = UInt32(window.count) | 1 << 31
    return header + (0..<4).map { UInt8(truncatingIfNeeded: size >> (8 * UInt32($0))) } + window
  }

  /// XXH32 of fewer than four bytes, with the seed 0 (xxhash_spec.md, 0.1.1).
  static func checksum(of bytes: [UInt8]) -> UInt32 {
    var sum = 374_761_393 &+ UInt32(bytes.count)
    for byte in bytes {
      sum = sum &+ UInt32(byte) &* 374_761_393
      sum = (sum << 11 | sum >> 21) &* 2_654_435_761
    }
    sum = (sum ^ sum >> 15) &* 2_246_822_519
    sum = (sum ^ sum >> 13) &* 3_266_489_917
    return sum ^ sum >> 16
  }
}
