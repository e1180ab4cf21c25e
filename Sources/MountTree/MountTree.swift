public import DiskCore
internal import FileSystems
internal import Synchronization

/// Names and inodes of one mount: what stands where. It knows nothing of FUSE and nothing of disks;
/// what it shows is described to it as `TreeItem`s.
public final class MountTree: Sendable {
  /// The kernel's number for the root of every FUSE mount.
  public static let rootID: UInt64 = 1

  private struct Inodes: Sendable {
    var nodes: [UInt64: Node] = [:]
    var last = MountTree.rootID
    /// The file systems; the number of the first is 1.
    var volumes: [FileTree] = []

    /// The inode number of the root of `files`; nil where there were too many in the life of this mount.
    mutating func add(_ files: FileTree) -> UInt64? {
      guard volumes.count < 0xFFFF else { return nil }
      volumes.append(files)
      return UInt64(volumes.count) << FileItem.ownBits
    }
  }

  private let inodes = Mutex(Inodes())

  /// - Parameter root: a directory, or a file where the mount stands in a regular file's place.
  public init(root: TreeItem.Content) {
    let node = makeNode(root, id: Self.rootID, parent: Self.rootID)
    inodes.withLock { inodes in
      inodes.nodes[Self.rootID] = node
      // The kernel calls it 1, whatever it is.
      if case .files(let files) = root { _ = inodes.add(files) }
    }
  }

  /// Nil for a number that was never given out.
  public func node(_ id: UInt64) -> Node? { inodes.withLock { $0.nodes[id] } }

  /// What is inside a file system; nil for the tree's own nodes.
  public func item(_ id: UInt64) -> FileItem? {
    let volume = Int(id >> FileItem.ownBits)
    return inodes.withLock { inodes in
      if volume == 0 {
        guard id == Self.rootID, case .files(let files) = inodes.nodes[id]?.content else {
          return nil
        }
        return FileItem(1 << FileItem.ownBits, in: files)
      }
      guard volume <= inodes.volumes.count else { return nil }
      return FileItem(id, in: inodes.volumes[volume - 1])
    }
  }

  /// The entry called `name` in `directory`; nil where there is none, or where that is no directory.
  ///
  /// - Throws: what kept the directory from being listed.
  public func lookup(_ name: String, in directory: Node) throws(DiskError) -> Node? {
    guard case .directory(let entries) = directory.content else { return nil }
    // By bytes, as the kernel compares: to == a letter and its decomposed form are one.
    return try entries.get().first { $0.name.utf8.elementsEqual(name.utf8) }?.node
  }

  /// From now on the root, which must be a directory, holds what `list` gives. What has the same name
  /// and shows the same as before keeps its inode; the others live on for those who have them open.
  public func replaceRoot(_ list: @escaping TreeItem.List) {
    guard case .directory(let directory) = node(Self.rootID)?.content else { return }
    directory.replace(list)
  }

  /// The root's files that have the names of these, or the root itself where it is a file, show these windows from
  /// now on, to those who have them open as well.
  ///
  /// - Returns: the inodes that showed another one.
  public func correct(_ windows: [(name: String, window: Window)]) throws(DiskError) -> [UInt64] {
    guard let root = node(Self.rootID) else { return [] }
    var corrected: [UInt64] = []
    for (name, window) in windows {
      let node = root.kind == .file ? root : try lookup(name, in: root)
      if let node, node.correct(window) { corrected.append(node.id) }
    }
    return corrected
  }

  private func makeNode(_ content: TreeItem.Content, id: UInt64, parent: UInt64) -> Node {
    switch content {
    case .file(let window): Node(id: id, parent: parent, content: .file(window))
    case .link(let target): Node(id: id, parent: parent, content: .link(target))
    case .report(let text): Node(id: id, parent: parent, content: .report(text))
    case .files(let files): Node(id: id, parent: parent, content: .files(files))
    case .directory(let list):
      Node(
        id: id, parent: parent,
        content: .directory(
          Directory(list) { [weak self] items, known in
            self?.adopt(items, known, into: id) ?? []
          }))
    }
  }

  private func adopt(
    _ items: [TreeItem], _ known: [Node.Entry], into directory: UInt64
  ) -> [Node.Entry] {
    items.compactMap { item in
      if let old = known.first(where: { $0.name.utf8.elementsEqual(item.name.utf8) }),
        old.node.shows(item)
      {
        return old
      }
      return inodes.withLock { inodes in
        if case .files(let files) = item.content {
          guard let id = inodes.add(files) else { return nil }
          return Node.Entry(
            name: item.name, node: makeNode(item.content, id: id, parent: directory))
        }
        inodes.last += 1
        let node = makeNode(item.content, id: inodes.last, parent: directory)
        inodes.nodes[node.id] = node
        return Node.Entry(name: item.name, node: node)
      }
    }
  }
}
