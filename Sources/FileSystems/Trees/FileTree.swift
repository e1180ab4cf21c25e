public import DiskCore
internal import Synchronization

/// The files of one volume as everything above sees them: folders with safe names, kept while there is
/// room, and files that are read like disks.
///
/// On a disk that is written to, the file system is opened again after a write: what is shown is what is
/// stored.
public final class FileTree: Sendable {
  private struct Opened: Sendable {
    let changes: UInt64
    let fileSystem: Lazy<any FileSystem>
    let folders: FolderCache
  }

  public let volume: Volume
  private let opened: Mutex<Opened>
  private let open: @Sendable (Volume) throws(DiskError) -> any FileSystem

  /// The files in a window, opened when somebody first asks for them.
  ///
  /// - Parameter open: what opens the file system, and again after each write to the disk.
  public init(
    _ volume: Volume,
    open: @escaping @Sendable (Volume) throws(DiskError) -> any FileSystem = FileTree.open
  ) {
    self.volume = volume
    self.open = open
    opened = Mutex(Self.opening(volume, open))
  }

  /// The file system in `volume`, by what is stored there.
  ///
  /// - Throws: `unsupported` where it is none that can be read.
  public static func open(_ volume: Volume) throws(DiskError) -> any FileSystem {
    guard let found = try FileSystemRegistry.open(volume) else {
      throw DiskError(
        .unsupported, "there is no file system here whose files can be read",
        path: volume.storage.path)
    }
    return found
  }

  /// The file system as it is now.
  ///
  /// - Throws: what kept it from being opened.
  public func fileSystem() throws(DiskError) -> any FileSystem {
    try current().fileSystem.get()
  }

  public func root() throws(DiskError) -> ItemID { try fileSystem().root }

  public func attributes(of item: ItemID) throws(DiskError) -> FileAttributes {
    try fileSystem().attributes(of: item)
  }

  /// What is in a folder.
  ///
  /// - Throws: where nothing of it can be read; see `Folder.damage` for the rest.
  public func folder(_ item: ItemID) throws(DiskError) -> Folder {
    let opened = current()
    let fileSystem = try opened.fileSystem.get()
    return try opened.folders.folder(item, of: fileSystem)
  }

  /// What is called `name` in a folder; nil where nothing is.
  ///
  /// - Throws: where that cannot be known, because the folder is damaged.
  public func lookUp(_ name: FileName, in folder: ItemID) throws(DiskError) -> FolderEntry? {
    let opened = current()
    let fileSystem = try opened.fileSystem.get()
    let content = try opened.folders.folder(folder, of: fileSystem)
    if let entry = content.entry(withKey: fileSystem.lookupKey(of: name)) { return entry }
    if let damage = content.damage { throw damage }
    return nil
  }

  /// A file's bytes, as a window that is read like a disk.
  public func content(of file: ItemID) throws(DiskError) -> Window {
    let content = try fileSystem().content(of: file)
    return try Disk(ContentLayer(content, of: volume), within: volume.window.disk).whole
  }

  public func target(of link: ItemID) throws(DiskError) -> FileName {
    try fileSystem().target(of: link)
  }

  /// Whether anything here can have an extended attribute of this name.
  public func canHaveAttribute(_ name: String) throws(DiskError) -> Bool {
    try fileSystem().attributeNameSpaces.contains { name.hasPrefix($0) }
  }

  public func extendedAttributes(of item: ItemID) throws(DiskError) -> [ExtendedAttribute] {
    try fileSystem().extendedAttributes(of: item)
  }

  private func current() -> Opened {
    opened.withLock { opened in
      if opened.changes != volume.window.disk.changes { opened = Self.opening(volume, open) }
      return opened
    }
  }

  private static func opening(
    _ volume: Volume, _ open: @escaping @Sendable (Volume) throws(DiskError) -> any FileSystem
  ) -> Opened {
    Opened(
      changes: volume.window.disk.changes,
      fileSystem: Lazy { () throws(DiskError) in try open(volume) }, folders: FolderCache())
  }
}
