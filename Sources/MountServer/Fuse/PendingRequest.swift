/// A request that is answered on another thread than it came on.
final class PendingRequest: @unchecked Sendable {
  // Touched by one thread after the other.
  private var request: FuseRequest?

  init(_ request: consuming FuseRequest) { self.request = consume request }

  /// Once.
  func take() -> FuseRequest? { request.take() }
}
