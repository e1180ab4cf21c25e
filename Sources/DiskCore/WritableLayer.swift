/// A layer whose content can be changed, in two steps: it says where new bytes go (*reserve*), the
/// engine writes them there, and then the layer's tables say so (*publish*).
///
/// Like a layer that is only read, it moves no bytes of the disk. `Disk.write` is the one caller; it
/// never has two reservations of one unit at a time.
public protocol WritableLayer: ImageLayer {
  /// The smallest piece that can go from "below" to "here", in bytes: a power of two. 1 where every
  /// byte has its place from the start.
  var unit: UInt64 { get }

  /// A place for up to `length` bytes of the disk from `offset` on.
  ///
  /// - Returns: a place for at least one of the bytes. What it reserves is nobody else's until
  ///   `publish` or `abandon`.
  /// - Throws: ENOSPC as `systemError` where there is no room; then nothing has changed.
  func reserve(at offset: DiskOffset, length: UInt64) throws(DiskError) -> Reservation

  /// The bytes are written: from now on `extent(at:limit:)` finds them.
  func publish(_ reservation: Reservation)

  /// The bytes could not be written.
  func abandon(_ reservation: Reservation)

  /// Makes a range read as zeros without storing them. Both ends are multiples of `unit`, or the
  /// disk's end.
  func discard(at offset: DiskOffset, length: UInt64) throws(DiskError)

  /// Returns when everything published before the call is on the disk and its tables say so.
  ///
  /// - Returns: a number for `reclaim(upTo:)`.
  func flush() throws(DiskError) -> UInt64

  /// No read that began before the flush that returned `generation` is still going on: the space
  /// that was given up before it may be used again.
  func reclaim(upTo generation: UInt64)
}

/// A place that a layer keeps for new bytes.
public struct Reservation: Sendable {
  public let storage: any WritableStorage
  /// Where the disk's bytes from `offset` on go.
  public let at: FileOffset
  /// Where in the disk.
  public let offset: DiskOffset
  /// How many bytes of what was asked for have their place here, at least 1.
  public let length: UInt64
  /// How many bytes of the disk just before `offset` the layer does not have and must get along with
  /// these, because they are of one unit with them.
  public let before: UInt64
  /// The same just behind.
  public let after: UInt64

  public init(
    _ storage: any WritableStorage, at: FileOffset, offset: DiskOffset, length: UInt64,
    before: UInt64 = 0, after: UInt64 = 0
  ) {
    self.storage = storage
    self.at = at
    self.offset = offset
    self.length = length
    self.before = before
    self.after = after
  }
}
