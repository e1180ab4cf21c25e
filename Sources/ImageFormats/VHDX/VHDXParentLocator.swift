internal import DiskCore

/// How a differencing VHDX names its parent ([MS-VHDX] 2.6.2.6): keys and values, both in UTF-16.
struct VHDXParentLocator: Sendable {
  private static let type = "b04aefb7-d19e-4a81-b789-25b8e9445913"
  /// In the order in which they are to be tried.
  private static let paths = ["relative_path", "volume_path", "absolute_win32_path"]
  private static let linkages = ["parent_linkage", "parent_linkage2"]

  let reference: ParentReference

  /// - Parameters:
  ///   - item: the metadata item, at most 1 MiB.
  ///   - sectorSize: the child's logical sector size, which its parent must share.
  /// - Throws: `unsupported` for another kind of parent than a VHDX file; `malformed` where the
  ///   locator contradicts itself or does not say which image the parent is.
  init(_ item: ByteReader, sectorSize: UInt32) throws(DiskError) {
    let type = try item.guid(at: 0)
    guard type == Self.type else {
      throw DiskError(
        .unsupported, "its parent is named by a locator of type \(type), which is not known",
        path: item.path, offset: item.base)
    }
    let values = try Self.values(item, of: Self.paths + Self.linkages)
    let accepted = Self.linkages.compactMap { values[$0] }.map(Self.withoutBraces)
    guard !accepted.isEmpty else {
      throw DiskError(
        .malformed, "its parent locator does not say which image the parent is", path: item.path,
        offset: item.base)
    }
    var paths: [String] = []
    for path in Self.paths.compactMap({ values[$0] }).flatMap(ForeignPath.candidates)
    where !paths.contains(path) {
      paths.append(path)
    }
    reference = ParentReference(
      name: Self.paths.lazy.compactMap { values[$0] }.first ?? "", paths: paths,
      ignoresCase: true, format: "vhdx",
      expectations: [
        ParentReference.Expectation(VHDXFormat.identityName, accepted),
        ParentReference.Expectation(VHDXFormat.sectorSizeName, ["\(sectorSize)"]),
      ])
  }

  /// The values of those keys that are there. Others are not even decoded: there can be 65,535, all
  /// naming the same 64 KiB.
  private static func values(
    _ item: ByteReader, of keys: [String]
  ) throws(DiskError) -> [String: String] {
    var values: [String: String] = [:]
    for index in 0..<Int(try item.u16(at: 18)) {
      let entry = 20 + 12 * index
      let keyLength = Int(try item.u16(at: entry + 8))
      guard keys.contains(where: { $0.utf16.count * 2 == keyLength }) else { continue }
      let key = try item.utf16(at: Int(try item.u32(at: entry)), units: keyLength / 2)
      guard keys.contains(key) else { continue }
      guard values[key] == nil else {
        throw DiskError(
          .malformed, "its parent locator has the key \(key) twice", path: item.path,
          offset: item.base + UInt64(entry))
      }
      values[key] = try item.utf16(
        at: Int(try item.u32(at: entry + 4)), units: Int(try item.u16(at: entry + 10)) / 2)
    }
    return values
  }

  private static func withoutBraces(_ guid: String) -> String {
    guid.filter { $0 != "{" && $0 != "}" }.lowercased()
  }
}
