public import DiskCore

/// A file system inside a window, read-only: it says what there is and where a file's bytes are, and
/// the engine reads them, as for a layer of a disk.
///
/// A driver keeps no folder in memory and makes no name safe: `FileTree` does both for all of them.
/// Every number that it reads can be hostile. Safe to call from any thread at once.
public protocol FileSystem: AnyObject, Sendable {
  /// The name that `blkid` uses, as in `FileSystemSignature.type`.
  var type: String { get }

  /// The folder that everything else is in.
  var root: ItemID { get }

  /// What `info` and the log may say: damage that was worked around, the name space that was chosen.
  var notes: [String] { get }

  /// What `stat` says of an item.
  ///
  /// - Throws: `malformed` or `truncated` where its record is damaged.
  func attributes(of item: ItemID) throws(DiskError) -> FileAttributes

  /// Calls `visit` for what is in a folder, in the order in which it is stored, without `.` and `..`,
  /// with names as they are stored. Stops when `visit` returns false.
  ///
  /// - Throws: `malformed` where the folder is damaged, after everything before the damage was visited.
  func forEachEntry(
    of folder: ItemID, _ visit: (FolderEntry) -> Bool
  ) throws(DiskError)

  /// What two names have in common that lead to the same item: the name itself, unless the file system
  /// takes no notice of case.
  func lookupKey(of name: FileName) -> FileName

  /// Where a symbolic link leads, as stored.
  func target(of link: ItemID) throws(DiskError) -> FileName

  /// Where a file's bytes are.
  func content(of file: ItemID) throws(DiskError) -> any FileContent

  /// What the names of extended attributes here can begin with: `user.`.
  var attributeNameSpaces: [String] { get }

  /// Extended attributes, with the name space in front: `user.comment`. Empty where there are none.
  func extendedAttributes(of item: ItemID) throws(DiskError) -> [ExtendedAttribute]
}

extension FileSystem {
  public func lookupKey(of name: FileName) -> FileName { name }
  public var attributeNameSpaces: [String] { [] }
  public func extendedAttributes(of item: ItemID) throws(DiskError) -> [ExtendedAttribute] { [] }
}

/// Where the bytes of one file are.
///
/// Made when the file is opened; it may keep what it learns of the file's runs.
public protocol FileContent: AnyObject, Sendable {
  /// In bytes.
  var size: UInt64 { get }

  /// Where the bytes at `offset` are: `zero` for a hole, `Volume.extent` for what is stored,
  /// `encoded` for what is compressed, never `below`.
  ///
  /// - Parameters:
  ///   - offset: in the file; less than `size`.
  ///   - limit: how many bytes the caller cares for, at least 1; the answer may be shorter or longer.
  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent
}

/// A file system's own number for something in it: an inode, the place of a directory record. The same
/// each time that the image is opened, and at most `ItemID.largest`.
public struct ItemID: Hashable, Sendable {
  public let number: UInt64

  /// 48 bits: what is above tells the file systems of one mount apart.
  public static let largest: UInt64 = 1 << 48 - 1

  public init(_ number: UInt64) { self.number = number }
}

/// A name or a link's target as stored: bytes, which are UTF-8 where the file system says so or the
/// driver has made them so. Linux takes any bytes but `/` and NUL, so nothing is lost on the way.
public struct FileName: Hashable, Sendable {
  public let bytes: [UInt8]

  public init(_ bytes: [UInt8]) { self.bytes = bytes }
  public init(_ text: String) { bytes = Array(text.utf8) }

  /// For people; bad UTF-8 is replaced.
  public var text: String { String(decoding: bytes, as: UTF8.self) }
}

public struct FolderEntry: Sendable {
  public let name: FileName
  public let item: ItemID
  /// Without looking at the item itself, for `readdir`.
  public let kind: FileKind
  /// Another name by which it is found and which is not listed: the short one that FAT has beside a long
  /// one.
  public let alias: FileName?

  public init(_ name: FileName, _ item: ItemID, _ kind: FileKind, alias: FileName? = nil) {
    self.name = name
    self.item = item
    self.kind = kind
    self.alias = alias
  }
}

public enum FileKind: Sendable, Hashable {
  case file, folder, link, characterDevice, blockDevice, pipe, socket
}

public struct FileAttributes: Sendable, Equatable {
  public var kind: FileKind
  /// In bytes; of a link the length of its target.
  public var size: UInt64
  /// In bytes, for `st_blocks`.
  public var allocatedBytes: UInt64
  /// The lower twelve bits of the mode; nil where the file system keeps none.
  public var permissions: UInt16?
  /// Nil where the file system keeps none: then the mount's owner.
  public var user: UInt32?
  public var group: UInt32?
  public var links: UInt32
  /// Nil where the file system keeps none.
  public var modified: FileTime?
  public var accessed: FileTime?
  /// When the item's metadata last changed.
  public var changed: FileTime?
  public var created: FileTime?
  /// The same for all names of one item (`st_ino`); nil where its `ItemID` is that.
  public var serial: UInt64?
  /// Of a device: major and minor number.
  public var device: (major: UInt32, minor: UInt32) { (major, minor) }
  public var major: UInt32 = 0
  public var minor: UInt32 = 0

  public init(
    _ kind: FileKind, size: UInt64 = 0, allocatedBytes: UInt64? = nil, permissions: UInt16? = nil,
    user: UInt32? = nil, group: UInt32? = nil, links: UInt32 = 1, modified: FileTime? = nil
  ) {
    self.kind = kind
    self.size = size
    self.allocatedBytes = allocatedBytes ?? size
    self.permissions = permissions
    self.user = user
    self.group = group
    self.links = links
    self.modified = modified
  }
}

/// A moment, counted from 1970-01-01 00:00 UTC.
public struct FileTime: Sendable, Equatable, Comparable {
  public let seconds: Int64
  /// Less than 1,000,000,000.
  public let nanoseconds: UInt32

  public init(seconds: Int64, nanoseconds: UInt32 = 0) {
    self.seconds = seconds
    self.nanoseconds = min(nanoseconds, 999_999_999)
  }

  public static func < (a: FileTime, b: FileTime) -> Bool {
    (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds)
  }
}

public struct ExtendedAttribute: Sendable, Equatable {
  public let name: String
  public let value: [UInt8]

  public init(_ name: String, _ value: [UInt8]) {
    self.name = name
    self.value = value
  }
}
