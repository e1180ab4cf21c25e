public import DiskCore
public import FileSystems

/// Something that a mount shows, described before it has an inode.
public struct TreeItem: Sendable {
  public typealias List = @Sendable () throws(DiskError) -> [TreeItem]

  public enum Content: Sendable {
    /// Listed when somebody first looks inside, so that nothing is read for a folder that nobody
    /// opens.
    case directory(List)
    /// A view of a disk's bytes.
    case file(Window)
    /// A symbolic link, relative to its folder.
    case link(String)
    /// Text that is made anew each time it is opened.
    case report(@Sendable () -> [UInt8])
    /// The folders and files of a file system.
    case files(FileTree)
  }

  public let name: String
  public let content: Content

  public init(_ name: String, _ content: Content) {
    self.name = name
    self.content = content
  }
}
