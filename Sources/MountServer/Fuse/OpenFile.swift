internal import DiskCore

/// What a file handle of the kernel's stands for. It lives from open to release and is reached
/// through the handle itself, so that a read looks nothing up.
final class OpenFile: Sendable {
  enum Content: Sendable {
    case window(Window)
    /// The text of a report as it was at open.
    case text([UInt8])
  }

  let content: Content

  init(_ content: Content) { self.content = content }

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
