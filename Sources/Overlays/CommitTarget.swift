internal import DiskCore
internal import Glibc
internal import ImageFormats

/// What a commit writes into.
enum CommitTarget: Sendable {
  /// A flat image, where its bytes are.
  case flat(any WritableLayer)
  /// A qcow2 file, by its tables, and what lies below it.
  case qcow2(any WritableStorage, below: [any ImageLayer], OverlayTuning = OverlayTuning())

  /// The base of an overlay; changes nothing.
  ///
  /// - Throws: `unsupported` for a base that takes no changes, saying what does; `permissionDenied` for
  ///   a file that this user may not write to.
  init(_ opened: OverlayOnBase) throws(DiskError) {
    let layers = opened.baseLayers
    let description = layers[0].description
    if description.format == "qcow2", let file = layers[0].files.first as? FileStorage {
      try OverlayHeader(of: file, as: .base).requireNoCommit(file.path)
      try Self.requireFile(file)
      self = .qcow2(try WritableFileStorage(reopening: file), below: Array(layers.dropFirst()))
      return
    }
    do throws(DiskError) {
      self = .flat(try InPlaceLayer(layers))
    } catch  where error.kind == .unsupported {
      let kind = ([description.format] + [description.subformat].compactMap(\.self))
        .joined(separator: ", ")
      throw DiskError(
        .unsupported,
        "only qcow2 and flat images (raw, fixed VHD, flat VMDK) take changes, and the base "
          + "'\(printable(opened.basePath))' is \(layers.count > 1 ? "a chain of others" : kind); "
          + "'platter cat \(shellWord(opened.overlay.path)) > NEW.img' makes a new image of both",
        path: opened.overlay.path)
    }
  }

  /// A qcow2 file grows and is cut, which a device cannot.
  private static func requireFile(_ file: FileStorage) throws(DiskError) {
    var status = stat()
    guard unsafe fstat(file.descriptorNumber, &status) == 0 else {
      throw DiskError(system: errno, "cannot be looked at", path: file.path)
    }
    guard status.st_mode & Glibc.S_IFMT == Glibc.S_IFREG else {
      throw DiskError(
        .unsupported, "is a qcow2 image on a device, which cannot grow", path: file.path)
    }
  }

  /// How the base's own files are used. Those below it are read.
  var use: ImageLock.Use {
    switch self {
    case .flat: .write
    case .qcow2: .writeAndResize
    }
  }

  /// Whether the base's file changes only where the changed bytes of the disk are.
  var isFlat: Bool {
    if case .flat = self { true } else { false }
  }

  /// Looks for damage that would keep it from being written to, before anything is changed.
  ///
  /// - Throws: `malformed` where its tables or counts are not right.
  func check() throws(DiskError) {
    guard case .qcow2(let file, _, let tuning) = self else { return }
    _ = try Overlay.open(UnchangedStorage(file), tuning, as: .base)
  }

  /// Gives `body` the base's disk. When it returns, all that `body` wrote is safe from a power cut.
  ///
  /// - Throws: what opening, writing or `body` throws. What was written until then can be there.
  func write(_ body: (Disk) throws(DiskError) -> Void) throws(DiskError) {
    switch self {
    case .flat(let layer):
      let disk = try Disk(layers: [layer])
      try body(disk)
      try disk.flush()
    case .qcow2(let file, let below, let tuning):
      let writer = try Overlay.open(file, tuning, as: .base)
      do throws(DiskError) {
        try body(try Disk(layers: [writer] + below))
      } catch {
        // So that no cluster is counted that nothing refers to; where this fails too, the next one
        // that opens it sees to that.
        try? writer.close()
        throw error
      }
      try writer.close()
    }
  }
}

/// A file that is opened as for writing and stays as it is.
private final class UnchangedStorage: WritableStorage {
  private let file: any WritableStorage

  init(_ file: any WritableStorage) { self.file = file }

  var path: String { file.path }
  var size: UInt64 { file.size }
  var identity: FileIdentity? { file.identity }
  var allocatedBytes: UInt64 { file.allocatedBytes }
  var modificationTime: (seconds: Int, nanoseconds: Int) { file.modificationTime }

  func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    try file.read(at: offset, into: &buffer)
  }

  func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    try file.region(at: offset, limit: limit)
  }

  func write(_ bytes: RawSpan, at offset: FileOffset) throws(DiskError) {}
  func flush() throws(DiskError) {}
  func resize(to size: UInt64) throws(DiskError) {}
  func punch(at offset: FileOffset, length: UInt64) throws(DiskError) {}
}
