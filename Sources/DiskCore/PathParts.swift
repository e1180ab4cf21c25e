/// The last component of a path and the folder before it, by bytes: to Swift a slash and a combining
/// mark behind it are one character.
public struct PathParts: Sendable, Equatable {
  /// `.` where the path names no folder, `/` for the root.
  public let folder: String
  /// Without slashes behind it; empty for the root.
  public let name: String

  public init(_ path: String) {
    let slash = UInt8(ascii: "/")
    var rest = Array(path.utf8)
    while rest.last == slash { rest.removeLast() }
    guard let cut = rest.lastIndex(of: slash) else {
      folder = path.utf8.first == slash ? "/" : "."
      name = String(decoding: rest, as: UTF8.self)
      return
    }
    folder = cut == 0 ? "/" : String(decoding: rest[..<cut], as: UTF8.self)
    name = String(decoding: rest[(cut + 1)...], as: UTF8.self)
  }

  /// The path of `name` in `folder`.
  public static func join(_ folder: String, _ name: String) -> String {
    folder.utf8.last == UInt8(ascii: "/") ? folder + name : "\(folder)/\(name)"
  }
}
