/// Stored bytes that can be changed. Safe to call from any thread at once; of writes to one place at
/// one time either can win.
public protocol WritableStorage: Storage {
  /// Writes all of `bytes` from `offset` on; past the end the storage grows.
  ///
  /// - Throws: what the system says, `systemError` among it: ENOSPC where the disk is full. Some of
  ///   the bytes can have been written then.
  func write(_ bytes: RawSpan, at offset: FileOffset) throws(DiskError)

  /// Returns when everything that was written before the call is on the disk.
  func flush() throws(DiskError)

  /// Cuts the end off, or adds zeros to it.
  func resize(to size: UInt64) throws(DiskError)

  /// Makes `length` bytes read as zeros, giving their space back where the file system can.
  func punch(at offset: FileOffset, length: UInt64) throws(DiskError)
}
