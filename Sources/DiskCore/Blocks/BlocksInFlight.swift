internal import Glibc

/// How many blocks are decoded at once: so many bytes of them, and one whatever its size.
///
/// Who waits has begun nothing, so nobody waits for him. Who is decoding a block already and needs
/// another one for that, of a container around the image, does not wait: what he has begun others wait
/// for.
final class BlocksInFlight: Sendable {
  /// In decoded bytes: eight blocks of a stream.
  private static let most = 8 << 20

  private let turns = Turns(0)
  private let memory: DecodingMemory

  init(_ memory: DecodingMemory) { self.memory = memory }

  /// Runs `body`, which decodes a block of so many bytes, when it is its turn.
  func decoding<Result>(
    _ bytes: Int, _ body: () throws(DiskError) -> Result
  ) throws(DiskError) -> Result {
    guard !Self.isInside else { return try body() }
    // A block in flight cannot leave the cache; there must be others that can.
    let most = min(Self.most, memory.forBlocks / 2)
    turns.wait { inFlight in
      guard inFlight == 0 || inFlight + bytes <= most else { return false }
      inFlight += bytes
      return true
    }
    Self.isInside = true
    defer {
      Self.isInside = false
      turns.change { $0 -= bytes }
    }
    return try body()
  }

  private static let key: pthread_key_t = {
    var key: pthread_key_t = 0
    unsafe pthread_key_create(&key, nil)
    return key
  }()

  /// Whether this thread is decoding a block.
  private static var isInside: Bool {
    get { unsafe pthread_getspecific(key) != nil }
    set { unsafe pthread_setspecific(key, UnsafeRawPointer(bitPattern: newValue ? 1 : 0)) }
  }
}
