public import DiskCore

extension Overlay {
  /// Ties an overlay to its base again: the base was moved or renamed, or is known to be right
  /// although it looks different.
  ///
  /// What is new is written beside what is valid; one write of the file's first sector then makes it
  /// valid. (Where another program rewrote the header there is no room beside it: then the header is
  /// written over, and a power cut in these few milliseconds can tear it.)
  ///
  /// - Parameter file: an overlay that nobody has open.
  /// - Throws: `invalidRequest` for an overlay without a base, or a base that does not fit in the
  ///   header; otherwise as `open(_:)`.
  public static func relink(
    _ file: any WritableStorage, to base: OverlayBase
  ) throws(DiskError) {
    try requireNoCommit(file)
    try tie(file, to: base)
  }

  /// As `relink`, in the middle of a commit too.
  ///
  /// - Parameter state: becomes the extension's word of state together with it; nil leaves that as it
  ///   is.
  static func tie(
    _ file: any WritableStorage, to base: OverlayBase, state: UInt64? = nil
  ) throws(DiskError) {
    try base.check()
    var header = try OverlayHeader(of: file)
    guard let old = header.base else {
      throw DiskError(.invalidRequest, "has no base", path: file.path)
    }
    header.base = base
    header.platter.files = base.identity
    if let state { header.platter.state = state }
    if header.hasRoomBeside(old) {
      try header.writeBeside(in: file)
    } else {
      header.platter = OverlayExtension(
        state: header.platter.state, exactSize: header.size, files: base.identity,
        roomForRecords: Int(header.geometry.clusterSize / 16))
      try file.write(try header.bytes(), at: 0)
      try file.flush()
    }
  }
}

extension OverlayHeader {
  private static let formatPlace: UInt64 = UInt64(byteCount) + 8

  /// Whether a new base can be written without touching the `old` one: the header is as Platter
  /// writes it, and the format's name takes as many words as before.
  fileprivate func hasRoomBeside(_ old: OverlayBase) -> Bool {
    guard let base else { return false }
    func words(_ text: String) -> Int { (text.utf8.count + 7) / 8 }
    let format = UInt64(words(old.format) * 8)
    return platterPlace == Self.formatPlace + format + 8 && words(base.format) == words(old.format)
      && platter.records.count <= platter.roomForRecords
      && [extensionsEnd, extensionsEnd + Self.roomForName].contains(namePlace)
      && extensionsEnd + 2 * Self.roomForName <= geometry.clusterSize
  }

  fileprivate mutating func writeBeside(in file: any WritableStorage) throws(DiskError) {
    guard let base else { return }
    platter.usesSecond.toggle()
    namePlace = namePlace == extensionsEnd ? extensionsEnd + Self.roomForName : extensionsEnd
    try file.write(platter.records, at: platterPlace + UInt64(platter.placeOfRecords))
    try file.write(Array(base.name.utf8), at: namePlace)
    try file.flush()
    var sector = try file.bytes(at: .start, count: SectorSet.size)
    sector.putBig(namePlace, at: 8)
    sector.putBig(UInt32(base.name.utf8.count), at: 16)
    sector.putBig(UInt32(base.format.utf8.count), at: Int(Self.formatPlace) - 4)
    sector.replaceSubrange(
      Int(Self.formatPlace)..<Int(Self.formatPlace) + base.format.utf8.count, with: base.format.utf8
    )
    let fixed = platter.fixed
    sector.replaceSubrange(Int(platterPlace)..<Int(platterPlace) + fixed.count, with: fixed)
    try file.write(sector, at: 0)
    try file.flush()
  }
}
