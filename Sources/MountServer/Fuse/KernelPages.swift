internal import CFuse
internal import MountTree
internal import Synchronization

/// The kernel's pages of a mount's files, from our side: to tell it which are stale.
@safe final class KernelPages: Sendable {
  /// The session's address, 0 before it starts and after it ends.
  private let session = Atomic<UInt>(0)

  func attach(_ session: OpaquePointer) {
    self.session.store(UInt(bitPattern: session), ordering: .releasing)
  }

  func detach() { session.store(0, ordering: .releasing) }

  /// The kernel writes back what it holds of these pages and forgets them. Waits for pages that are
  /// being read or written, so never to be called on a thread that serves requests.
  func drop(_ pages: [ViewCaches.StalePages]) {
    for stale in pages {
      drop(stale.node, from: Int(stale.range.lowerBound), count: stale.range.count)
    }
  }

  /// All pages of a file.
  func dropAll(of node: UInt64) { drop(node, from: 0, count: 0) }

  /// Size, times and the like.
  func forgetAttributes(of node: UInt64) { drop(node, from: -1, count: 0) }

  /// Gives all bytes of a file that nobody can change, before they are asked for. Waits for pages that are being read,
  /// so never to be called on a thread that serves requests.
  ///
  /// - Returns: whether the kernel took them: it does not where it does not know the file (yet).
  func give(_ bytes: [UInt8], of node: UInt64) -> Bool {
    guard
      let session = unsafe OpaquePointer(bitPattern: session.load(ordering: .acquiring))
    else { return false }
    return unsafe bytes.withUnsafeBytes { bytes in
      unsafe platter_fuse_notify_store(session, node, bytes.baseAddress, bytes.count) == 0
    }
  }

  private func drop(_ node: UInt64, from start: Int, count: Int) {
    guard
      let session = unsafe OpaquePointer(bitPattern: session.load(ordering: .acquiring))
    else { return }
    // What the kernel has forgotten already is ENOENT.
    unsafe fuse_lowlevel_notify_inval_inode(session, node, off_t(start), off_t(count))
  }
}
