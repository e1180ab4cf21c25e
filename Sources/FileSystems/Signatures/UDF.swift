internal import DiskCore

extension FileSystemSignature {
  /// UDF, also where ISO 9660 shares the disc with it (ECMA-167, parts 2 and 3, and OSTA UDF 2.60).
  ///
  /// The recognition sequence at 32 KiB says that it is ECMA-167; the anchor, in block 256 or 512,
  /// gives the block size by where it is found; the descriptors that it names have the rest.
  static func udf(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    for blockSize in [512, 1024, 2048, 4096] as [UInt64] {
      guard try isRecognized(source, descriptorSize: max(2048, blockSize)) else { continue }
      for block in [256, 512] as [UInt32] {
        let anchor = try? source.reader(at: UInt64(block) * blockSize, count: 512)
        guard let anchor, try tag(anchor) == 2, try anchor.u32(at: 12) == block else { continue }
        return try volume(
          source, blockSize: blockSize, first: try anchor.u32(at: 20),
          count: UInt64(try anchor.u32(at: 16)) / blockSize)
      }
    }
    return nil
  }

  /// Whether the volume recognition sequence has an NSR descriptor (ECMA-167, 2/8.3 and 2/9.1). It
  /// ends with the first sector that is none of its kinds.
  private static func isRecognized(
    _ source: SignatureSource, descriptorSize: UInt64
  ) throws(DiskError) -> Bool {
    let others: [StaticString] = ["BEA01", "BOOT2", "CD001", "CDW02", "TEA01"]
    for index in 0..<64 as Range<UInt64> {
      let descriptor = try source.reader(at: 0x8000 + index * descriptorSize, count: 6)
      if descriptor.matches("NSR02", at: 1) || descriptor.matches("NSR03", at: 1) { return true }
      guard others.contains(where: { descriptor.matches($0, at: 1) }) else { return false }
    }
    return false
  }

  /// Walks the volume descriptor sequence from block `first` on. It has six kinds of descriptors;
  /// 64 blocks are more than any disc has.
  private static func volume(
    _ source: SignatureSource, blockSize: UInt64, first: UInt32, count: UInt64
  ) throws(DiskError) -> FileSystemSignature? {
    var found = FileSystemSignature(type: "udf")
    var isUDF = false
    for index in 0..<min(count, 64) {
      let block = UInt64(first) + index
      guard let descriptor = try? source.reader(at: block * blockSize, count: 512),
        try UInt64(descriptor.u32(at: 12)) == block
      else { break }
      switch try tag(descriptor) {
      case 1 where found.uuid == nil && hasUDFCharacters(descriptor, at: 200):
        found.uuid = try dstring(descriptor, at: 72, size: 128).flatMap(identifier)
      case 6:
        isUDF = isUDF || descriptor.matches("*OSTA UDF Compliant", at: 217)
        guard found.label == nil, hasUDFCharacters(descriptor, at: 20) else { continue }
        found.label = try dstring(descriptor, at: 84, size: 128).flatMap(labelText)
      case 0, 8:
        return isUDF ? found : nil
      default:
        continue
      }
    }
    return isUDF ? found : nil
  }

  private static func tag(_ descriptor: ByteReader) throws(DiskError) -> UInt16 {
    try descriptor.u16(at: 0)
  }

  private static func hasUDFCharacters(_ descriptor: ByteReader, at offset: Int) -> Bool {
    descriptor.matches([0], at: offset)
      && descriptor.matches("OSTA Compressed Unicode", at: offset + 1)
  }

  /// A dstring of OSTA Compressed Unicode (UDF 2.60, sections 2.1.1 and 2.1.3): 8 or 16 bits a
  /// character, the length of it all in the last byte.
  private static func dstring(
    _ descriptor: ByteReader, at offset: Int, size: Int
  ) throws(DiskError) -> String? {
    let length = min(Int(try descriptor.u8(at: offset + size - 1)), size - 1)
    switch (try descriptor.u8(at: offset), length) {
    case (8, 1...):
      let characters = try descriptor.slice(at: offset + 1, count: length - 1)
      let codes = characters.prefix { $0 != 0 }.map { UInt16($0) }
      return String(decoding: codes, as: UTF16.self)
    case (16, 1...):
      return try descriptor.utf16(at: offset + 1, units: (length - 1) / 2, .big)
    default:
      return nil
    }
  }

  /// What `blkid` makes of a volume set identifier, whose first 16 characters should be unique and
  /// hexadecimal (UDF 2.60, section 2.2.2.5): those in lower case; what is not hexadecimal is spelt
  /// out byte by byte, from the ninth on or as a whole.
  private static func identifier(_ volumeSet: String) -> String? {
    let bytes = Array(volumeSet.utf8.prefix(16))
    guard bytes.count >= 8 else { return nil }
    let isDigit: (UInt8) -> Bool = {
      (0x30...0x39).contains($0) || (0x41...0x46).contains($0) || (0x61...0x66).contains($0)
    }
    let digits = bytes.prefix(while: isDigit).count
    let text = { (bytes: ArraySlice<UInt8>) in String(decoding: bytes, as: UTF8.self).lowercased() }
    let spelt = { (bytes: [UInt8]) in bytes.map { hexadecimal($0) }.joined() }
    if digits < 8 { return spelt(Array(bytes.prefix(8))) }
    if digits < 16 {
      let rest = bytes.dropFirst(8) + [0, 0, 0, 0]
      return text(bytes.prefix(8)) + spelt(Array(rest.prefix(4)))
    }
    return text(bytes[...])
  }
}
