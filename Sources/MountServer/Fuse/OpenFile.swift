internal import DiskCore
internal import MountTree
internal import Synchronization

/// What a file handle of the kernel's stands for. It lives from open to release and is reached
/// through the handle itself, so that a read looks nothing up.
final class OpenFile: Sendable {
  enum Content: Sendable {
    case window(Window)
    /// The text of a report as it was at open.
    case text([UInt8])
  }

  /// A view of a disk that can change.
  struct View: Sendable {
    /// Its inode.
    let node: UInt64
    let opening: ViewCaches.Opening
    let isWritable: Bool
  }

  let content: Content
  /// Whether the kernel keeps pages of what is read through it.
  let isCached: Bool
  /// Nil for what nobody can change.
  let view: View?
  /// Whether something was written since the handle was last closed by one of its holders.
  let hasNews = Atomic<Bool>(false)
  /// For a handle whose opener believes that the file was emptied (`O_TRUNC`): where the bytes end that
  /// it has written. What it skips must read as zeros.
  let emptied: Mutex<UInt64?>

  init(_ content: Content, isCached: Bool = true, view: View? = nil, isEmptied: Bool = false) {
    self.content = content
    self.isCached = isCached
    self.view = view
    emptied = Mutex(isEmptied ? 0 : nil)
  }

  /// What must become zeros before `range` is written.
  func gap(before range: Range<UInt64>) -> Range<UInt64>? {
    emptied.withLock { end in
      guard let seen = end else { return nil }
      end = max(seen, range.upperBound)
      return seen < range.lowerBound ? seen..<range.lowerBound : nil
    }
  }

  /// The handle to give to the kernel, which then owns the file until `release(handle:)`.
  func makeHandle() -> UInt64 {
    unsafe UInt64(UInt(bitPattern: Unmanaged.passRetained(self).toOpaque()))
  }

  static func of(handle: UInt64) -> OpenFile? {
    guard let pointer = unsafe UnsafeRawPointer(bitPattern: UInt(handle)) else { return nil }
    return unsafe Unmanaged<OpenFile>.fromOpaque(pointer).takeUnretainedValue()
  }

  static func release(handle: UInt64) {
    guard let pointer = unsafe UnsafeRawPointer(bitPattern: UInt(handle)) else { return }
    unsafe Unmanaged<OpenFile>.fromOpaque(pointer).release()
  }
}
