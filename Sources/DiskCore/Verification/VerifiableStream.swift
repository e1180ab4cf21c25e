/// Storage whose bytes are decoded from a stream, and that can go through the whole stream to check it.
public protocol VerifiableStream: Storage {
  /// The container's name: `gzip`.
  var streamName: String { get }

  /// Decodes everything from the stored file, trusting nothing that was found out before, and checks every
  /// checksum on the way.
  ///
  /// - Parameters:
  ///   - findings: takes what is checked and what is damaged.
  ///   - workers: decode beside the caller what can be decoded by itself.
  ///   - advance: is told of each piece how many decoded bytes it has, from any thread.
  func verify(
    _ findings: StreamFindings, _ workers: Workers, advance: @escaping @Sendable (UInt64) -> Void)
}
