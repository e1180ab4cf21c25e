internal import DiskCore
internal import Glibc

/// Finds the parts of an image that was split into files: `disk.001`, `disk.002`, … (or from
/// `.000`), and `disk.aa`, `disk.ab`, … as split(1) names them.
enum SplitFileNames {
  /// No imager writes more; a bound for a folder full of numbered files.
  static let mostParts = 10_000

  /// The parts of the split image whose first part is `path`, in order; nil where `path` is no part
  /// of a split image, or its only part.
  ///
  /// - Throws: `invalidRequest` where `path` is a later part, naming the first one, and where a part
  ///   in the middle is missing, naming that.
  static func parts(startingAt path: String) throws(DiskError) -> [String]? {
    guard let dot = path.lastIndex(of: "."), !path[dot...].contains("/") else { return nil }
    let stem = String(path[...dot])
    let suffix = String(path[path.index(after: dot)...])
    guard let sequence = Sequence(suffix) else { return nil }
    if let first = sequence.first(where: { exists(stem + $0) }), first != suffix {
      guard let place = sequence.index(of: suffix), place > 0,
        exists(stem + sequence.name(place - 1))
      else { return nil }
      throw DiskError(
        .invalidRequest,
        "is a later part of a split image; name its first part, '\(printable(stem + first))'",
        path: path)
    }
    guard let start = sequence.index(of: suffix), sequence.firsts.contains(start) else {
      return nil
    }
    var parts: [String] = []
    for index in start..<start + mostParts {
      guard let name = sequence.checkedName(index), exists(stem + name) else { break }
      parts.append(stem + name)
    }
    let next = start + parts.count
    if let missing = sequence.checkedName(next), let after = sequence.checkedName(next + 1),
      exists(stem + after)
    {
      throw DiskError(
        .notFound,
        "a part of the split image is missing: there is '\(after)' but no '\(missing)'; "
          + "'--format raw' opens this file alone", path: path)
    }
    return parts.count > 1 ? parts : nil
  }

  /// One way of counting in suffixes of one width.
  private struct Sequence {
    let digits: [Character]
    let width: Int
    /// Where a set may start: `.000` or `.001`, `.aa`.
    let firsts: [Int]

    /// Nil where `suffix` does not count: three or more digits, or two or three lower-case letters
    /// (two is what split(1) writes).
    init?(_ suffix: String) {
      let letters = Array("abcdefghijklmnopqrstuvwxyz")
      if suffix.count >= 3, suffix.count <= 6, suffix.allSatisfy({ $0.isASCII && $0.isNumber }) {
        digits = Array("0123456789")
        firsts = [0, 1]
      } else if suffix.count == 2, suffix.allSatisfy({ letters.contains($0) }) {
        digits = letters
        firsts = [0]
      } else {
        return nil
      }
      width = suffix.count
    }

    func index(of name: String) -> Int? {
      var value = 0
      for character in name {
        guard let digit = digits.firstIndex(of: character) else { return nil }
        value = value * digits.count + digit
      }
      return value
    }

    func name(_ index: Int) -> String { checkedName(index) ?? "" }

    /// Nil past the last name of this width.
    func checkedName(_ index: Int) -> String? {
      var rest = index
      var name: [Character] = []
      for _ in 0..<width {
        name.append(digits[rest % digits.count])
        rest /= digits.count
      }
      return rest == 0 && index >= 0 ? String(name.reversed()) : nil
    }

    func first(where exists: (String) -> Bool) -> String? {
      firsts.compactMap(checkedName).first(where: exists)
    }
  }

  private static func exists(_ path: String) -> Bool {
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }
}
