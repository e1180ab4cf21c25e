/// A compressed disc image: CSO version 1 or 2, or ZSO (maxcso's README_CSO.md and README_ZSO.md).
public struct CSOBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  /// How a block is stored.
  public enum Coding: Sendable {
    case plain
    case deflate
    case lz4
    /// These bytes, marked in the index or not.
    case given(bytes: [UInt8], marked: Bool)
  }

  public var magic = "CISO"
  public var version: UInt8 = 1
  public var shift: UInt8 = 0
  public var blockSize: UInt32
  /// Of the disc.
  public var content: [UInt8]
  /// One for each block; what is missing is deflated, or LZ4 in a ZSO.
  public var codings: [Int: Coding] = [:]
  public var editHeader: Edit = { _ in }
  public var editIndex: Edit = { _ in }
  /// What stands between blocks where the index is in units of more than a byte.
  public var padding: UInt8 = 0
  /// Whether there is padding behind the last block too; the index rounds its end down otherwise.
  public var padsEnd = true

  public init(_ magic: String = "CISO", version: UInt8 = 1, blockSize: UInt32, content: [UInt8]) {
    self.magic = magic
    self.version = version
    self.blockSize = blockSize
    self.content = content
  }

  public var blockCount: Int { (content.count + Int(blockSize) - 1) / Int(blockSize) }

  public func block(_ index: Int) -> [UInt8] {
    let start = index * Int(blockSize)
    return Array(content[start..<min(content.count, start + Int(blockSize))])
  }

  private func stored(_ index: Int) -> (bytes: [UInt8], marked: Bool) {
    let block = block(index)
    switch codings[index] ?? (magic == "ZISO" ? .lz4 : .deflate) {
    case .plain: return (block, version != 2)
    case .deflate: return (CompressedBytes.deflate(block), false)
    case .lz4: return (CompressedBytes.lz4(block), version == 2)
    case .given(let bytes, let marked): return (bytes, marked)
    }
  }

  public var bytes: [UInt8] {
    var header = ImageBytes(count: 24)
    header.put(magic, at: 0)
    header.putLittle(24 as UInt32, at: 4)
    header.putLittle(UInt64(content.count), at: 8)
    header.putLittle(blockSize, at: 16)
    header.put([version, shift], at: 20)
    editHeader(&header)
    var index = ImageBytes(count: 4 * (blockCount + 1))
    var data: [UInt8] = []
    let unit = 1 << Int(shift)
    func end() -> Int { 24 + index.count + data.count }
    for number in 0..<blockCount {
      while end() % unit != 0 { data.append(padding) }
      let (bytes, marked) = stored(number)
      index.putLittle(UInt32(end() >> Int(shift)) | (marked ? 1 << 31 : 0), at: 4 * number)
      data += bytes
    }
    if padsEnd { while end() % unit != 0 { data.append(padding) } }
    index.putLittle(UInt32(end() >> Int(shift)), at: 4 * blockCount)
    editIndex(&index)
    return header.bytes + index.bytes + data
  }
}
