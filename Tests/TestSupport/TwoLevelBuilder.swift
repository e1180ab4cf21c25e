import DiskCore

/// A QCOW (version 1) or QED image: header, first table, second tables, clusters, field by field;
/// QED from docs/interop/qed_spec.txt of QEMU. Apart from the code under test.
public struct TwoLevelBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public enum Format: Sendable {
    case qcow, qed
  }

  public enum Cluster: Sendable {
    case data([UInt8])
    /// QED only.
    case zero
    /// QCOW only: a stream, and what it decodes to.
    case compressed([UInt8], [UInt8])
    case entry(UInt64)
  }

  public let format: Format
  /// In bytes: the virtual disk's.
  public var size: UInt64
  public var clusterBits = 12
  /// QCOW: the entries of a second table, as a power of two.
  public var tableBits = 9
  /// QED: the clusters of a table.
  public var tableSize = 1
  public var clusters: [Int: Cluster] = [:]
  public var order: [Int]?
  public var backing: String?
  /// QED: feature bits besides that of the backing file.
  public var features: UInt64 = 0
  public var editHeader: Edit = { _ in }
  public var editFirst: Edit = { _ in }
  /// Applied to the first of the second tables.
  public var editSecond: Edit = { _ in }

  public init(_ format: Format, size: UInt64) {
    self.format = format
    self.size = size
  }

  public var clusterSize: Int { 1 << clusterBits }
  private var unit: UInt64 { UInt64(clusterSize) }
  public var tableBytes: Int { format == .qcow ? 8 << tableBits : tableSize * clusterSize }
  /// Where the first table is.
  public var firstOffset: UInt64 { format == .qcow ? 512 * 3 : unit }

  private func put(_ value: UInt64, _ bytes: inout ImageBytes, at place: Int) {
    if format == .qcow { bytes.putBig(value, at: place) } else { bytes.putLittle(value, at: place) }
  }

  private func roundedUp(_ bytes: UInt64) -> UInt64 { (bytes + unit - 1) / unit * unit }

  public var bytes: [UInt8] {
    let perTable = tableBytes / 8
    let span = unit * UInt64(perTable)
    let count = Int((size + span - 1) / span)
    var first = ImageBytes(count: format == .qcow ? count * 8 : tableBytes)
    var end = roundedUp(firstOffset + UInt64(first.count))
    var tables: [Int: (at: UInt64, bytes: ImageBytes)] = [:]
    for index in Set(clusters.keys.map { $0 / perTable }).sorted() {
      tables[index] = (end, ImageBytes(count: tableBytes))
      put(end, &first, at: index * 8)
      end = roundedUp(end + UInt64(tableBytes))
    }
    var file = ImageBytes(count: 0)
    for index in order ?? clusters.keys.sorted() {
      guard let cluster = clusters[index] else { continue }
      let entry: UInt64
      switch cluster {
      case .data(let content):
        end = roundedUp(end)
        entry = end
        file.put(content, at: Int(end))
        end += unit
        file.grow(to: Int(end))
      case .zero: entry = 1
      case .compressed(let stream, _):
        entry = 1 << 63 | UInt64(stream.count) << UInt64(63 - clusterBits) | end
        file.put(stream, at: Int(end))
        end += UInt64(stream.count)
      case .entry(let value): entry = value
      }
      if var table = tables[index / perTable] {
        put(entry, &table.bytes, at: index % perTable * 8)
        tables[index / perTable] = table
      }
    }
    editFirst(&first)
    for (index, table) in tables {
      var bytes = table.bytes
      if index == tables.keys.min() { editSecond(&bytes) }
      file.put(bytes.bytes, at: Int(table.at))
    }
    file.put(first.bytes, at: Int(firstOffset))
    var header = format == .qcow ? qcowHeader : qedHeader
    editHeader(&header)
    file.put(header.bytes, at: 0)
    return file.bytes
  }

  private var qcowHeader: ImageBytes {
    var header = ImageBytes(count: 48)
    header.put([0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 1], at: 0)
    header.putBig(0x5F00_0000 as UInt32, at: 20)
    header.putBig(size, at: 24)
    header.put([UInt8(clusterBits), UInt8(tableBits)], at: 32)
    header.putBig(firstOffset, at: 40)
    if let backing {
      header.putBig(48 as UInt64, at: 8)
      header.putBig(UInt32(backing.utf8.count), at: 16)
      header.put(backing, at: 48)
    }
    return header
  }

  private var qedHeader: ImageBytes {
    var header = ImageBytes(count: 64)
    header.put("QED\0", at: 0)
    header.putLittle(UInt32(clusterSize), at: 4)
    header.putLittle(UInt32(tableSize), at: 8)
    header.putLittle(1 as UInt32, at: 12)
    header.putLittle(features | (backing == nil ? 0 : 1), at: 16)
    header.putLittle(firstOffset, at: 40)
    header.putLittle(size, at: 48)
    if let backing {
      header.putLittle(64 as UInt32, at: 56)
      header.putLittle(UInt32(backing.utf8.count), at: 60)
      header.put(backing, at: 64)
    }
    return header
  }

  public func storage(path: String = "disk.img") -> MemoryStorage {
    MemoryStorage(bytes, path: path)
  }

  /// What the virtual disk holds over `below`.
  public func content(over below: [UInt8] = []) -> [UInt8] {
    var result = ImageBytes(Array(below.prefix(Int(size))))
    result.grow(to: Int(size))
    let zeros = [UInt8](repeating: 0, count: clusterSize)
    for (index, cluster) in clusters {
      switch cluster {
      case .data(let content), .compressed(_, let content):
        result.put(content + zeros.dropFirst(content.count), at: index * clusterSize)
      case .zero: result.put(zeros, at: index * clusterSize)
      case .entry: break
      }
    }
    return Array(result.bytes.prefix(Int(size)))
  }
}
