public import DiskCore
internal import ImageFormats

/// An overlay as it is stored, looked at without its base and without a change to it.
public struct StoredOverlay: Sendable {
  /// A range of the disk that the overlay holds: neighbours of one kind are one.
  public struct Held: Sendable, Equatable {
    public internal(set) var range: Range<UInt64>
    /// It reads as zeros; otherwise its bytes are stored.
    public let isZero: Bool
  }

  public let path: String
  public let info: Overlay.Info
  public let file: any Storage
  private let layer: any ImageLayer

  /// - Throws: `malformed` or `unsupported` for what is no overlay.
  public init(path: String) throws(DiskError) { try self.init(FileStorage(path: path)) }

  init(_ file: any Storage) throws(DiskError) {
    self.file = file
    path = file.path
    info = try Overlay.info(of: file)
    layer = try QCOW2Format().open(file, .none).layers[0]
  }

  /// Whether another program has it open for writing. Where nobody has, nobody can begin to until
  /// this value is gone.
  public func isInUse() throws(DiskError) -> Bool {
    guard let file = file as? FileStorage else { return false }
    do throws(DiskError) {
      try ImageLock.take(.read, on: file.descriptorNumber, path: path)
      return false
    } catch {
      guard error.kind == .busy else { throw error }
      return true
    }
  }

  /// Calls `visit` for what the overlay holds of `part` of the disk, in order.
  ///
  /// - Throws: what reading the tables or `visit` throws.
  public func forEachHeld(
    in part: Range<UInt64>? = nil, _ visit: (Held) throws(DiskError) -> Void
  ) throws(DiskError) {
    let part = (part ?? 0..<info.size).clamped(to: 0..<info.size)
    var place = part.lowerBound
    var open: Held? = nil
    while place < part.upperBound {
      let rest = part.upperBound - place
      let extent = try layer.extent(at: DiskOffset(place), limit: rest)
      let range = place..<place + min(rest, max(1, extent.length))
      place = range.upperBound
      guard let isZero = try isZero(extent) else { continue }
      if let last = open, last.isZero == isZero, last.range.upperBound == range.lowerBound {
        open?.range = last.range.lowerBound..<range.upperBound
        continue
      }
      if let open { try visit(open) }
      open = Held(range: range, isZero: isZero)
    }
    if let open { try visit(open) }
  }

  /// Nil where the overlay holds nothing.
  private func isZero(_ extent: Extent) throws(DiskError) -> Bool? {
    switch extent.place {
    case .below: nil
    // A disk of its own reads as zeros where it holds nothing.
    case .zero: info.base == nil ? nil : true
    case .stored, .encoded: false
    case .unreadable(let error): throw error
    }
  }

  /// How many bytes of the disk the overlay holds, and how many of these are zeros.
  public func heldBytes() throws(DiskError) -> (all: UInt64, zeros: UInt64) {
    var all: UInt64 = 0
    var zeros: UInt64 = 0
    try forEachHeld { held in
      all += UInt64(held.range.count)
      if held.isZero { zeros += UInt64(held.range.count) }
    }
    return (all, zeros)
  }
}
