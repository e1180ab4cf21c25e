internal import CDeflate

/// CRC-32 as gzip, xz and PNG have it (RFC 1952, section 8), by libdeflate.
public enum CRC32 {
  /// Of `bytes` that follow others, whose checksum is `crc`; 0 for none.
  public static func of(_ bytes: RawSpan, after crc: UInt32 = 0) -> UInt32 {
    unsafe bytes.withUnsafeBytes { bytes in
      // For no bytes the pointer can be null, for which libdeflate gives the initial value.
      unsafe bytes.isEmpty ? crc : libdeflate_crc32(crc, bytes.baseAddress, bytes.count)
    }
  }

  public static func of(_ bytes: [UInt8]) -> UInt32 { of(unsafe bytes.span.bytes) }
}
