public import DiskCore

/// A flat image that takes writes where its bytes are: every byte of the disk has its place in a file
/// from the start, and no table would have to change.
public final class InPlaceLayer: WritableLayer {
  /// Formats whose data nothing in the image speaks of: no table, no checksum.
  private static let formats: Set<String> = ["raw", "vhd", "vmdk"]

  /// How many pieces a flat image may consist of.
  private static let mostPieces = 4096

  private let layer: any ImageLayer
  /// The files as they are written to, by the files as they are read.
  private let writable: [ObjectIdentifier: WritableFileStorage]

  /// - Parameter layers: of the disk as it was opened.
  /// - Throws: `unsupported` for what is not flat, naming `--overlay`; `permissionDenied` for a file
  ///   that this user may not write to.
  public init(_ layers: [any ImageLayer]) throws(DiskError) {
    let layer = layers[0]
    let description = layer.description
    let path = layer.files.first?.path
    guard layers.count == 1, Self.formats.contains(description.format), layer.tableBytes == 0 else {
      let name = ([description.format] + [description.subformat].compactMap(\.self))
        .joined(separator: ", ")
      throw DiskError(
        .unsupported,
        "only flat images (raw, fixed VHD, flat VMDK) can be written to in place, and this is "
          + "\(layers.count > 1 ? "a chain (\(name))" : name); '--overlay FILE' keeps the changes "
          + "in a file of their own", path: path)
    }
    var writable: [ObjectIdentifier: WritableFileStorage] = [:]
    var place = DiskOffset.start
    var pieces = 0
    while place.bytes < layer.size {
      pieces += 1
      guard pieces <= Self.mostPieces, let piece = try Self.piece(of: layer, at: place) else {
        throw DiskError(
          .unsupported,
          "not all of the disk is stored in the image, so it cannot be written to in place; "
            + "'--overlay FILE' keeps the changes in a file of their own", path: path,
          offset: place.bytes)
      }
      if writable[ObjectIdentifier(piece.file)] == nil {
        writable[ObjectIdentifier(piece.file)] = try WritableFileStorage(reopening: piece.file)
      }
      place = place + piece.length
    }
    self.layer = layer
    self.writable = writable
  }

  /// The file that the bytes from `offset` on are in; nil where they are in none.
  private static func piece(
    of layer: any ImageLayer, at offset: DiskOffset
  ) throws(DiskError) -> (file: FileStorage, at: FileOffset, length: UInt64)? {
    let rest = layer.size - offset.bytes
    let extent = try layer.extent(at: offset, limit: rest)
    guard case .stored(let storage, let at) = extent.place else { return nil }
    let length = min(rest, extent.length)
    if let file = storage as? FileStorage {
      guard at.bytes < file.size, length <= file.size - at.bytes else { return nil }
      return (file, at, length)
    }
    guard let row = storage as? ConcatenatedStorage, at.bytes < row.size else { return nil }
    let part = row.part(at: at)
    guard let file = part.storage as? FileStorage else { return nil }
    return (file, part.at, min(length, part.length))
  }

  public var size: UInt64 { layer.size }
  public var tableBytes: UInt64 { 0 }
  public var files: [any Storage] { layer.files }
  public var description: LayerDescription { layer.description }
  public var unit: UInt64 { 1 }

  public func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    try layer.extent(at: offset, limit: limit)
  }

  public func reserve(at offset: DiskOffset, length: UInt64) throws(DiskError) -> Reservation {
    guard let piece = try Self.piece(of: layer, at: offset),
      let file = writable[ObjectIdentifier(piece.file)]
    else {
      throw DiskError(.inputOutput, "the image has no place for it", offset: offset.bytes)
    }
    return Reservation(file, at: piece.at, offset: offset, length: min(length, piece.length))
  }

  public func publish(_ reservation: Reservation) {}
  public func abandon(_ reservation: Reservation) {}

  public func discard(at offset: DiskOffset, length: UInt64) throws(DiskError) {
    var done: UInt64 = 0
    while done < length {
      let place = try reserve(at: offset + done, length: length - done)
      try place.storage.punch(at: place.at, length: place.length)
      done += place.length
    }
  }

  /// Nothing is given up, so there is nothing to use again.
  public func flush() throws(DiskError) -> UInt64 {
    for file in writable.values { try file.flush() }
    return 0
  }

  public func reclaim(upTo generation: UInt64) {}
}
