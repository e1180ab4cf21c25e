public import DiskCore
public import FileSystems
internal import Synchronization

/// An inode: an item of the tree with its number, for as long as the mount lives.
public final class Node: Sendable {
  public enum Content: Sendable {
    case directory(Directory)
    case file(Window)
    case link(String)
    case report(@Sendable () -> [UInt8])
    /// The root of a file system, whose items are no nodes: see `FileItem`.
    case files(FileTree)
  }

  public struct Entry: Sendable {
    public let name: String
    public let node: Node
  }

  public let id: UInt64
  /// The folder it is in; the root is its own.
  public let parent: UInt64
  private let current: Mutex<Content>
  private let allocated: AllocatedBytes

  init(id: UInt64, parent: UInt64, content: Content) {
    self.id = id
    self.parent = parent
    current = Mutex(content)
    allocated = AllocatedBytes()
  }

  public var content: Content { current.withLock { $0 } }

  /// Shows `window` from now on; false where it does so already, or is no file.
  func correct(_ window: Window) -> Bool {
    current.withLock { content in
      guard case .file(let shown) = content, !shown.isSame(as: window) else { return false }
      content = .file(window)
      return true
    }
  }

  public enum Kind: Sendable { case directory, file, link }

  public var kind: Kind {
    switch content {
    case .directory, .files: .directory
    case .file, .report: .file
    case .link: .link
    }
  }

  public var attributes: Attributes {
    switch content {
    case .directory, .files:
      return Attributes(permissions: 0o555, size: 0, allocatedBytes: 0)
    case .file(let window):
      return Attributes(
        permissions: window.disk.isWritable ? 0o644 : 0o444, size: window.size,
        allocatedBytes: allocated.of(window))
    case .link(let target):
      return Attributes(permissions: 0o777, size: UInt64(target.utf8.count), allocatedBytes: 0)
    case .report(let text):
      return Attributes(permissions: 0o444, size: UInt64(text().count), allocatedBytes: 0)
    }
  }

  /// False for what differs from look to look and must not be cached.
  public var isLasting: Bool {
    if case .report = content { false } else { true }
  }
}

extension Node {
  /// Whether it shows what `item` describes; a folder does from now on.
  func shows(_ item: TreeItem) -> Bool {
    switch (content, item.content) {
    case (.file(let mine), .file(let other)): return mine.isSame(as: other)
    case (.link(let mine), .link(let other)): return mine == other
    case (.report, .report): return true
    case (.files(let mine), .files(let other)):
      return mine.volume.window.isSame(as: other.volume.window)
    case (.directory(let directory), .directory(let list)):
      directory.replace(list)
      return true
    default: return false
    }
  }
}

/// What `stat` says of a node, but for owner and times, which are the mount's.
public struct Attributes: Sendable, Equatable {
  public let permissions: UInt32
  /// In bytes.
  public let size: UInt64
  /// In bytes; `st_blocks` in units of 512.
  public let allocatedBytes: UInt64
}
