internal import DiskCore

/// The records that folders have in their parents: libisofs puts a folder's extended attributes there,
/// and only the root's into its record of itself.
final class ISOFolderRecords: Sendable {
  /// Of one parent, so that a made-up one does not fill the memory.
  private static let mostFolders = 1 << 16
  /// `ls -lR` is in one folder after the other.
  private static let keptParents = 2

  private let volume: ISOVolume
  /// Where the record of each folder in a parent is, by where the folder's extent starts.
  private let records: LoadCache<UInt64, [UInt64: UInt64]>

  /// - Parameter root: where the root folder is, in bytes.
  /// - Returns: nil where the root has no such attributes: a disc that libisofs made with extended
  ///   attributes has some there, of its own.
  init?(root: UInt64, _ names: ISONames, _ volume: ISOVolume) {
    guard case .rockRidge(let area) = names,
      let record = try? ISODirectoryRecord(ofFolderAt: root, volume)
    else { return nil }
    var hasAttributes = false
    // What was found before damage counts.
    try? area.forEachEntry(of: record, skipping: 0) { (entry) throws(DiskError) in
      hasAttributes = hasAttributes || entry.signature == .arbitrary
    } goOn: {
      !hasAttributes
    }
    guard hasAttributes else { return nil }
    self.volume = volume
    records = LoadCache(capacity: Self.keptParents) { (parent) throws(DiskError) in
      try Self.records(inFolderAt: parent, volume)
    }
  }

  /// The record of a folder in its parent; nil where it has none there.
  ///
  /// - Parameter own: the folder's record of itself.
  func record(ofFolder own: ISODirectoryRecord) throws(DiskError) -> ISODirectoryRecord? {
    let parent = try ISODirectoryRecord(at: own.position + UInt64(own.length), volume)
    guard parent.isParent,
      let place = try records.value(of: parent.section.start)[own.position]
    else { return nil }
    return try ISODirectoryRecord(at: place, volume)
  }

  private static func records(
    inFolderAt position: UInt64, _ volume: ISOVolume
  ) throws(DiskError) -> [UInt64: UInt64] {
    var found: [UInt64: UInt64] = [:]
    do throws(DiskError) {
      try ISODirectory(volume: volume).forEachRecord(ofFolderAt: position) { record in
        if record.isFolder, !record.isSelf, !record.isParent {
          found[record.section.start] = record.position
        }
        return found.count < mostFolders
      }
    } catch {
      // Its listing says so.
      guard !found.isEmpty else { throw error }
    }
    return found
  }
}
