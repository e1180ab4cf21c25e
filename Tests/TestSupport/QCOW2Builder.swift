import DiskCore

/// A QCOW2 image laid out field by field from QEMU's docs/interop/qcow2.txt, and apart from the code
/// under test.
///
/// Header, refcount table, refcount block (all zeros: nothing that only reads looks at it), then for
/// the disk and for each snapshot its L1 table, its L2 tables and its clusters, then the snapshot
/// table.
public struct QCOW2Builder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public enum Cluster: Sendable {
    case data([UInt8])
    /// Reads as zeros; nothing is stored.
    case zero
    /// Reads as zeros, and there is a place for it that holds other bytes.
    case zeroAt([UInt8])
    /// A stream, and what it decodes to.
    case compressed([UInt8], [UInt8])
    /// With a bit for each subcluster that is allocated, and for each that is zeros.
    case subclusters([UInt8], allocated: UInt32, zeros: UInt32)
    /// Whatever the entry is to hold.
    case entry(UInt64, UInt64)
  }

  public struct Snapshot: Sendable {
    public var identifier: String
    public var name: String
    public var seconds: UInt32 = 1_600_000_000
    public var clusters: [Int: Cluster]
    public var size: UInt64
    /// 0, 8 or 16 bytes of it and more are in use.
    public var extraData = 24

    public init(_ identifier: String, _ name: String, size: UInt64, _ clusters: [Int: Cluster]) {
      self.identifier = identifier
      self.name = name
      self.size = size
      self.clusters = clusters
    }
  }

  public var version: UInt32 = 3
  public var clusterBits = 16
  /// In bytes: the virtual disk's.
  public var size: UInt64
  public var clusters: [Int: Cluster] = [:]
  /// The clusters of the disk in the order in which the file has them; nil: ascending.
  public var order: [Int]?
  public var backing: String?
  public var backingFormat: String?
  public var dataFile: String?
  public var hasSubclusters = false
  public var isZstd = false
  public var snapshots: [Snapshot] = []
  /// More header extensions: type and data.
  public var extensions: [(kind: UInt32, data: [UInt8])] = []
  public var incompatible: UInt64 = 0
  public var compatible: UInt64 = 0
  public var autoclear: UInt64 = 0
  /// L1 entries that the disk does not need.
  public var moreL1 = 0
  public var editHeader: Edit = { _ in }
  public var editL1: Edit = { _ in }
  public var editSnapshots: Edit = { _ in }
  /// Applied to the first L2 table of the disk.
  public var editL2: Edit = { _ in }

  public init(size: UInt64) { self.size = size }

  public var clusterSize: Int { 1 << clusterBits }
  private var entryBytes: Int { hasSubclusters ? 16 : 8 }
  public var clustersPerTable: Int { clusterSize / entryBytes }
  private var unit: UInt64 { UInt64(clusterSize) }

  /// Where structures are in `file`.
  public var refcountOffset: UInt64 { unit }
  public var l1Offset: UInt64 { 3 * unit }

  public struct File: Sendable {
    public let size: UInt64
    public let pieces: [(at: UInt64, bytes: [UInt8])]
    public let snapshotTable: UInt64
    /// The disk's L2 tables, in order.
    public let l2Offsets: [UInt64]

    public func storage(path: String = "disk.qcow2") -> MemoryStorage {
      MemoryStorage(size: size, pieces: pieces, path: path)
    }

    /// For files that are small enough.
    public var bytes: [UInt8] {
      var image = ImageBytes(count: Int(size))
      for piece in pieces { image.put(piece.bytes, at: Int(piece.at)) }
      return image.bytes
    }
  }

  public var file: File {
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    var end = l1Offset
    let (l1, tables) = place(clusters, order, size, &pieces, &end, edited: true)
    var table = ImageBytes(count: 0)
    for snapshot in snapshots {
      let (l1, _) = place(snapshot.clusters, nil, snapshot.size, &pieces, &end, edited: false)
      var entry = ImageBytes(count: 40 + snapshot.extraData)
      entry.putBig(l1.offset, at: 0)
      entry.putBig(UInt32(l1.count), at: 8)
      entry.putBig(UInt16(snapshot.identifier.utf8.count), at: 12)
      entry.putBig(UInt16(snapshot.name.utf8.count), at: 14)
      entry.putBig(snapshot.seconds, at: 16)
      entry.putBig(UInt32(snapshot.extraData), at: 36)
      if snapshot.extraData >= 16 { entry.putBig(snapshot.size, at: 48) }
      entry.put(snapshot.identifier + snapshot.name, at: entry.count)
      entry.grow(to: (entry.count + 7) / 8 * 8)
      table.put(entry.bytes, at: table.count)
    }
    let snapshotTable = snapshots.isEmpty ? 0 : end
    editSnapshots(&table)
    if !snapshots.isEmpty {
      pieces.append((end, table.bytes))
      end += roundedUp(UInt64(table.count))
    }
    pieces.append((0, header(l1Count: l1.count, snapshotTable).bytes))
    var refcounts = ImageBytes(count: 8)
    refcounts.putBig(2 * unit, at: 0)
    pieces.append((refcountOffset, refcounts.bytes))
    return File(size: end, pieces: pieces, snapshotTable: snapshotTable, l2Offsets: tables)
  }

  private func roundedUp(_ bytes: UInt64) -> UInt64 { (bytes + unit - 1) / unit * unit }

  /// An L1 table at `end`, its L2 tables and the clusters, each where the file ends.
  private func place(
    _ clusters: [Int: Cluster], _ order: [Int]?, _ size: UInt64,
    _ pieces: inout [(at: UInt64, bytes: [UInt8])], _ end: inout UInt64, edited: Bool
  ) -> (l1: (offset: UInt64, count: Int), tables: [UInt64]) {
    let span = unit * UInt64(clustersPerTable)
    let count = Int((size + span - 1) / span) + (edited ? moreL1 : 0)
    let l1Offset = end
    var l1 = ImageBytes(count: count * 8)
    end += roundedUp(UInt64(l1.count))
    var tables: [Int: (at: UInt64, bytes: ImageBytes)] = [:]
    for index in Set(clusters.keys.map { $0 / clustersPerTable }).sorted() {
      tables[index] = (end, ImageBytes(count: clusterSize))
      l1.putBig(end | 1 << 63, at: index * 8)
      end += unit
    }
    // Compressed clusters stand close to each other; others start where clusters do.
    var packed: UInt64 = 0
    for index in order ?? clusters.keys.sorted() {
      guard let cluster = clusters[index] else { continue }
      let place = index % clustersPerTable * entryBytes
      func set(_ entry: UInt64, _ bitmap: UInt64 = 0) {
        tables[index / clustersPerTable]?.bytes.putBig(entry, at: place)
        if hasSubclusters { tables[index / clustersPerTable]?.bytes.putBig(bitmap, at: place + 8) }
      }
      func store(_ bytes: [UInt8]) -> UInt64 {
        // In a data file every cluster is at its own place.
        if dataFile != nil { return UInt64(index) * unit | 1 << 63 }
        let at = roundedUp(end)
        pieces.append((at, bytes))
        end = at + unit
        return at | 1 << 63
      }
      switch cluster {
      case .data(let bytes): set(store(bytes), 0xFFFF_FFFF)
      case .zero where hasSubclusters: set(0, 0xFFFF_FFFF << 32)
      case .zero: set(1)
      case .zeroAt(let bytes) where hasSubclusters: set(store(bytes), 0xFFFF_FFFF << 32)
      case .zeroAt(let bytes): set(store(bytes) | 1)
      case .subclusters(let bytes, let allocated, let zeros):
        set(allocated == 0 ? 0 : store(bytes), UInt64(zeros) << 32 | UInt64(allocated))
      case .entry(let entry, let bitmap): set(entry, bitmap)
      case .compressed(let stream, _):
        if packed + UInt64(stream.count) > roundedUp(packed) { packed = roundedUp(end) }
        let shift = UInt64(62 - (clusterBits - 8))
        let last = (packed + UInt64(stream.count) - 1) / 512
        set(1 << 62 | (last - packed / 512) << shift | packed)
        pieces.append((packed, stream))
        packed += UInt64(stream.count)
        end = max(end, roundedUp(packed))
      }
    }
    if edited { editL1(&l1) }
    pieces.append((l1Offset, l1.bytes))
    let first = tables.keys.min()
    for (index, table) in tables {
      var bytes = table.bytes
      if edited, index == first { editL2(&bytes) }
      pieces.append((table.at, bytes.bytes))
    }
    end = roundedUp(end)
    return ((l1Offset, count), tables.sorted { $0.key < $1.key }.map(\.value.at))
  }

  private func header(l1Count: Int, _ snapshotTable: UInt64) -> ImageBytes {
    var header = ImageBytes(count: version == 2 ? 72 : 112)
    header.put([0x51, 0x46, 0x49, 0xFB], at: 0)
    header.putBig(version, at: 4)
    header.putBig(UInt32(clusterBits), at: 20)
    header.putBig(size, at: 24)
    header.putBig(UInt32(l1Count), at: 36)
    header.putBig(l1Offset, at: 40)
    header.putBig(refcountOffset, at: 48)
    header.putBig(1 as UInt32, at: 56)
    header.putBig(UInt32(snapshots.count), at: 60)
    header.putBig(snapshotTable, at: 64)
    if version > 2 {
      var bits = incompatible
      if dataFile != nil { bits |= 4 }
      if isZstd { bits |= 8 }
      if hasSubclusters { bits |= 16 }
      header.putBig(bits, at: 72)
      header.putBig(compatible, at: 80)
      header.putBig(autoclear, at: 88)
      header.putBig(4 as UInt32, at: 96)
      header.putBig(112 as UInt32, at: 100)
      header.put([isZstd ? 1 : 0], at: 104)
    }
    var all = extensions
    if let backingFormat { all.insert((0xE279_2ACA, Array(backingFormat.utf8)), at: 0) }
    if let dataFile { all.append((0x4441_5441, Array(dataFile.utf8))) }
    for (kind, data) in all {
      header.putBig(kind, at: header.count)
      header.putBig(UInt32(data.count), at: header.count)
      header.put(data, at: header.count)
      header.grow(to: (header.count + 7) / 8 * 8)
    }
    header.grow(to: header.count + 8)
    if let backing {
      header.putBig(UInt64(header.count), at: 8)
      header.putBig(UInt32(backing.utf8.count), at: 16)
      header.put(backing, at: header.count)
    }
    editHeader(&header)
    return header
  }

  /// What the virtual disk, or a snapshot's, holds, over `below`.
  public func content(
    _ clusters: [Int: Cluster]? = nil, size: UInt64? = nil, over below: [UInt8] = []
  ) -> [UInt8] {
    let size = Int(size ?? self.size)
    var result = ImageBytes(Array(below.prefix(size)))
    result.grow(to: size)
    let zeros = [UInt8](repeating: 0, count: clusterSize)
    for (index, cluster) in clusters ?? self.clusters {
      let start = index * clusterSize
      func put(_ bytes: [UInt8], _ range: Range<Int>) {
        let padded = bytes + zeros.dropFirst(bytes.count)
        result.put(Array(padded[range]), at: start + range.lowerBound)
      }
      switch cluster {
      case .data(let bytes), .compressed(_, let bytes): put(bytes, 0..<clusterSize)
      case .zero, .zeroAt: put([], 0..<clusterSize)
      case .subclusters(let bytes, let allocated, let zeros):
        let unit = clusterSize / 32
        for sub in 0..<32 {
          let range = sub * unit..<(sub + 1) * unit
          if allocated >> sub & 1 == 1 { put(bytes, range) }
          if zeros >> sub & 1 == 1 { put([], range) }
        }
      case .entry: break
      }
    }
    return Array(result.bytes.prefix(size))
  }
}
