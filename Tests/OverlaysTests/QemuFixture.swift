import DiskCore
import TestSupport

@testable import Overlays

extension QCOW2Builder {
  /// The file with the reference counts that it should have, which fit in one block.
  var counted: PagedBytes {
    var content = PagedBytes()
    let file = file
    content.resize(to: file.size)
    for piece in file.pieces { content.write(piece.bytes[...], at: piece.at) }
    let block = 2 * UInt64(clusterSize)
    for (cluster, count) in QcowChecker(content).references {
      content.write(
        [UInt8(count >> 8), UInt8(count & 0xff)][...], at: block + UInt64(cluster) * 2)
    }
    return content
  }
}

/// A disk with a qcow2 file on top that is no overlay of Platter's.
struct WrittenImage {
  let writer: Overlay
  let disk: Disk

  /// - Parameter below: empty where it has no backing file.
  init(_ file: any WritableStorage, _ tuning: OverlayTuning, over below: [UInt8]) throws {
    writer = try Overlay.open(file, tuning, as: .base)
    disk = try Disk(layers: below.isEmpty ? [writer] : [writer, FlatLayer(MemoryStorage(below))])
  }
}
