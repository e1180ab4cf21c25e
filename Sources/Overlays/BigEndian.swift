internal import DiskCore

// All numbers in a qcow2 file are big-endian.

extension [UInt8] {
  mutating func appendBig<Value: FixedWidthInteger>(_ value: Value) {
    for shift in stride(from: Value.bitWidth - 8, through: 0, by: -8) {
      append(UInt8(truncatingIfNeeded: value >> Value(shift)))
    }
  }

  /// Replaces what stands at `offset`, which lies wholly inside.
  mutating func putBig<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
    let width = Value.bitWidth / 8
    for index in 0..<width {
      self[offset + index] = UInt8(truncatingIfNeeded: value >> Value((width - 1 - index) * 8))
    }
  }

  /// Zeros up to the next multiple of 8 bytes.
  mutating func padToEight() {
    while !count.isMultiple(of: 8) { append(0) }
  }
}

/// Entries of a table as they stand in the file.
func bigEndianBytes(_ words: ArraySlice<UInt64>) -> [UInt8] {
  let count = words.count * 8
  return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
    let raw = UnsafeMutableRawBufferPointer(buffer)
    var place = 0
    for word in words {
      unsafe raw.storeBytes(of: word.bigEndian, toByteOffset: place, as: UInt64.self)
      place += 8
    }
    used = count
  }
}

extension WritableStorage {
  func write(_ bytes: [UInt8], at offset: UInt64) throws(DiskError) {
    try unsafe write(bytes.span.bytes, at: FileOffset(offset))
  }

  /// Writes zeros, so that the space is there: a hole would have to be filled later, when the disk
  /// can be full.
  func writeZeros(at offset: UInt64, count: UInt64) throws(DiskError) {
    let zeros = [UInt8](repeating: 0, count: Int(Swift.min(count, 1 << 20)))
    var done: UInt64 = 0
    while done < count {
      let piece = Int(Swift.min(count - done, UInt64(zeros.count)))
      try unsafe write(zeros.span.bytes.extracting(0..<piece), at: FileOffset(offset + done))
      done += UInt64(piece)
    }
  }
}
