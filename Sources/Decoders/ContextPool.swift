internal import Synchronization

/// A C library's contexts: each is used by one call at a time, and kept for the next.
@safe final class ContextPool: Sendable {
  @safe private struct Context: @unchecked Sendable {
    let pointer: OpaquePointer
  }

  private let idle = Mutex<[Context]>([])
  private let make: @Sendable () -> OpaquePointer?
  private let free: @Sendable (OpaquePointer) -> Void

  init(
    make: @escaping @Sendable () -> OpaquePointer?,
    free: @escaping @Sendable (OpaquePointer) -> Void
  ) {
    unsafe self.make = make
    unsafe self.free = free
  }

  deinit {
    idle.withLock { idle in
      for unused in idle { unsafe free(unused.pointer) }
    }
  }

  /// Nil where there is no memory for a context.
  func withContext<Result>(_ body: (OpaquePointer) -> Result) -> Result? {
    var context = idle.withLock { $0.popLast() }
    if context == nil, let pointer = unsafe make() { context = unsafe Context(pointer: pointer) }
    guard let context else { return nil }
    defer { idle.withLock { $0.append(context) } }
    return unsafe body(context.pointer)
  }
}

/// What is wrong with a compressed block, for the caller who knows where it is.
public enum DecodingFailure: Error {
  /// It is none of its format, its checksum is wrong, or it ends too early.
  case damaged
  /// It holds more than the block may.
  case tooLong
  /// Decoding it needs more memory than is given to it.
  case tooLarge
  /// It uses what this library does not know.
  case unknownMethod
  /// All of it was given, but its checksum is wrong; only from decoders that can tell.
  case wrongChecksum
}
