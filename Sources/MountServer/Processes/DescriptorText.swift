internal import CPosix
internal import DiskCore
internal import Glibc

/// Text over a pipe, a local socket or out of /proc.
enum DescriptorText {
  /// Everything until the end or an error.
  static func readAll(_ descriptor: CInt) -> String {
    var text: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = unsafe piece.withUnsafeMutableBytes { bytes in
        unsafe read(descriptor, bytes.baseAddress, bytes.count)
      }
      if count > 0 {
        text += piece.prefix(count)
      } else if count == 0 || errno != EINTR {
        return String(decoding: text, as: UTF8.self)
      }
    }
  }

  /// Writes to a socket; false where the other side is gone.
  @discardableResult
  static func send(_ text: String, to descriptor: CInt) -> Bool {
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { bytes in
        unsafe Glibc.send(
          descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done,
          CInt(MSG_NOSIGNAL))
      }
      if count > 0 { done += count } else if errno != EINTR { return false }
    }
    return true
  }
}
