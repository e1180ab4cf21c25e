internal import DiskCore

/// A sparse extent's file, opened by what it says of itself.
struct VMDKSparseFile {
  let layer: any ImageLayer
  let grainBytes: UInt64
  /// The format's word for a disk made of such extents.
  let subformat: String
  /// What was worked around or is to be known.
  let notes: [String]
  let isUnclean: Bool

  /// - Parameter hasParent: whether what was never written is the parent's.
  /// - Throws: `malformed` where it is no sparse extent; what its header's checks throw.
  init(_ source: any Storage, hasParent: Bool) throws(DiskError) {
    let head = try source.reader(
      at: .start, count: Int(min(UInt64(VMDKHostedHeader.byteCount), source.size)))
    switch VMDK.Magic(head) {
    case .hosted:
      try self.init(hosted: VMDKHostedHeader(head), source, hasParent: hasParent)
    case .copyOnWrite:
      try self.init(
        "vmfsSparse", source, VMDKSectorScheme(hasZeroGrains: false),
        VMDKCopyOnWriteHeader(head).geometry(hasParent: hasParent))
    case .spaceEfficient:
      let header = try VMDKSpaceEfficientHeader(head, in: source)
      try self.init("seSparse", source, header.scheme, header.geometry(hasParent: hasParent))
    case nil:
      throw DiskError(
        .malformed, "is no sparse extent: it starts with none of their signatures",
        path: source.path, offset: 0)
    }
  }

  /// - Parameter hosted: the header at the start of the file.
  init(
    hosted first: VMDKHostedHeader, _ source: any Storage, hasParent: Bool
  ) throws(DiskError) {
    var notes: [String] = []
    let header = try first.governing(in: source, notes: &notes)
    let geometry = try header.geometry(hasParent: hasParent)
    let decoder =
      header.isCompressed
      ? try VMDKGrainDecoder(source, geometry, hasMarkers: header.hasMarkers) : nil
    layer = try VMDKSparseExtent(
      source, VMDKSectorScheme(hasZeroGrains: header.hasZeroGrains), geometry, decoder: decoder,
      notes: &notes)
    grainBytes = geometry.grainBytes
    subformat = header.isCompressed ? "streamOptimized" : "monolithicSparse"
    isUnclean = first.isUnclean
    self.notes = notes
  }

  private init(
    _ subformat: String, _ source: any Storage, _ scheme: some VMDKGrainScheme,
    _ geometry: VMDKGeometry
  ) throws(DiskError) {
    var notes: [String] = []
    layer = try VMDKSparseExtent(source, scheme, geometry, decoder: nil, notes: &notes)
    grainBytes = geometry.grainBytes
    self.subformat = subformat
    self.notes = notes
    isUnclean = false
  }
}
