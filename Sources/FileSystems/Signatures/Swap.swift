internal import DiskCore

extension FileSystemSignature {
  /// Linux swap space: ten characters at the end of the first page, whatever the page size of the
  /// machine that made it (linux/swap.h, `union swap_header`).
  static func swap(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    for pageSize in [4096, 8192, 16384, 32768, 65536] as [UInt64] {
      guard let signature = try? source.reader(at: pageSize - 10, count: 10) else { return nil }
      if signature.matches("SWAP-SPACE", at: 0) { return FileSystemSignature(type: "swap") }
      if signature.matches("SWAPSPACE2", at: 0) { return try swapVersion1(source) }
    }
    return nil
  }

  /// The header after the first 1024 bytes, in the byte order of the machine that made it.
  private static func swapVersion1(
    _ source: SignatureSource
  ) throws(DiskError) -> FileSystemSignature? {
    let header = try source.reader(at: 1024, count: 44)
    let version = try header.u32(at: 0)
    guard version == 1 || version.byteSwapped == 1, try header.u32(at: 4) != 0 else { return nil }
    return FileSystemSignature(
      type: "swap", label: try header.label(at: 28, count: 16),
      uuid: try header.uuidIfSet(at: 12))
  }
}
