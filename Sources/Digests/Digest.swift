internal import CCrypto
public import DiskCore

/// A message digest being computed by libcrypto.
@safe public final class Digest {
  public enum Algorithm: String, Sendable, CaseIterable {
    case sha256, sha1, md5
  }

  public let algorithm: Algorithm
  private let context: OpaquePointer?

  /// - Throws: `unavailable` where this libcrypto refuses the algorithm (as one in FIPS mode does
  ///   with MD5).
  public init(_ algorithm: Algorithm) throws(DiskError) {
    self.algorithm = algorithm
    unsafe context = EVP_MD_CTX_new()
    let method =
      switch algorithm {
      case .sha256: unsafe EVP_sha256()
      case .sha1: unsafe EVP_sha1()
      case .md5: unsafe EVP_md5()
      }
    guard unsafe EVP_DigestInit_ex(context, method, nil) == 1 else {
      throw DiskError(.unavailable, "this machine's libcrypto refuses \(algorithm.rawValue)")
    }
  }

  deinit { unsafe EVP_MD_CTX_free(context) }

  public func update(_ bytes: RawSpan) {
    _ = unsafe bytes.withUnsafeBytes { bytes in
      unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }
  }

  /// The digest's bytes; the last call.
  public func finish() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    unsafe EVP_DigestFinal_ex(context, &bytes, &count)
    return Array(bytes.prefix(Int(count)))
  }

  /// The digest of a few bytes; fails as `init` does.
  public static func of(_ bytes: [UInt8], _ algorithm: Algorithm) throws(DiskError) -> [UInt8] {
    let digest = try Digest(algorithm)
    unsafe digest.update(bytes.span.bytes)
    return digest.finish()
  }
}
