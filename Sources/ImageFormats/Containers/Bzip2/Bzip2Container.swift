internal import Decoders
internal import DiskCore

/// bzip2 files, of one or more streams.
struct Bzip2Container: ContainerFormat {
  var name: String { "bzip2" }

  /// `BZh`, the level, and a block or the end of a stream of none.
  func fits(_ head: ByteReader) -> Bool {
    Bzip2Cursor.level(in: head.bytes, at: 0) != nil
      && [Bzip2Bits.blockMagic, Bzip2Bits.endMagic].contains(
        Bzip2Bits.number(at: 32, Bzip2Bits.magicBits, in: head.bytes))
  }

  /// Each block is an entry point: decoding one takes 20 ms, and none needs what is before it.
  func open(_ source: any Storage) throws(DiskError) -> ContainedStream {
    ContainedStream(Bzip2Codec(source: source), EntryPoints(spacing: 1), size: .unknown)
  }
}

/// Entry points are where blocks begin, in bits; the detail is the stream's checksum so far and, in the
/// lowest byte, its level.
struct Bzip2Codec: StreamCodec {
  let source: any Storage

  var cursorMemory: Int { Bzip2Stream.memory + 2 * Bzip2Cursor.longestBlock / 8 }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    Bzip2Cursor(source, at: point, points, findings)
  }
}
