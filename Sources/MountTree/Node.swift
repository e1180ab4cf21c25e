public import DiskCore

/// An inode: an item of the tree with its number, for as long as the mount lives.
public final class Node: Sendable {
  public enum Content: Sendable {
    case directory(Lazy<[Entry]>)
    case file(Window)
    case link(String)
    case report(@Sendable () -> [UInt8])
  }

  public struct Entry: Sendable {
    public let name: String
    public let node: Node
  }

  public let id: UInt64
  /// The folder it is in; the root is its own.
  public let parent: UInt64
  public let content: Content
  /// Nothing on a read-only mount changes it, and counting can mean a walk over a table.
  private let allocated: Lazy<UInt64>

  init(id: UInt64, parent: UInt64, content: Content) {
    self.id = id
    self.parent = parent
    self.content = content
    allocated = Lazy {
      guard case .file(let window) = content else { return 0 }
      return window.allocatedBytes()
    }
  }

  public enum Kind: Sendable { case directory, file, link }

  public var kind: Kind {
    switch content {
    case .directory: .directory
    case .file, .report: .file
    case .link: .link
    }
  }

  public var attributes: Attributes {
    switch content {
    case .directory:
      return Attributes(permissions: 0o555, size: 0, allocatedBytes: 0)
    case .file(let window):
      return Attributes(
        permissions: 0o444, size: window.size,
        allocatedBytes: (try? allocated.get()) ?? window.size)
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

/// What `stat` says of a node, but for owner and times, which are the mount's.
public struct Attributes: Sendable, Equatable {
  public let permissions: UInt32
  /// In bytes.
  public let size: UInt64
  /// In bytes; `st_blocks` in units of 512.
  public let allocatedBytes: UInt64
}
