public import DiskCore
public import ImageFormats

/// A stored overlay together with its base, opened for reading.
public struct OverlayOnBase: Sendable {
  public let overlay: StoredOverlay
  /// As the overlay recorded it.
  public let recorded: OverlayBase
  /// The overlay on its base.
  public let image: OpenImage

  /// - Parameters:
  ///   - path: of the base, in place of what the overlay names.
  ///   - allowedPaths: folders that the overlay and its base may name files in.
  /// - Throws: `invalidRequest` for an overlay without a base; what opening the base throws.
  public init(
    _ overlay: StoredOverlay, base path: String? = nil, allowedPaths: [String] = []
  ) throws(DiskError) {
    guard let recorded = overlay.info.base else {
      throw DiskError(
        .invalidRequest, "is a disk of its own and no overlay of anything", path: overlay.path)
    }
    self.overlay = overlay
    self.recorded = recorded
    image = try OpenImage(
      path: overlay.path,
      options: ImageOptions(
        format: "qcow2", parents: path.map { [$0] } ?? [], allowedPaths: allowedPaths))
    guard image.disk.layers.count > 1,
      image.disk.layers[0].files.first?.identity == overlay.file.identity
    else {
      throw DiskError(.inputOutput, "another file was found in its place", path: overlay.path)
    }
  }

  public var basePath: String { image.paths[1] }
  public var baseLayers: [any ImageLayer] { Array(image.disk.layers.dropFirst()) }
  public var baseFiles: [any Storage] { baseLayers.flatMap(\.files) }

  /// Locks the files of the base's chain: of those of its first layer as `use` says, the others for
  /// reading.
  ///
  /// - Throws: `busy` where somebody uses one in a way that does not go together with that.
  public func lockBase(_ use: ImageLock.Use) throws(DiskError) {
    for (index, layer) in baseLayers.enumerated() {
      for case let file as FileStorage in layer.files.flatMap(\.parts) {
        try ImageLock.take(index == 0 ? use : .read, on: file.descriptorNumber, path: file.path)
      }
    }
  }

  /// - Throws: `invalidRequest` where the base's disk is of another size than the overlay's.
  public func requireSameSize() throws(DiskError) {
    let size = baseLayers[0].size
    guard size == overlay.info.size else {
      throw OverlayBase.wrongSize(overlay.info.size, overlay.path, size, basePath)
    }
  }
}
