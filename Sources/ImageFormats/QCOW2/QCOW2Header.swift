internal import DiskCore

/// The header of a QCOW2 image (QEMU's docs/interop/qcow2.txt, "Header"): 72 bytes in version 2, at
/// least 104 in version 3.
struct QCOW2Header: Sendable {
  static let magic: [UInt8] = [0x51, 0x46, 0x49, 0xfb]

  /// 512 bytes by the specification; 2 MiB is the most that QEMU makes or opens.
  static let clusterBits: ClosedRange<UInt32> = 9...21

  /// In bytes.
  static let longestBackingName: UInt32 = 1023

  let version: UInt32
  /// In bytes.
  let length: UInt64
  /// Where the backing file's name is, and how many bytes it has; nil where there is none.
  let backingName: (offset: UInt64, count: Int)?
  let clusterBits: UInt32
  /// Of the virtual disk, in bytes.
  let size: UInt64
  let cryptMethod: UInt32
  let l1: (offset: UInt64, count: UInt32)
  let refcountTable: (offset: UInt64, clusters: UInt32)
  let snapshots: (offset: UInt64, count: UInt32)
  let features: QCOW2Features
  let refcountOrder: UInt32
  private let compressionType: UInt8

  /// - Parameter reader: the file's beginning, of which 112 bytes are looked at where there are so
  ///   many.
  /// - Throws: `malformed` for a header that contradicts the specification, `unsupported` for a
  ///   version of which there is none.
  init(_ reader: ByteReader) throws(DiskError) {
    func refuse(_ message: String, _ at: UInt64, _ kind: DiskError.Kind = .malformed) -> DiskError {
      DiskError(kind, message, path: reader.path, offset: at)
    }
    guard reader.matches(Self.magic, at: 0) else {
      throw refuse("does not start as a QCOW2 image", 0)
    }
    version = try reader.u32(at: 4, .big)
    guard version == 2 || version == 3 else {
      throw refuse("is a QCOW image of version \(version)", 4, .unsupported)
    }
    clusterBits = try reader.u32(at: 20, .big)
    guard Self.clusterBits.contains(clusterBits) else {
      throw refuse(
        "has clusters of 2^\(clusterBits) bytes; they can be 2^\(Self.clusterBits.lowerBound) to "
          + "2^\(Self.clusterBits.upperBound)", 20)
    }
    let clusterSize = UInt64(1) << clusterBits
    size = try reader.u64(at: 24, .big)
    guard size <= Limits.largestDisk else {
      throw refuse("claims a disk of \(size) bytes", 24)
    }
    cryptMethod = try reader.u32(at: 32, .big)
    l1 = (try reader.u64(at: 40, .big), try reader.u32(at: 36, .big))
    refcountTable = (try reader.u64(at: 48, .big), try reader.u32(at: 56, .big))
    snapshots = (try reader.u64(at: 64, .big), try reader.u32(at: 60, .big))
    if version == 2 {
      length = 72
      features = QCOW2Features()
      refcountOrder = 4
      compressionType = 0
    } else {
      length = UInt64(try reader.u32(at: 100, .big))
      guard length >= 104, length <= clusterSize else {
        throw refuse(
          "has a header of \(length) bytes; it must have 104 at least and fit in a cluster", 100)
      }
      features = QCOW2Features(
        incompatible: try reader.u64(at: 72, .big), compatible: try reader.u64(at: 80, .big),
        autoclear: try reader.u64(at: 88, .big))
      refcountOrder = try reader.u32(at: 96, .big)
      guard refcountOrder <= 6 else {
        throw refuse("has reference counts of 2^\(refcountOrder) bits; 2^6 is the most", 96)
      }
      compressionType = length > 104 ? try reader.u8(at: 104) : 0
    }
    let nameOffset = try reader.u64(at: 8, .big)
    let nameCount = try reader.u32(at: 16, .big)
    if nameOffset == 0 {
      backingName = nil
    } else {
      guard nameOffset <= clusterSize, nameCount <= Self.longestBackingName,
        UInt64(nameCount) <= clusterSize - nameOffset
      else {
        throw refuse(
          "has a backing file name of \(nameCount) bytes at byte \(nameOffset); it must lie in the "
            + "first cluster and have at most \(Self.longestBackingName) bytes", 8)
      }
      backingName = (nameOffset, Int(nameCount))
    }
  }

  var clusterSize: UInt64 { 1 << clusterBits }

  /// How the image's compressed clusters are compressed.
  ///
  /// - Throws: `malformed` where the field and the feature bit that announces it disagree,
  ///   `unsupported` for a type that is not known.
  func compression(path: String) throws(DiskError) -> QEMUClusterDecoder.Compression {
    let isAnnounced = features.has(.compressionType)
    guard isAnnounced == (compressionType != 0) else {
      throw DiskError(
        .malformed,
        "has compression type \(compressionType), and its feature bit is "
          + (isAnnounced ? "set" : "not set"), path: path, offset: 104)
    }
    guard let compression = QEMUClusterDecoder.Compression(rawValue: compressionType) else {
      throw DiskError(
        .unsupported,
        "has clusters of compression type \(compressionType); only zlib and zstd are known",
        path: path, offset: 104)
    }
    return compression
  }
}
