internal import CZstd

/// A few kilobytes that are kept in memory by the thousand, made small by zstd at its fastest level.
public struct PackedBytes: Sendable, Equatable {
  /// A frame whose size is in its header.
  public let packed: [UInt8]

  /// Nothing.
  public init() { packed = [] }

  /// Takes what was packed before; nothing is checked until it is unpacked.
  public init(packed: [UInt8]) { self.packed = packed }

  public init(_ bytes: [UInt8]) {
    guard !bytes.isEmpty else {
      packed = []
      return
    }
    let bound = ZSTD_compressBound(bytes.count)
    let result = unsafe [UInt8](unsafeUninitializedCapacity: bound) { target, count in
      let result = unsafe bytes.withUnsafeBytes { bytes in
        unsafe ZSTD_compress(target.baseAddress, bound, bytes.baseAddress, bytes.count, 1)
      }
      count = ZSTD_isError(result) == 0 ? result : 0
    }
    // Without the room that was not needed.
    packed = unsafe result.withUnsafeBufferPointer { bytes in unsafe Array(bytes) }
  }

  public var isEmpty: Bool { packed.isEmpty }

  /// - Parameter most: how many bytes there can be.
  /// - Throws: `damaged`, also for more than `most`.
  public func bytes(atMost most: Int) throws(DecodingFailure) -> [UInt8] {
    guard !packed.isEmpty else { return [] }
    let result = unsafe [UInt8](unsafeUninitializedCapacity: most) { target, count in
      let result = unsafe packed.withUnsafeBytes { packed in
        unsafe ZSTD_decompress(target.baseAddress, most, packed.baseAddress, packed.count)
      }
      count = ZSTD_isError(result) == 0 ? result : 0
    }
    guard !result.isEmpty else { throw .damaged }
    return result
  }
}
