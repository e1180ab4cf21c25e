public import Digests
public import DiskCore

/// How the files of a base differ from what an overlay recorded of them.
public struct BaseComparison: Sendable {
  public struct File: Sendable {
    /// Among the base's files.
    let index: Int
    public let path: String
    public internal(set) var differences: [FileDifference]
  }

  public let recordedCount: Int
  public let foundCount: Int
  /// Those that differ, if only in their time of modification.
  public internal(set) var files: [File]

  /// What says that it is not the same base, for people; nil where it is.
  public var change: String? {
    guard recordedCount == foundCount else {
      return "it had \(recordedCount) files and has \(foundCount)"
    }
    for file in files {
      if let difference = file.differences.first(where: \.isOfContent) {
        return "'\(printable(file.path))': \(difference)"
      }
    }
    return nil
  }
}

extension OverlayBase {
  /// Compares what was recorded with the files of a base, top layer first. Where nothing was recorded,
  /// nothing differs.
  ///
  /// - Throws: what reading the files throws.
  public func comparison(with files: [any Storage]) throws(DiskError) -> BaseComparison {
    var result = BaseComparison(
      recordedCount: identity.isEmpty ? files.count : identity.count, foundCount: files.count,
      files: [])
    guard identity.count == files.count else { return result }
    for (index, (record, file)) in zip(identity, files).enumerated() {
      let differences = try record.differences(from: file)
      guard !differences.isEmpty else { continue }
      result.files.append(
        BaseComparison.File(index: index, path: file.path, differences: differences))
    }
    return result
  }

  /// - Parameters:
  ///   - comparison: with the base that is to be used, which is at `base`.
  ///   - overlay: its path.
  /// - Returns: what to know about it.
  /// - Throws: `invalidRequest` where the base is not what it was, saying what differs.
  public static func check(
    _ comparison: BaseComparison, base: String, overlay: String
  ) throws(DiskError) -> [String] {
    guard comparison.recordedCount == comparison.foundCount else {
      throw DiskError(
        .invalidRequest,
        "was made on a base of \(comparison.recordedCount) files, and '\(printable(base))' has "
          + "\(comparison.foundCount); '--force-base' takes it all the same", path: overlay)
    }
    for file in comparison.files {
      if let difference = file.differences.first(where: \.isOfContent) {
        throw DiskError(
          .invalidRequest,
          "its base '\(printable(file.path))' is not what it was when the overlay was made: "
            + "\(difference.description); '--force-base' takes it all the same", path: overlay)
      }
    }
    return comparison.files.map { file in
      "\(printable(file.path)) was touched since the overlay was made, but what was looked at is the "
        + "same; 'platter overlay relink' notes the new time"
    }
  }

  public static func wrongSize(
    _ size: UInt64, _ overlay: String, _ baseSize: UInt64, _ base: String
  ) -> DiskError {
    DiskError(
      .invalidRequest,
      "holds changes of a disk of \(size) bytes, and '\(printable(base))' is one of \(baseSize)",
      path: overlay)
  }
}
