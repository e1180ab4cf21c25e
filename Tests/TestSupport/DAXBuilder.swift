/// A DAX image, as DAX Creator lays one out: header, offsets, lengths, uncompressed areas, frames.
public struct DAXBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public static let frameBytes = 8192

  public var version: UInt32 = 0
  /// Of the disc.
  public var content: [UInt8]
  /// The first frame of each area and how many it has.
  public var areas: [(frame: UInt32, count: UInt32)] = []
  /// In place of the stream of a frame.
  public var streams: [Int: [UInt8]] = [:]
  /// Of the header and what stands before the frames.
  public var edit: Edit = { _ in }

  public init(content: [UInt8], areas: [(frame: UInt32, count: UInt32)] = []) {
    self.content = content
    self.areas = areas
    version = areas.isEmpty ? 0 : 1
  }

  public var frameCount: Int { (content.count + Self.frameBytes - 1) / Self.frameBytes }

  public func frame(_ index: Int) -> [UInt8] {
    let start = index * Self.frameBytes
    return Array(content[start..<min(content.count, start + Self.frameBytes)])
  }

  /// Where the frames start.
  public var dataOffset: Int { 32 + 6 * frameCount + 8 * areas.count }

  public var bytes: [UInt8] {
    var head = ImageBytes(count: dataOffset)
    head.put("DAX\0", at: 0)
    head.putLittle(UInt32(content.count), at: 4)
    head.putLittle(version, at: 8)
    head.putLittle(UInt32(areas.count), at: 12)
    var data: [UInt8] = []
    for index in 0..<frameCount {
      let isPlain = areas.contains { area in
        (Int(area.frame)..<Int(area.frame) + Int(area.count)).contains(index)
      }
      let stream = streams[index] ?? (isPlain ? frame(index) : CloopBuilder.zlib(frame(index)))
      head.putLittle(UInt32(head.count + data.count), at: 32 + 4 * index)
      head.putLittle(
        UInt16(isPlain ? Self.frameBytes : stream.count), at: 32 + 4 * frameCount + 2 * index)
      data += stream
    }
    for (index, area) in areas.enumerated() {
      head.putLittle(area.frame, at: 32 + 6 * frameCount + 8 * index)
      head.putLittle(area.count, at: 32 + 6 * frameCount + 8 * index + 4)
    }
    edit(&head)
    return head.bytes + data
  }
}
