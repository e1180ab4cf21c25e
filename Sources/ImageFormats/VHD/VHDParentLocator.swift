internal import DiskCore

/// One of a differencing disk's eight ways to say where its parent is (VHD specification 1.0,
/// "Dynamic Disk Header Format": Parent Locator Entry).
struct VHDParentLocator: Sendable {
  /// Platform codes, best first. `W2` is UTF-16, `Wi2` the deprecated code for text of an unknown
  /// 8-bit code page; `r` is relative to the child, `k` absolute. `Mac ` (an alias blob) and `MacX`
  /// (a URL) lead to no file here.
  static let platforms = ["W2ru", "W2ku", "Wi2r", "Wi2k"]

  static let count = 8
  static let byteCount = 24

  /// The longest path of Windows, 32,767 units of UTF-16, and a NUL. In bytes.
  static let longestPath: UInt32 = 65536

  let platform: String
  /// Of the path, in bytes. The "data space" beside it is not used: some writers count it in sectors,
  /// some in bytes.
  let length: UInt32
  let place: FileOffset

  init(_ header: ByteReader, at offset: Int) throws(DiskError) {
    platform = try header.text(at: offset, count: 4)
    length = try header.u32(at: offset + 8, .big)
    place = FileOffset(try header.u64(at: offset + 16, .big))
  }

  /// The path as it stands in the file; nil where it is in characters that cannot be known.
  ///
  /// - Throws: `malformed` where it is longer than any path, `truncated` where it is past the end of
  ///   the file.
  func path(in source: any Storage) throws(DiskError) -> String? {
    guard length <= Self.longestPath else {
      throw DiskError(
        .malformed, "a parent locator of \(length) bytes is longer than any path",
        path: source.path, offset: place.bytes)
    }
    guard let end = place.adding(UInt64(length)), end.bytes <= source.size else {
      throw DiskError(
        .truncated, "it reaches past the end of the file", path: source.path, offset: place.bytes)
    }
    let reader = try source.reader(at: place, count: Int(length))
    if platform.hasPrefix("W2") { return try reader.utf16(at: 0, units: Int(length) / 2) }
    guard reader.bytes.allSatisfy({ $0 < 0x80 }) else { return nil }
    return try reader.text(at: 0, count: Int(length))
  }
}

extension VHDDynamicHeader {
  /// No more places than this are looked at, however many the locators give.
  private static let mostPaths = 64

  /// The image that a differencing disk was made on.
  ///
  /// - Parameter notes: gains a line for each locator that cannot be read.
  func parent(in source: any Storage, _ notes: inout [String]) -> ParentReference {
    var named: [String] = []
    for platform in VHDParentLocator.platforms {
      for locator in locators where locator.platform == platform && locator.length > 0 {
        do throws(DiskError) {
          if let path = try locator.path(in: source) { named.append(path) }
        } catch {
          notes.append(
            "the parent locator '\(platform)' cannot be read: \(error.message) (at byte "
              + "\(locator.place.bytes))")
        }
      }
    }
    named.append(parentName)
    var paths: [String] = []
    for path in named.flatMap(ForeignPath.candidates) where !paths.contains(path) {
      paths.append(path)
    }
    var expectations = [ParentReference.Expectation("UUID", [parentUUID])]
    // Writers that do not know the time leave it 0.
    if parentTimestamp != 0 {
      expectations.append(
        ParentReference.Expectation("time stamp", ["\(parentTimestamp)"], isStrict: false))
    }
    return ParentReference(
      name: named.first { !$0.isEmpty } ?? "", paths: Array(paths.prefix(Self.mostPaths)),
      ignoresCase: true, format: "vhd", expectations: expectations)
  }
}

extension VHDFooter {
  /// 2000-01-01T00:00:00Z, from where VHD counts seconds, in seconds since 1970.
  private static let epoch = 946_684_800

  /// What children know the disk of `source` by. As its time stamp they record when its file last
  /// changed, or what its footer says.
  func identity(of source: any Storage) -> [String: [String]] {
    let changed = source.modificationTime.seconds &- Self.epoch
    return ["UUID": [uuid], "time stamp": ["\(timestamp)", "\(changed)"]]
  }
}
