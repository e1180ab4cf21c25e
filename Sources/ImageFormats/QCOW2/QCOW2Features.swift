internal import DiskCore

/// The feature bits of a version 3 header; a version 2 image has none.
struct QCOW2Features: Sendable {
  /// Bits without which an image cannot be read.
  enum Incompatible: Int, CaseIterable, Sendable {
    case dirty = 0
    case corrupt = 1
    case dataFile = 2
    case compressionType = 3
    case extendedL2 = 4
  }

  private static let lazyRefcounts: UInt64 = 1
  private static let rawDataFile: UInt64 = 2

  private var incompatible: UInt64 = 0
  private var compatible: UInt64 = 0
  private var autoclear: UInt64 = 0

  init(incompatible: UInt64 = 0, compatible: UInt64 = 0, autoclear: UInt64 = 0) {
    self.incompatible = incompatible
    self.compatible = compatible
    self.autoclear = autoclear
  }

  func has(_ feature: Incompatible) -> Bool { incompatible & 1 << UInt64(feature.rawValue) != 0 }

  /// Whether reference counts may be written late.
  var hasLazyRefcounts: Bool { compatible & Self.lazyRefcounts != 0 }

  /// Whether the data file is the disk, byte for byte.
  var hasRawDataFile: Bool { autoclear & Self.rawDataFile != 0 }

  /// - Parameter names: of incompatible features by their bit, as the image gives them.
  /// - Throws: `unsupported` for an image with a feature that is not known, naming it.
  func check(_ names: [Int: String], path: String) throws(DiskError) {
    let known = Incompatible.allCases.reduce(into: 0 as UInt64) { $0 |= 1 << UInt64($1.rawValue) }
    let unknown = (0..<64).filter { (incompatible & ~known) >> UInt64($0) & 1 == 1 }
    guard !unknown.isEmpty else { return }
    let list = unknown.map { bit in
      (names[bit].map { "'\(printable($0))' " } ?? "") + "(bit \(bit))"
    }
    throw DiskError(
      .unsupported,
      "needs \(unknown.count == 1 ? "a feature" : "features") that this version of Platter does not "
        + "know: \(list.joined(separator: ", "))", path: path, offset: 72)
  }

  /// What to know before trusting the image.
  var notes: [String] {
    var notes: [String] = []
    if has(.dirty) {
      notes.append(
        "it was not closed cleanly: its reference counts may be wrong, which does not matter for "
          + "reading")
    }
    if has(.corrupt) {
      notes.append(
        "it is marked as corrupt: some of it may be wrong ('qemu-img check' says more)")
    }
    return notes
  }
}
