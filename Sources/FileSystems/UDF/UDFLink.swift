internal import DiskCore

/// Where a symbolic link leads: the components of a path, one behind the other (ECMA-167, 4/14.16).
enum UDFLink {
  /// Of the components, in bytes. A target of 4,095 bytes, Linux's `PATH_MAX`, takes less.
  static let mostBytes: UInt64 = 16 << 10
  /// Of the target, in bytes.
  static let longest = 4095

  /// - Throws: `malformed` for a component that the file ends in, and a target that is too long.
  static func target(_ content: UDFContent, _ volume: UDFVolume) throws(DiskError) -> FileName {
    let place = content.place(of: 0)
    guard content.size <= mostBytes else {
      throw volume.failure(.malformed, "a symbolic link of \(content.size) bytes", place)
    }
    let data = try content.reader(at: 0, count: Int(content.size))
    var target: [UInt8] = []
    var offset = 0
    while offset < data.count {
      let length = Int(try data.u8(at: offset + 1))
      let identifier = try data.slice(at: offset + 4, count: length)
      switch try data.u8(at: offset) {
      // The root; of type 1, one that the reader and the writer agreed on, which is the same here.
      case 1, 2: target = [0x2F]
      case 3: append([0x2E, 0x2E], to: &target)
      case 4: append([0x2E], to: &target)
      case 5: append(UDFText.utf8(identifier), to: &target)
      case let type:
        throw volume.failure(.malformed, "a path component of type \(type)", place)
      }
      guard target.count <= longest else {
        throw volume.failure(
          .malformed, "a symbolic link to a path of more than \(longest) bytes", place)
      }
      offset += 4 + length
    }
    guard !target.isEmpty else {
      throw volume.failure(.malformed, "a symbolic link that leads nowhere", place)
    }
    return FileName(target)
  }

  private static func append(_ name: [UInt8], to target: inout [UInt8]) {
    if !target.isEmpty, target.last != 0x2F { target.append(0x2F) }
    target += name
  }
}
