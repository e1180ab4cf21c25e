public import DiskCore

extension Overlay {
  /// A named state of the disk that the file keeps beside the active one: a qcow2 internal snapshot.
  public struct SnapshotRecord: Sendable, Equatable {
    /// QEMU's number, counting up from 1.
    public let id: String
    public let name: String
    /// When it was taken, since 1970.
    public let seconds: Int
    public let nanoseconds: Int
    /// Of the disk then, in bytes.
    public let size: UInt64
  }

  // MARK: - A file that nobody has open

  public static func snapshots(in file: any Storage) throws(DiskError) -> [SnapshotRecord] {
    throw DiskError(.unsupported, "not there yet", path: file.path)
  }

  public static func createSnapshot(
    _ name: String, in file: any WritableStorage
  ) throws(DiskError) {
    throw DiskError(.unsupported, "not there yet", path: file.path)
  }

  public static func revert(_ file: any WritableStorage, to name: String) throws(DiskError) {
    throw DiskError(.unsupported, "not there yet", path: file.path)
  }

  public static func deleteSnapshot(
    _ name: String, in file: any WritableStorage
  ) throws(DiskError) {
    throw DiskError(.unsupported, "not there yet", path: file.path)
  }

  // MARK: - An open overlay

  // Reads may go on meanwhile; between `reserve` and `publish` or `abandon`, in `discard` and in
  // `close` nobody may be: the caller sees to that.

  public var snapshots: [SnapshotRecord] {
    get throws(DiskError) { throw DiskError(.unsupported, "not there yet", path: storage.path) }
  }

  public func createSnapshot(_ name: String) throws(DiskError) {
    throw DiskError(.unsupported, "not there yet", path: storage.path)
  }

  public func revert(to name: String) throws(DiskError) {
    throw DiskError(.unsupported, "not there yet", path: storage.path)
  }

  public func deleteSnapshot(_ name: String) throws(DiskError) {
    throw DiskError(.unsupported, "not there yet", path: storage.path)
  }
}
