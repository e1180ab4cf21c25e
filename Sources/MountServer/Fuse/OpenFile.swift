internal import DiskCore
internal import MountTree
internal import Synchronization

/// What a file handle of the kernel's stands for. It lives from open to release and is reached
/// through the handle itself, so that a read looks nothing up.
final class OpenFile: Sendable {
  enum Content: Sendable {
    case window(Window)
    /// What this node shows: a window whose size can still be corrected.
    case provisional(Node)
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
  /// For a handle whose opener believes that the file was emptied (`O_TRUNC`).
  private let written = Mutex<WrittenRanges?>(nil)
  /// Whether there is such a belief: asked at each write, where many threads would queue for the lock.
  private let isEmptied = Atomic<Bool>(false)

  init(_ content: Content, isCached: Bool = true, view: View? = nil) {
    self.content = content
    self.isCached = isCached
    self.view = view
  }

  /// What it shows; nil for a text.
  var window: Window? {
    switch content {
    case .window(let window): return window
    case .provisional(let node):
      guard case .file(let window) = node.content else { return nil }
      return window
    case .text: return nil
    }
  }

  /// Whether it still shows `window`.
  func shows(_ window: Window) -> Bool {
    guard case .provisional = content else { return true }
    return self.window?.isSame(as: window) ?? false
  }

  /// It was opened with `O_TRUNC`.
  func wasEmptied() {
    written.withLock { $0 = WrittenRanges() }
    isEmptied.store(true, ordering: .releasing)
  }

  func willWrite(_ range: Range<UInt64>) {
    guard isEmptied.load(ordering: .acquiring) else { return }
    written.withLock { $0?.add(range) }
  }

  /// What its opener skipped and expects to be zeros, each time once.
  func takeGaps() -> [Range<UInt64>] {
    written.withLock { written in
      let gaps = written?.gaps ?? []
      for gap in gaps { written?.add(gap) }
      return gaps
    }
  }

  /// Whether its opener can believe that the file has this size, of a window of `limit` bytes; from now
  /// on what is missing to that size was skipped.
  func accepts(size: UInt64, limit: UInt64) -> Bool {
    written.withLock { written in
      guard let end = written?.end, end <= size, size <= limit else { return false }
      written?.addEnd(size)
      return true
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
