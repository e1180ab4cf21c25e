internal import Decoders
internal import DiskCore

/// CRC-32 as gzip has it, for `RecordedChecksum`.
struct CRC32Sum: RunningChecksum {
  private(set) var value: UInt32 = 0

  mutating func add(_ bytes: RawSpan) { value = CRC32.of(bytes, after: value) }
}
