public import DiskCore

extension Overlay {
  /// Throws every change away: the disk is the base again. Snapshots stay.
  ///
  /// New tables that map nothing are written behind all that is there, and one write of the file's
  /// first sector makes them the valid ones. Then the same is done once more at the file's start, and
  /// the rest is cut off. After a power cut at any point the file is as it was or empty.
  ///
  /// - Parameter file: an overlay that nobody has open.
  /// - Throws: `invalidRequest` after a commit that did not end; what reading the header and writing
  ///   throw: ENOSPC where there is no room for the new tables, about 0.5 MiB.
  public static func empty(_ file: any WritableStorage) throws(DiskError) {
    try requireNoCommit(file)
    try makeEmpty(file)
  }

  /// As `empty`, in the middle of a commit too, which it ends.
  static func makeEmpty(_ file: any WritableStorage) throws(DiskError) {
    let old = try OverlayStructure(
      withoutActiveStateOf: file, try OverlayHeader(of: file))
    let nothing = OverlayRewrite.Target(
      active: [UInt64](repeating: 0, count: old.l1.count), snapshots: old.snapshots)
    // What it holds is not looked at: it may be damaged.
    let behind = try OverlayRewrite(of: old, in: file, to: nothing, behindEverything: true)
    try behind.write(to: file)
    try behind.makeValid(in: file)
    let front = try OverlayRewrite(of: behind.result, in: file, to: nothing)
    try front.write(to: file)
    try front.makeValid(in: file)
    try front.trim(file)
    try writeState(0, to: file, at: old.header.statePlace)
  }
}
