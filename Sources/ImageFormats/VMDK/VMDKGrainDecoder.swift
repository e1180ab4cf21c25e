internal import Decoders
internal import DiskCore

/// The compressed grains of a stream-optimized extent: zlib streams behind a marker that says where
/// in the disk they belong and how long they are (Virtual Disk Format 5.0, "Stream-Optimized
/// Compressed Sparse Extents", "Compressed Grain Marker").
final class VMDKGrainDecoder: BlockDecoder {
  /// What is stored of a grain may be up to twice as long, and is read as one.
  static let largestGrain = UInt64(Limits.largestBlock / 2)

  let source: any Storage
  private let grainBytes: Int
  /// Of the extent as the disk sees it.
  private let size: UInt64
  /// Whether the grain's sector stands before its length.
  private let hasMarkers: Bool
  private let deflate = Deflate(.zlib)

  /// - Throws: `unsupported` for more grains than can be told apart.
  init(_ source: any Storage, _ geometry: VMDKGeometry, hasMarkers: Bool) throws(DiskError) {
    guard (geometry.size + geometry.grainBytes - 1) / geometry.grainBytes <= 1 << 32 else {
      throw DiskError(
        .unsupported,
        "a compressed disk of \(geometry.size) bytes in grains of "
          + "\(geometry.grainBytes)", path: source.path, offset: 12)
    }
    self.source = source
    self.hasMarkers = hasMarkers
    grainBytes = Int(geometry.grainBytes)
    size = geometry.size
  }

  /// The grain's number, and the sector where it is stored: both fit in 32 bits.
  func index(grain: UInt64, at place: FileOffset) -> UInt64 {
    grain << 32 | place.bytes / VMDK.sectorBytes
  }

  func decodedBytes(of index: UInt64) -> Int { grainBytes }

  func checksum(of index: UInt64) -> String? { "grain Adler-32" }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    let start = (index >> 32) * UInt64(grainBytes)
    let place = FileOffset((index & 0xffff_ffff) * VMDK.sectorBytes)
    func damage(_ kind: DiskError.Kind, _ message: String) -> DiskError {
      DiskError(kind, message, path: source.path, offset: place.bytes)
    }
    let headerBytes = hasMarkers ? 12 : 4
    guard let data = place.adding(UInt64(headerBytes)), data.bytes <= source.size else {
      throw damage(.truncated, "a grain lies past the end of the file")
    }
    let header = try source.reader(at: place, count: headerBytes)
    if hasMarkers {
      let sector: UInt64 = try header.u64(at: 0)
      guard sector == start / VMDK.sectorBytes else {
        throw damage(
          .malformed,
          "a grain says that it belongs at sector \(sector) of the disk, not at "
            + "\(start / VMDK.sectorBytes)")
      }
    }
    let count = Int(try header.u32(at: headerBytes - 4))
    // Deflate makes what it cannot compress hardly longer; QEMU reads no more either.
    guard count > 0, count <= 2 * grainBytes else {
      throw damage(
        .malformed, "a grain of \(count) bytes compressed, where it has \(grainBytes) otherwise")
    }
    guard UInt64(count) <= source.size - data.bytes else {
      throw damage(
        .truncated, "a grain of \(count) bytes compressed reaches past the end of the file")
    }
    let stored = try source.bytes(at: data, count: count)
    let given: Int
    do throws(DecodingFailure) {
      given = try deflate.decode(stored, into: &buffer)
    } catch {
      throw damage(
        .malformed,
        error == .tooLong
          ? "a compressed grain holds more than \(grainBytes) bytes"
          : "a compressed grain is damaged")
    }
    // Some writers end the last grain with the disk.
    guard given >= Int(min(UInt64(grainBytes), size - start)) else {
      throw damage(
        .malformed, "a compressed grain holds \(given) bytes in place of \(grainBytes)")
    }
  }
}
