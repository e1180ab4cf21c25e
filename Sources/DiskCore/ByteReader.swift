/// Reads numbers and names out of untrusted bytes. Every access is checked; none can trap.
///
/// It knows where its bytes came from, so that its errors name the file and the offset in it.
public struct ByteReader: Sendable {
  public enum ByteOrder: Sendable { case little, big }

  /// What is read, and around it whatever else it is a part of.
  private let all: [UInt8]
  /// Where in `all` its first byte is; `start + count` is at most `all.count`.
  private let start: Int
  public let count: Int
  public let path: String?
  /// Where in the file (or disk) its first byte is.
  public let base: UInt64

  public init(_ bytes: [UInt8], path: String? = nil, base: UInt64 = 0) {
    self.init(all: bytes, start: 0, count: bytes.count, path: path, base: base)
  }

  private init(all: [UInt8], start: Int, count: Int, path: String?, base: UInt64) {
    self.all = all
    self.start = start
    self.count = count
    self.path = path
    self.base = base
  }

  public var bytes: [UInt8] {
    count == all.count ? all : Array(all[start..<start + count])
  }

  /// A reader over a part of these bytes, which are not copied.
  ///
  /// - Parameter path: of the file that they are from; nil for the same as this reader's.
  /// - Throws: `truncated` where it does not lie within them.
  public func part(at offset: Int, count: Int, path: String? = nil) throws(DiskError) -> ByteReader
  {
    try check(offset, count)
    return ByteReader(
      all: all, start: start + offset, count: count, path: path ?? self.path,
      base: base &+ UInt64(offset))
  }

  /// The unsigned integer at `offset`.
  ///
  /// - Throws: `truncated` where it does not lie within the bytes.
  public func integer<Value: FixedWidthInteger & UnsignedInteger>(
    at offset: Int, as type: Value.Type = Value.self, _ order: ByteOrder = .little
  ) throws(DiskError) -> Value {
    let width = Value.bitWidth / 8
    try check(offset, width)
    var value: Value = 0
    for index in 0..<width {
      let place = order == .big ? index : width - 1 - index
      value = (width == 1 ? 0 : value << 8) | Value(all[start + offset + place])
    }
    return value
  }

  /// `count` unsigned integers in a row from `offset` on: a page of a table.
  ///
  /// - Throws: `truncated` where they do not lie within the bytes.
  @_specialize(where Value == UInt32)
  @_specialize(where Value == UInt64)
  public func integers<Value: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
    at offset: Int, count: Int, as type: Value.Type = Value.self, _ order: ByteOrder
  ) throws(DiskError) -> [Value] {
    let width = Value.bitWidth / 8
    let (total, overflow) = count.multipliedReportingOverflow(by: width)
    try check(offset, overflow ? -1 : total)
    let raw = unsafe all.span.bytes
    return unsafe [Value](unsafeUninitializedCapacity: count) { values, used in
      for index in 0..<count {
        // In bounds: checked above for the whole run.
        let value = unsafe raw.unsafeLoadUnaligned(
          fromUncheckedByteOffset: start + offset + index * width, as: Value.self)
        unsafe values.initializeElement(
          at: index, to: order == .big ? Value(bigEndian: value) : Value(littleEndian: value))
      }
      used = count
    }
  }

  public func u8(at offset: Int) throws(DiskError) -> UInt8 { try integer(at: offset) }

  public func u16(at offset: Int, _ order: ByteOrder = .little) throws(DiskError) -> UInt16 {
    try integer(at: offset, order)
  }

  public func u32(at offset: Int, _ order: ByteOrder = .little) throws(DiskError) -> UInt32 {
    try integer(at: offset, order)
  }

  public func u64(at offset: Int, _ order: ByteOrder = .little) throws(DiskError) -> UInt64 {
    try integer(at: offset, order)
  }

  /// The bytes from `offset` on; their indices are nobody's offsets.
  ///
  /// - Throws: `truncated` where they do not lie within the bytes.
  public func slice(at offset: Int, count: Int) throws(DiskError) -> ArraySlice<UInt8> {
    try check(offset, count)
    return all[start + offset..<start + offset + count]
  }

  /// Whether `expected` stands at `offset`; false where that is outside the bytes.
  public func matches(_ expected: [UInt8], at offset: Int) -> Bool {
    guard offset >= 0, offset <= count, expected.count <= count - offset else { return false }
    let first = start + offset
    return all[first..<first + expected.count].elementsEqual(expected)
  }

  /// Whether the ASCII text `expected` stands at `offset`.
  public func matches(_ expected: StaticString, at offset: Int) -> Bool {
    matches(Array(expected.description.utf8), at: offset)
  }

  /// Text of `count` bytes up to its first NUL, as UTF-8 with bad bytes replaced, without spaces at
  /// its end (formats pad with either).
  public func text(at offset: Int, count: Int) throws(DiskError) -> String {
    let field = try slice(at: offset, count: count).prefix { $0 != 0 }
    return withoutTrailingSpaces(String(decoding: field, as: UTF8.self))
  }

  /// Text of `units` UTF-16 code units up to its first NUL, lone surrogates replaced.
  public func utf16(
    at offset: Int, units: Int, _ order: ByteOrder = .little
  ) throws(DiskError) -> String {
    // Twice a number of units too large for 64 bits is negative, and is refused as that.
    try check(offset, units < 0 ? units : units.multipliedReportingOverflow(by: 2).partialValue)
    var codes: [UInt16] = []
    for index in 0..<units {
      let code = try u16(at: offset + 2 * index, order)
      if code == 0 { break }
      codes.append(code)
    }
    return String(decoding: codes, as: UTF16.self)
  }

  /// 16 bytes as a UUID in the order they are stored (RFC 4122), in lower case.
  public func uuid(at offset: Int) throws(DiskError) -> String {
    Self.dashed(Array(try slice(at: offset, count: 16)))
  }

  /// 16 bytes as a GUID whose first three groups are little-endian (UEFI 2.10, appendix A), in
  /// lower case.
  public func guid(at offset: Int) throws(DiskError) -> String {
    let b = Array(try slice(at: offset, count: 16))
    return Self.dashed([b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]] + b[8...])
  }

  private static func dashed(_ bytes: [UInt8]) -> String {
    var text = ""
    for (index, byte) in bytes.enumerated() {
      if [4, 6, 8, 10].contains(index) { text += "-" }
      text += hexadecimal(byte)
    }
    return text
  }

  private func check(_ offset: Int, _ width: Int) throws(DiskError) {
    guard offset >= 0, width >= 0, offset <= count, width <= count - offset else {
      throw DiskError(
        .truncated, "a field of \(width) bytes lies outside the \(count) bytes of its structure",
        path: path, offset: base)
    }
  }
}

/// Fixed-width fields are padded with spaces as often as with NULs.
private func withoutTrailingSpaces(_ text: String) -> String {
  var text = text
  while text.last == " " { text.removeLast() }
  return text
}
