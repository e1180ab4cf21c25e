internal import DiskCore

/// Layers one behind the other that together are one: the extents of a VMDK, the parts of a split
/// Parallels disk.
final class LayerRow: ImageLayer {
  private struct Part: Sendable {
    let layer: any ImageLayer
    let range: Range<UInt64>
  }

  let size: UInt64
  let description: LayerDescription
  private let parts: [Part]

  /// - Parameter layers: in order; each with how many bytes of the row it takes, which is not more
  ///   than its size.
  /// - Throws: `malformed` where one of them is shorter than what it takes, or all are larger than
  ///   `Limits.largestDisk` together.
  init(
    _ layers: [(layer: any ImageLayer, length: UInt64)], description: LayerDescription
  ) throws(DiskError) {
    var parts: [Part] = []
    var end: UInt64 = 0
    for (layer, length) in layers where length > 0 {
      let path = layer.files.first?.path
      guard length <= layer.size else {
        throw DiskError(
          .malformed, "holds \(layer.size) bytes of the disk where \(length) belong", path: path)
      }
      let (sum, overflow) = end.addingReportingOverflow(length)
      guard !overflow, sum <= Limits.largestDisk else {
        throw DiskError(
          .unsupported, "the parts are larger than \(Limits.largestDisk) bytes together", path: path
        )
      }
      parts.append(Part(layer: layer, range: end..<sum))
      end = sum
    }
    size = end
    self.parts = parts
    self.description = description
  }

  var tableBytes: UInt64 { parts.reduce(0) { $0 + $1.layer.tableBytes } }
  var files: [any Storage] { parts.flatMap(\.layer.files) }

  /// What is below a part is below the row at the same place.
  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let part = parts[index(of: offset.bytes)]
    let start = part.range.lowerBound
    let rest = part.range.upperBound - offset.bytes
    let answer = try part.layer.extent(
      at: DiskOffset(offset.bytes - start), limit: min(limit, rest))
    let length = min(answer.length, rest)
    guard case .below(let place) = answer.place else { return Extent(answer.place, length: length) }
    return Extent(.below(place + start), length: length)
  }

  /// The part that holds `place`, which is less than `size`.
  private func index(of place: UInt64) -> Int {
    var low = 0
    var high = parts.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if parts[middle].range.lowerBound <= place { low = middle } else { high = middle }
    }
    return low
  }
}
