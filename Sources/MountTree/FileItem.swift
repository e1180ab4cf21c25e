internal import DiskCore
public import FileSystems

/// Something inside a file system that the mount shows. It is its number, nothing of it is kept: the
/// kernel can remember millions of them.
public struct FileItem: Sendable {
  /// How many bits of an inode number are the file system's own.
  static let ownBits: UInt64 = 48

  public let files: FileTree
  /// Nil for the root, which is known without opening the file system.
  private let number: ItemID?
  /// What tells this file system from the others of the mount, in the upper bits.
  private let base: UInt64

  init(_ id: UInt64, in files: FileTree) {
    self.files = files
    base = id & ~ItemID.largest
    number = id & ItemID.largest == 0 ? nil : ItemID(id & ItemID.largest)
  }

  private init(_ item: ItemID, of other: FileItem) {
    files = other.files
    base = other.base
    number = item
  }

  /// - Throws: what keeps the file system from being opened.
  public var item: ItemID {
    get throws(DiskError) {
      if let number { return number }
      return try files.root()
    }
  }

  /// The inode number that the kernel knows it by.
  public var id: UInt64 { base | (number?.number ?? 0) }

  /// An entry of this folder.
  public func child(_ item: ItemID) -> FileItem { FileItem(item, of: self) }

  /// The number that `stat` shows, the same for all names of one item.
  ///
  /// - Parameter serial: as in `FileAttributes.serial`.
  public func shownNumber(_ serial: UInt64?) -> UInt64 {
    serial.map { base | $0 & ItemID.largest } ?? id
  }
}
