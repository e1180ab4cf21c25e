/// A cloop image of version 2.0. Its blocks are zlib streams (RFC 1950) of stored blocks (RFC 1951,
/// section 3.2.4), which need no compressor.
public struct CloopBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public var blockSize: UInt32
  /// Each `blockSize` long.
  public var blocks: [[UInt8]]
  /// In place of the stream of a block.
  public var streams: [Int: [UInt8]] = [:]
  public var editHeader: Edit = { _ in }
  /// Of the table of offsets.
  public var editTable: Edit = { _ in }

  public init(blockSize: UInt32, blocks: [[UInt8]]) {
    self.blockSize = blockSize
    self.blocks = blocks
  }

  public static let tableOffset = 136

  public var bytes: [UInt8] {
    var header = ImageBytes(count: 136)
    header.put(
      "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n",
      at: 0)
    header.putBig(blockSize, at: 128)
    header.putBig(UInt32(blocks.count), at: 132)
    editHeader(&header)
    var table = ImageBytes(count: 8 * (blocks.count + 1))
    var data: [UInt8] = []
    for index in blocks.indices {
      table.putBig(UInt64(Self.tableOffset + table.count + data.count), at: 8 * index)
      data += streams[index] ?? Self.zlib(blocks[index])
    }
    table.putBig(UInt64(Self.tableOffset + table.count + data.count), at: 8 * blocks.count)
    editTable(&table)
    return header.bytes + table.bytes + data
  }

  /// `content` as a zlib stream.
  public static func zlib(_ content: [UInt8]) -> [UInt8] {
    var stream: [UInt8] = [0x78, 0x01]
    var rest = content[...]
    repeat {
      let piece = rest.prefix(65_535)
      rest = rest.dropFirst(65_535)
      let count = UInt16(piece.count)
      stream.append(rest.isEmpty ? 1 : 0)
      for value in [count, ~count] { stream += [UInt8(value & 0xFF), UInt8(value >> 8)] }
      stream += piece
    } while !rest.isEmpty
    var (a, b): (UInt32, UInt32) = (1, 0)
    for byte in content {
      a = (a + UInt32(byte)) % 65_521
      b = (b + a) % 65_521
    }
    return stream + [UInt8(b >> 8), UInt8(b & 0xFF), UInt8(a >> 8), UInt8(a & 0xFF)]
  }
}
