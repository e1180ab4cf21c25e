public import DiskCore
internal import ImageFormats
internal import Synchronization

extension Overlay {
  /// What a file says of itself before it is opened for writing.
  public struct Info: Sendable {
    /// The disk's size in bytes.
    public let size: UInt64
    public let base: OverlayBase?
    /// Whoever wrote it last has it open still, or did not come to close it.
    public let isMarkedOpen: Bool
    /// A commit began and did not end.
    public let isMarkedCommitting: Bool
    /// How many named states it keeps beside the active one.
    public let snapshotCount: Int
    /// What is recorded of the base's first file are samples of its disk, where the overlay holds
    /// nothing: such a commit cannot tell otherwise what it is.
    let hasDiskSamples: Bool
  }

  /// Reads what `file` says of itself; changes nothing.
  ///
  /// - Throws: as `open(_:)`.
  public static func info(of file: any Storage) throws(DiskError) -> Info {
    let header = try OverlayHeader(of: file)
    return Info(
      size: header.size, base: header.base,
      isMarkedOpen: header.platter.state & OverlayExtension.openMark != 0,
      isMarkedCommitting: header.platter.state & OverlayExtension.commitMark != 0,
      snapshotCount: header.snapshotCount,
      hasDiskSamples: header.platter.state & OverlayExtension.diskSamplesMark != 0)
  }

  /// - Throws: `invalidRequest` where putting the changes of `file` into its base was interrupted: until
  ///   that is finished, nothing else may be done with it.
  public static func requireNoCommit(_ file: any Storage) throws(DiskError) {
    try OverlayHeader(of: file).requireNoCommit(file.path)
  }

  /// Makes an overlay in an empty file.
  ///
  /// - Parameters:
  ///   - size: of the disk, in bytes: the base's.
  ///   - base: nil for a disk that reads as zeros until it is written.
  /// - Throws: `invalidRequest` for a file that is not empty, or a base that does not fit in the
  ///   header; `unsupported` for a disk that is too large; what writing throws.
  public static func create(
    in file: any WritableStorage, size: UInt64, base: OverlayBase?
  ) throws(DiskError) -> Overlay {
    try create(in: file, size: size, base: base, OverlayTuning())
  }

  /// Opens an overlay to go on with it. Where it was left open, clusters that were lost are
  /// collected first.
  ///
  /// - Throws: `malformed` or `unsupported` for what is no overlay, or one that something else
  ///   changed in a way that cannot be written above; `invalidRequest` after a commit that did not end;
  ///   what reading and writing throw.
  public static func open(_ file: any WritableStorage) throws(DiskError) -> Overlay {
    try open(file, OverlayTuning())
  }

  static func create(
    in file: any WritableStorage, size: UInt64, base: OverlayBase?, _ tuning: OverlayTuning
  ) throws(DiskError) -> Overlay {
    guard file.size == 0 else {
      throw DiskError(.invalidRequest, "is not empty", path: file.path)
    }
    try base?.check()
    let geometry = tuning.geometry
    // At least one, so that there is an L1 table to name.
    let tables = max(1, geometry.tables(for: size))
    guard size <= Limits.largestDisk, tables <= UInt64(Limits.largestMetadataRead / 8) else {
      throw DiskError(
        .unsupported, "a disk of \(size) bytes is too large for an overlay", path: file.path)
    }
    // The header, the refcount table, one block, and the L1 table.
    let l1Clusters = geometry.clusters(tables * 8)
    let end = 3 + l1Clusters
    var header = OverlayHeader(
      geometry: geometry, virtualSize: (size + 511) / 512 * 512,
      l1Offset: 3 * geometry.clusterSize, l1Count: Int(tables),
      refcountTableOffset: geometry.clusterSize, refcountTableClusters: 1, base: base,
      platter: OverlayExtension(
        state: OverlayExtension.openMark, exactSize: size, files: base?.identity ?? [],
        // 8 KiB of 128: a dozen files.
        roomForRecords: base == nil ? 0 : Int(geometry.clusterSize / 16)))
    let bytes = try header.bytes()
    guard end <= geometry.countsPerBlock else {
      throw DiskError(
        .unsupported, "a disk of \(size) bytes is too large for an overlay", path: file.path)
    }
    var blocks = [UInt64](repeating: 0, count: geometry.blocksPerCluster)
    blocks[0] = 2 * geometry.clusterSize
    var counts = [UInt8](repeating: 0, count: Int(geometry.clusterSize))
    for cluster in 0..<Int(end) { counts.putBig(UInt16(1), at: cluster * 2) }
    try file.resize(to: end * geometry.clusterSize)
    try file.write(bigEndianBytes(blocks[...]), at: geometry.clusterSize)
    try file.write(counts, at: 2 * geometry.clusterSize)
    try file.writeZeros(at: 3 * geometry.clusterSize, count: l1Clusters * geometry.clusterSize)
    // The header last: a file without one is nothing.
    try file.flush()
    try file.write(bytes, at: 0)
    try file.flush()
    var state = OverlayState(
      OverlayStructure(
        header, path: file.path, l1: [UInt64](repeating: 0, count: Int(tables)), blocks: blocks,
        end: end, metadata: Set(0..<end)))
    state.unscanned = 0..<0
    return Overlay(file, header: header, tuning: tuning, state: state, wasRecovered: false)
  }

  static func open(
    _ file: any WritableStorage, _ tuning: OverlayTuning, as role: OverlayHeader.Role = .overlay
  ) throws(DiskError) -> Overlay {
    let header = try OverlayHeader(of: file, as: role)
    try header.requireNoCommit(file.path)
    let geometry = header.geometry
    var tuning = tuning
    tuning.geometry = geometry
    tuning.residentTables = min(
      tuning.residentTables, max(2, OverlayTuning.residentBytes / (geometry.entriesPerTable * 16)))
    let structure = try OverlayStructure(
      of: file, header, compressed: role == .base ? QCOW2CompressedClusters(of: file) : nil)
    var state = OverlayState(structure)
    let wasLeftOpen = header.platter.state & OverlayExtension.openMark != 0
    // Nobody says how the last writer left what is no overlay of Platter's.
    let isWalked = wasLeftOpen || role == .base
    // Which clusters are shared must be known.
    if !isWalked, header.snapshotCount > 0 { state.know(try structure.storedCounts(in: file)) }
    if header.unknownFeatures != 0 {
      // They promise something that a program which does not know them breaks by writing.
      try file.write([UInt8](repeating: 0, count: 8), at: OverlayHeader.autoclearField)
    }
    if isWalked {
      try OverlayRecovery.collect(in: file, structure, &state)
    }
    if !wasLeftOpen {
      try writeState(OverlayExtension.openMark, to: file, at: header.statePlace)
    }
    // QEMU can leave the last cluster half there.
    let end = state.end * geometry.clusterSize
    if file.size != end { try file.resize(to: end) }
    return Overlay(
      file, header: header, tuning: tuning, state: state, wasRecovered: wasLeftOpen)
  }
}

extension OverlayState {
  init(_ structure: OverlayStructure) {
    geometry = structure.geometry
    size = structure.header.size
    hasBase = structure.header.base != nil
    compressed = structure.compressed
    path = structure.path
    l1 = structure.l1
    l1At = structure.header.l1Offset
    blocks = structure.blocks
    blockTableAt = structure.header.refcountTableOffset
    end = structure.end
    dirtyL1 = SectorSet(words: structure.l1.count)
    unscanned = 0..<structure.blocks.count
    metadata = structure.metadata
  }

  /// Takes over what the file counts, as a whole.
  mutating func know(_ counts: ClusterCounts) {
    var counts = counts
    shared = counts.shared
    // What the tables name is not free, whatever its count says.
    for cluster in metadata where counts[cluster] == 0 { counts[cluster] = 1 }
    free = ClusterPool()
    free.add(counts.free(below: end))
    unscanned = 0..<0
  }
}
