public import Digests
internal import DiskCore

/// What an overlay's changes are changes of.
public struct OverlayBase: Sendable, Equatable {
  /// The longest name that qcow2 allows, in bytes.
  public static let longestName = 1023
  /// QEMU refuses a file with a longer one.
  static let longestFormat = 15

  /// The backing file's name, as stored: relative to the overlay's folder unless it is absolute.
  public var name: String
  /// QEMU's name for the base's driver where QEMU reads the base as Platter does; otherwise
  /// `platter-…`, which QEMU refuses rather than misreads.
  public var format: String
  /// Every file of the base's chain, top first.
  public var identity: [FileIdentityRecord]

  public init(name: String, format: String, identity: [FileIdentityRecord]) {
    self.name = name
    self.format = format
    self.identity = identity
  }

  /// - Throws: `invalidRequest` where the file cannot hold it.
  func check() throws(DiskError) {
    guard !name.isEmpty, name.utf8.count <= Self.longestName else {
      throw DiskError(
        .invalidRequest,
        "a base's name of \(name.utf8.count) bytes; qcow2 holds 1 to \(Self.longestName)")
    }
    guard !format.isEmpty, format.utf8.count <= Self.longestFormat else {
      throw DiskError(
        .invalidRequest,
        "a base's format of \(format.utf8.count) bytes; it must be 1 to \(Self.longestFormat)")
    }
  }
}
