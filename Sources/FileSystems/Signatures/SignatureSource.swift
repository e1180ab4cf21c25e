internal import DiskCore

/// Where the parsers of superblocks read: one read of the window's start shared by all of them, and
/// small reads for what lies further in.
struct SignatureSource {
  /// In bytes: up to the end of btrfs's superblock, which is at 64 KiB. All others but UDF's
  /// descriptors and some root directories lie before it.
  static let sharedStart = 68 << 10

  let window: Window
  private let start: [UInt8]
  private let goesFar: Bool

  init(_ window: Window, goingFar: Bool) {
    self.window = window
    goesFar = goingFar
    let count = min(window.size, UInt64(Self.sharedStart))
    guard goingFar || window.way(to: .start, count: count) <= Limits.shortWay else {
      start = []
      return
    }
    // A bad sector there is met again, and alone, by whoever needs it.
    start =
      (try? window.bytes(at: .start, count: Int(count))) ?? []
  }

  /// Whether what lies at `offset` is too far in a compressed stream to be read for this.
  func isTooFar(_ offset: UInt64) -> Bool {
    !goesFar && window.way(to: DiskOffset(offset), count: 1) > Limits.shortWay
  }

  /// `count` bytes from `offset` on.
  ///
  /// - Throws: where they are not inside the window, and where they cannot be read. A parser
  ///   passes that on: what cannot be read is not found.
  func reader(at offset: UInt64, count: Int) throws(DiskError) -> ByteReader {
    let available = UInt64(start.count)
    if count >= 0, offset <= available, UInt64(count) <= available - offset {
      let first = Int(offset)
      return ByteReader(Array(start[first..<first + count]), base: offset)
    }
    guard !isTooFar(offset) else {
      throw DiskError(.unavailable, "is too far to be looked at for this", offset: offset)
    }
    return try window.reader(at: DiskOffset(offset), count: count)
  }
}

extension ByteReader {
  /// Text of `count` bytes as `blkid` prints a label: up to its first NUL, without white space at
  /// its end; nil where nothing is left.
  func label(at offset: Int, count: Int) throws(DiskError) -> String? {
    labelText(
      String(decoding: try slice(at: offset, count: count).prefix { $0 != 0 }, as: UTF8.self))
  }

  /// UTF-16 as a label.
  func label(
    at offset: Int, utf16Units units: Int, _ order: ByteOrder = .little
  ) throws(DiskError) -> String? {
    labelText(try utf16(at: offset, units: units, order))
  }

  /// 16 bytes as a UUID; nil where they are all zero, which means that none was written.
  func uuidIfSet(at offset: Int) throws(DiskError) -> String? {
    guard try slice(at: offset, count: 16).contains(where: { $0 != 0 }) else { return nil }
    return try uuid(at: offset)
  }

  /// Four bytes, little-endian, in the form of a FAT serial number: `XXXX-XXXX`.
  func serialNumber(at offset: Int) throws(DiskError) -> String {
    let digits = hexadecimal(try u32(at: offset), digits: 8).uppercased()
    return "\(digits.prefix(4))-\(digits.suffix(4))"
  }
}

/// `text` without white space at its end, or nil where nothing is left.
func labelText(_ text: String) -> String? {
  let isSpace: (Unicode.Scalar) -> Bool = { $0 == " " || (0x09...0x0D).contains($0.value) }
  var scalars = text.unicodeScalars
  while let last = scalars.last, isSpace(last) { scalars.removeLast() }
  return scalars.isEmpty ? nil : String(scalars)
}

/// Whether exactly one bit of `value` is set.
func isPowerOfTwo(_ value: some BinaryInteger & UnsignedInteger) -> Bool {
  value != 0 && value & (value - 1) == 0
}
