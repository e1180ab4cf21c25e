import DiskCore
import Glibc
import TestSupport

@testable import Overlays

/// What an overlay lies on in a test.
enum BaseKind: CaseIterable, Sendable {
  /// A disk of its own.
  case none
  /// As large as the disk.
  case raw
  /// Ends before the disk does, in the middle of a sector.
  case short

  func bytes(_ size: Int) -> [UInt8] {
    switch self {
    case .none: []
    case .raw: ImageBytes.pattern(size, seed: 77)
    case .short: ImageBytes.pattern(size * 2 / 3 + 77, seed: 78)
    }
  }

  var overlayBase: OverlayBase? {
    self == .none ? nil : OverlayBase(name: "base.img", format: "raw", identity: [])
  }
}

extension OverlayTuning {
  /// Clusters of 16 KiB with subclusters of 512 bytes, two tables of 16 MiB in memory, and runs of
  /// four clusters: everything that is rare happens often.
  static var small: OverlayTuning {
    OverlayTuning(geometry: OverlayGeometry(bits: 14), residentTables: 2, raisedRun: 4)
  }
}

/// A disk with an overlay on top.
struct OverlaidDisk {
  let overlay: Overlay
  let disk: Disk

  init(_ overlay: Overlay, _ base: any Storage) throws {
    self.overlay = overlay
    disk = try Disk(layers: [overlay, FlatLayer(base)])
  }

  init(_ overlay: Overlay, _ base: [UInt8]) throws {
    self.overlay = overlay
    disk = try Disk(layers: base.isEmpty ? [overlay] : [overlay, FlatLayer(MemoryStorage(base))])
  }
}

extension Disk {
  func bytes(at offset: UInt64, count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var elements = bytes.mutableSpan
    var buffer = elements.mutableBytes
    try read(at: DiskOffset(offset), into: &buffer)
    return bytes
  }

  func put(_ bytes: [UInt8], at offset: UInt64) throws(DiskError) {
    try write(at: DiskOffset(offset), from: bytes.span.bytes)
  }
}

/// Compares quickly, also without the optimiser.
func same(_ a: [UInt8], _ b: [UInt8]) -> Bool {
  a.count == b.count
    && a.withUnsafeBytes { a in
      b.withUnsafeBytes { b in a.count == 0 || memcmp(a.baseAddress!, b.baseAddress!, a.count) == 0
      }
    }
}
