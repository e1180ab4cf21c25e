internal import DiskCore
internal import Glibc

/// Text in a code page that has characters of two bytes, by the C library's own tables (`iconv(3)`), which
/// are files: a machine may be without them.
///
/// Not for several threads at once.
@safe final class DoubleByteText {
  /// The code pages, and what `iconv` calls them.
  static let names: [Int: String] = [
    932: "CP932", 936: "CP936", 949: "CP949", 950: "CP950",
  ]

  private let descriptor: iconv_t

  /// - Throws: `unavailable` where the C library does not have the code page, which is one of `names`.
  init(_ codePage: Int) throws(DiskError) {
    guard let name = Self.names[codePage],
      let opened = unsafe iconv_open("UTF-32LE", name), Int(bitPattern: opened) != -1
    else {
      throw DiskError(
        .unavailable,
        "code page \(codePage) needs the C library's conversion tables (gconv), which this system does not have"
      )
    }
    unsafe descriptor = opened
  }

  deinit { _ = unsafe iconv_close(descriptor) }

  /// What the bytes stand for; U+FFFD for those that stand for nothing.
  func text(of bytes: some Collection<UInt8>) -> [Unicode.Scalar] {
    var input = bytes.map { CChar(bitPattern: $0) }
    var output = [UInt32](repeating: 0, count: input.count)
    var text: [Unicode.Scalar] = []
    unsafe input.withUnsafeMutableBufferPointer { input in
      unsafe output.withUnsafeMutableBytes { output in
        var from = input.baseAddress
        var left = input.count
        while left > 0 {
          var to = unsafe output.baseAddress?.assumingMemoryBound(to: CChar.self)
          var room = output.count
          let result = unsafe iconv(descriptor, &from, &left, &to, &room)
          for at in stride(from: 0, to: output.count - room, by: 4) {
            let value = UInt32(
              littleEndian: unsafe output.load(fromByteOffset: at, as: UInt32.self))
            text.append(Unicode.Scalar(value) ?? "\u{FFFD}")
          }
          guard result == -1, left > 0 else { break }
          // A byte that begins nothing; and no state is kept from what it may have begun.
          text.append("\u{FFFD}")
          unsafe from = unsafe from?.advanced(by: 1)
          left -= 1
          _ = unsafe iconv(descriptor, nil, nil, nil, nil)
        }
      }
    }
    return text
  }
}
