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
    var parts = path.split(whereSeparator: { $0 == "\\" || $0 == "/" }).map(String.init)
    // A drive (`C:`), or the `?` and `UNC` of \\?\ paths.
    while let first = parts.first, parts.count > 1,
      first.last == ":" || first == "?" || first == "."
    {
      parts.removeFirst()
    }
    parts = Array(parts.suffix(mostParts))
    while !parts.isEmpty {
      add(parts.joined(separator: "/"))
      parts.removeFirst()
    }
    return result
  }
}
