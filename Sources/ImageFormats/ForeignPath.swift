/// Paths that another system wrote into an image, and where the file may be on this one.
enum ForeignPath {
  /// How many of a path's last parts count.
  static let mostParts = 32

  /// Where to look for a file that Windows calls `path`: along as much of the path as there is beside
  /// the image, longest first, down to the bare name.
  ///
  /// `C:\VMs\a\base.vhd` gives `VMs/a/base.vhd`, `a/base.vhd` and `base.vhd`; `..\base.vhd` gives
  /// itself and `base.vhd`. A path of this system, as VirtualBox and QEMU write it, comes first as it
  /// is.
  static func candidates(_ path: String) -> [String] {
    var result: [String] = []
    func add(_ candidate: String) {
      if !candidate.isEmpty, !result.contains(candidate) { result.append(candidate) }
    }
    if path.utf8.first == UInt8(ascii: "/") { add(path) }
    // By bytes: to Swift a slash and a combining mark behind it are one character.
    var parts = path.utf8.split(whereSeparator: {
      $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "/")
    })
    .map { String(decoding: $0, as: UTF8.self) }
    // The `?` of \\?\ paths, and the `UNC` behind it.
    if parts.first == "?" {
      parts.removeFirst()
      if parts.first == "UNC" { parts.removeFirst() }
    }
    // A drive, which `C:base.vhd` has too.
    if let first = parts.first, first.utf8.dropFirst().first == UInt8(ascii: ":"),
      first.unicodeScalars.first?.properties.isAlphabetic == true
    {
      parts[0] = String(first.unicodeScalars.dropFirst(2))
    }
    parts = parts.filter { !$0.isEmpty && $0 != "." }.suffix(mostParts)
    while !parts.isEmpty {
      add(parts.joined(separator: "/"))
      parts.removeFirst()
    }
    return result
  }
}
