internal import DiskCore

/// What the bytes of short names stand for, which depends on where in the world they were written.
struct OEMCodePage: Sendable {
  /// Those that can be asked for, in order.
  static var numbers: [Int] { upperHalves.keys.sorted() }

  /// Of bytes from 0x80 on.
  private let upperHalf: [Unicode.Scalar]

  /// - Throws: `invalidRequest` where there is no such code page here.
  init(_ number: Int) throws(DiskError) {
    guard let text = Self.upperHalves[number], text.unicodeScalars.count == 128 else {
      let known = Self.numbers.map(String.init).joined(separator: ", ")
      throw DiskError(
        .invalidRequest, "code page \(number) is not one of those that are known: \(known)")
    }
    upperHalf = Array(text.unicodeScalars)
  }

  func scalar(of byte: UInt8) -> Unicode.Scalar {
    byte < 0x80 ? Unicode.Scalar(byte) : upperHalf[Int(byte - 0x80)]
  }
}
