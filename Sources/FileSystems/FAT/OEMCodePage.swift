internal import DiskCore

/// What the bytes of short names stand for, which depends on where in the world they were written.
struct OEMCodePage: Sendable {
  /// Those that can be asked for, in order.
  static var numbers: [Int] { (Array(upperHalves.keys) + DoubleByteText.names.keys).sorted() }

  /// Gives the text of bytes, for one thread.
  struct Reader {
    fileprivate let upperHalf: [Unicode.Scalar]
    fileprivate let doubleByte: DoubleByteText?

    func text(of bytes: some Collection<UInt8>) -> [Unicode.Scalar] {
      if let doubleByte, bytes.contains(where: { $0 >= 0x80 }) { return doubleByte.text(of: bytes) }
      return bytes.map { $0 < 0x80 ? Unicode.Scalar($0) : upperHalf[Int($0 - 0x80)] }
    }
  }

  private let number: Int
  /// Of bytes from 0x80 on; empty where characters have two bytes.
  private let upperHalf: [Unicode.Scalar]

  /// - Throws: `invalidRequest` where there is no such code page here; `unavailable` where there is none on
  ///   this machine.
  init(_ number: Int) throws(DiskError) {
    self.number = number
    if DoubleByteText.names[number] != nil {
      upperHalf = []
      _ = try DoubleByteText(number)
      return
    }
    guard let text = Self.upperHalves[number], text.unicodeScalars.count == 128 else {
      let known = Self.numbers.map(String.init).joined(separator: ", ")
      throw DiskError(
        .invalidRequest, "code page \(number) is not one of those that are known: \(known)")
    }
    upperHalf = Array(text.unicodeScalars)
  }

  /// - Throws: as `init`.
  func reader() throws(DiskError) -> Reader {
    Reader(
      upperHalf: upperHalf,
      doubleByte: upperHalf.isEmpty ? try DoubleByteText(number) : nil)
  }
}
