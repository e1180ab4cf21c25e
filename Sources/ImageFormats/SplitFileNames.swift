internal import DiskCore
internal import Glibc

/// Finds the parts of an image that was split into files: `disk.001`, `disk.002`, … (or from
/// `.000`), and `disk.aa`, `disk.ab`, … as split(1) names them.
enum SplitFileNames {
  /// As many as there are three-digit names; each is held open.
  static let mostParts = 999

  /// How many names behind a missing part are tried, to tell a gap from the end.
  static let widestGap = 100

  /// The parts of the split image whose first part is `path`, in order; nil where `path` is no part
  /// of a split image, or its only part.
  ///
  /// - Throws: `invalidRequest` where `path` is a later part, naming the first one, and for parts
  ///   that are links; `notFound` where a part is missing, naming it; `unsupported` for more than
  ///   `mostParts`.
  static func parts(startingAt path: String) throws(DiskError) -> [String]? {
    let place = PathParts(path)
    guard let dot = place.name.utf8.lastIndex(of: UInt8(ascii: ".")) else { return nil }
    let stem = String(path.utf8.prefix(path.utf8.count - place.name.utf8[dot...].count + 1)) ?? ""
    let suffix = String(place.name.utf8[dot...].dropFirst()) ?? ""
    guard let sequence = SuffixSequence(suffix), let start = sequence.index(of: suffix) else {
      return nil
    }
    if let first = sequence.firsts.first(where: { exists(stem, sequence.name($0)) }) {
      if first != start, exists(stem, sequence.name(start - 1)) {
        throw DiskError(
          .invalidRequest,
          "is a later part of a split image; name its first part, '"
            + printable(stem + (sequence.name(first) ?? "")) + "'", path: path)
      }
    } else if sequence.isTypical,
      exists(stem, sequence.name(start + 1)) || exists(stem, sequence.name(start - 1))
    {
      throw DiskError(
        .notFound,
        "is a part of a split image whose first part is missing; '--format raw' opens this file "
          + "alone", path: path)
    }
    guard sequence.firsts.contains(start) else { return nil }
    return try row(from: start, stem, sequence, path)
  }

  /// From the first part to the last.
  private static func row(
    from start: Int, _ stem: String, _ sequence: SuffixSequence, _ path: String
  ) throws(DiskError) -> [String]? {
    var parts = [path]
    while let name = sequence.name(start + parts.count), exists(stem, name) {
      guard parts.count < mostParts else {
        throw DiskError(.unsupported, "is split into more than \(mostParts) parts", path: path)
      }
      // Nobody typed this name, so it must not lead anywhere else.
      guard isFile(stem + name) else {
        throw DiskError(
          .invalidRequest, "the part '\(name)' of this split image is not a regular file",
          path: path)
      }
      parts.append(stem + name)
    }
    let end = start + parts.count
    for index in end + 1..<end + 1 + widestGap where exists(stem, sequence.name(index)) {
      throw DiskError(
        .notFound,
        "a part of the split image is missing: there is '\(sequence.name(index) ?? "")' but no "
          + "'\(sequence.name(end) ?? "")'; '--format raw' opens this file alone", path: path)
    }
    return parts.count > 1 ? parts : nil
  }

  private static func exists(_ stem: String, _ name: String?) -> Bool {
    guard let name else { return false }
    return unsafe access(stem + name, F_OK) == 0
  }

  private static func isFile(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }
}

/// One way of counting in suffixes of one width.
private struct SuffixSequence {
  private let digits: [Character]
  private let width: Int
  /// Where a set may start: `.000` or `.001`, `.aa`.
  let firsts: [Int]

  /// Nil where `suffix` does not count: three to six digits, or two lower-case letters.
  init?(_ suffix: String) {
    let letters = Array("abcdefghijklmnopqrstuvwxyz")
    if (3...6).contains(suffix.count), suffix.allSatisfy({ $0.isASCII && $0.isNumber }) {
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

  /// Three digits are what tools write; `disk.2023` beside `disk.2024` is more likely a year.
  var isTypical: Bool { width == 3 }

  func index(of name: String) -> Int? {
    var value = 0
    for character in name {
      guard let digit = digits.firstIndex(of: character) else { return nil }
      value = value * digits.count + digit
    }
    return value
  }

  /// Nil before the first name and past the last one of this width.
  func name(_ index: Int) -> String? {
    guard index >= 0 else { return nil }
    var rest = index
    var name: [Character] = []
    for _ in 0..<width {
      name.append(digits[rest % digits.count])
      rest /= digits.count
    }
    return rest == 0 ? String(name.reversed()) : nil
  }
}
