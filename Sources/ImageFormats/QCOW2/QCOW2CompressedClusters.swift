public import DiskCore

/// The compressed clusters of a QCOW2 image, by their descriptors: bits 0 to 61 of an L2 table's entry
/// (docs/interop/qcow2.txt, "Compressed Clusters Descriptor").
public struct QCOW2CompressedClusters: Sendable {
  private static let descriptor: UInt64 = 1 << 62 - 1
  private static let sector: UInt64 = 512

  /// Gives a cluster for `index(of:)` its entry.
  public let decoder: any BlockDecoder
  private let placeBits: UInt64

  /// - Throws: `malformed` for what is no QCOW2 image; `unsupported` for a compression that is not
  ///   known.
  public init(of source: any Storage) throws(DiskError) {
    let header = try QCOW2Header(source.reader(at: .start, count: Int(min(512, source.size))))
    let decoder = QEMUClusterDecoder(
      source, header, try header.compression(path: source.path))
    self.decoder = decoder
    placeBits = UInt64(QEMUClusterDecoder.placeBits(header))
  }

  /// What the decoder knows the cluster of an L2 entry by.
  public func index(of entry: UInt64) -> UInt64 { entry & Self.descriptor }

  /// What the cluster of an L2 entry holds.
  ///
  /// - Throws: `malformed` or `truncated` where it is damaged; what reading throws.
  public func content(of entry: UInt64) throws(DiskError) -> [UInt8] {
    let index = index(of: entry)
    var bytes = [UInt8](repeating: 0, count: decoder.decodedBytes(of: index))
    var elements = bytes.mutableSpan
    var buffer = unsafe elements.mutableBytes
    try decoder.decode(index, into: &buffer)
    return bytes
  }

  /// Where in the file the sectors are that its data lies in.
  public func bytes(of entry: UInt64) -> Range<UInt64> {
    let place = index(of: entry) & (1 << placeBits - 1)
    let more = index(of: entry) >> placeBits
    let start = place / Self.sector * Self.sector
    return start..<start + (more + 1) * Self.sector
  }
}

extension QEMUClusterDecoder {
  /// How many bits of a descriptor say where the data starts.
  fileprivate static func placeBits(_ header: QCOW2Header) -> UInt32 { 70 - header.clusterBits }

  convenience init(_ source: any Storage, _ header: QCOW2Header, _ compression: Compression) {
    self.init(
      source, clusterBits: header.clusterBits, placeBits: Self.placeBits(header),
      unit: .moreSectors, compression)
  }
}
