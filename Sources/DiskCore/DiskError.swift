/// What went wrong with a disk image: one sentence for a person, and the facts for a program.
///
/// Made where the fact is known, carried unchanged, and turned into an errno only at the FUSE edge
/// and into one line only at the command line.
public struct DiskError: Error, Sendable {
  /// What a program can do about it; the sentence says the rest.
  public enum Kind: Sendable, Hashable {
    /// A file, a partition or a mount that does not exist.
    case notFound
    /// The system refused access.
    case permissionDenied
    /// The image contradicts itself or its format's specification.
    case malformed
    /// A valid image that this version cannot read.
    case unsupported
    /// Bytes that the image's tables promise are past the end of the file.
    case truncated
    /// The operating system failed; `systemError` says with which errno.
    case inputOutput
    /// Somebody else holds what is needed.
    case busy
    /// What was asked for cannot be done as asked: a wrong option or a place that does not fit.
    case invalidRequest
    /// The machine lacks something: a package, a device node.
    case unavailable
  }

  public let kind: Kind
  /// One sentence, without the path and without a full stop.
  public let message: String
  /// The file it is about.
  public let path: String?
  /// Where in that file, in bytes.
  public let offset: UInt64?
  /// The errno behind it, 0 where there was none.
  public let systemError: Int32
  /// What caused it one layer further down.
  public let underlying: (any Error)?

  public init(
    _ kind: Kind, _ message: String, path: String? = nil, offset: UInt64? = nil,
    systemError: Int32 = 0, underlying: (any Error)? = nil
  ) {
    self.kind = kind
    self.message = message
    self.path = path
    self.offset = offset
    self.systemError = systemError
    self.underlying = underlying
  }
}

extension DiskError: CustomStringConvertible {
  /// The one line that a person reads: `path: message (at byte N)`.
  public var description: String {
    var line = path.map { "\(printable($0)): " } ?? ""
    line += message
    if let offset { line += " (at byte \(offset))" }
    if let underlying { line += ": \(underlying)" }
    return line
  }
}
