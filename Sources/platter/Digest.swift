internal import CCrypto
internal import DiskCore

/// A message digest being computed by libcrypto.
@safe final class Digest {
  enum Algorithm: String, Sendable, CaseIterable {
    case sha256, sha1, md5
  }

  let algorithm: Algorithm
  private let context: OpaquePointer?

  /// - Throws: `unavailable` where this libcrypto refuses the algorithm (as one in FIPS mode does
  ///   with MD5).
  init(_ algorithm: Algorithm) throws(DiskError) {
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

  func update(_ bytes: RawSpan) {
    _ = unsafe bytes.withUnsafeBytes { bytes in
      unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }
  }

  /// In lower-case hexadecimal; the last call.
  func finish() -> String {
    var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    unsafe EVP_DigestFinal_ex(context, &bytes, &count)
    return bytes.prefix(Int(count)).map(hexadecimal).joined()
  }
}
