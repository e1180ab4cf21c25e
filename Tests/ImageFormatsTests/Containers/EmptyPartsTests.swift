import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Members, frames, blocks and padding that hold nothing, in great numbers: a file of a few megabytes that
/// takes long before it gives its first byte, or a hundred reads of the file to be opened.
@Suite(
  .serialized,
  .enabled(if: HostTools.has("gzip", "xz", "zstd", "bzip2", "lz4"), "a tool is missing"))
struct EmptyPartsTests {
  /// What holds nothing, and what makes the disk that is among it.
  struct Part: Sendable, CustomStringConvertible {
    let tool: String
    let bytes: [UInt8]
    /// Whether a frame of nothing comes first, because what is repeated begins no file.
    var isSkippable = false
    var description: String { "\(tool), \(bytes.count) bytes" }
  }

  static let skippable: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]
  static let parts = [
    // A fixed block of its end mark only.
    Part(tool: "gzip -nc", bytes: [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0] + zeros(8)),
    Part(
      tool: "bzip2 -c", bytes: Array("BZh9".utf8) + [0x17, 0x72, 0x45, 0x38, 0x50, 0x90] + zeros(4)),
    // One raw block of no bytes, the last one.
    Part(tool: "zstd -qc", bytes: [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0]),
    Part(tool: "zstd -qc", bytes: skippable, isSkippable: true),
    Part(tool: "lz4 -qc", bytes: [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82] + zeros(4)),
    Part(tool: "lz4 -qc", bytes: skippable, isSkippable: true),
  ]

  /// The same, larger.
  static let largeParts = [
    // An extra field of 1000 bytes.
    Part(
      tool: "gzip -nc",
      bytes: [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, 0xe8, 3] + zeros(1000) + [3, 0] + zeros(8)),
    parts[1],
    Part(
      tool: "zstd -qc", bytes: skippable.dropLast(4) + [0xe8, 3, 0, 0] + zeros(1000),
      isSkippable: true),
    Part(
      tool: "lz4 -qc", bytes: skippable.dropLast(4) + [0xe8, 3, 0, 0] + zeros(1000),
      isSkippable: true),
  ]

  private static func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

  /// `count` of them before and behind a disk.
  private func write(_ part: Part, _ count: Int, _ fixture: CompressedFixture) throws {
    try fixture.shell("\(part.tool) disk.img > one && \(part.tool) < /dev/null > none")
    let many = Array(repeatElement(part.bytes, count: count).joined())
    let first = part.isSkippable ? try fixture.bytes("none") : []
    let one = try fixture.bytes("one")
    try HostTools.write(first + many + one + many + one, to: fixture.path("packed"))
  }

  @Test(arguments: parts)
  func thousandsAreGoneThrough(_ part: Part) throws {
    try HostTools.withFolder { folder in
      let content = CompressedFixture.content(1_500_000, seed: 31)
      let fixture = try CompressedFixture(folder, content)
      try write(part, 10_000, fixture)
      let start = Self.threadTime
      let image = try fixture.open("packed")
      let all = try image.content
      let isRight = all == content + content
      #expect(isRight)
      #expect(Self.threadTime - start < 4, "seconds, \(part)")
    }
  }

  /// In seconds, of the thread that this is called on, whatever else the machine does.
  private static var threadTime: Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  @Test(arguments: largeParts)
  func tooManyAreAnError(_ part: Part) throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, ImageBytes.pattern(200_000, seed: 32))
      try write(
        part, (part.tool.hasPrefix("bzip2") ? 5 << 20 : 17 << 20) / part.bytes.count, fixture)
      let error = #expect(throws: DiskError.self) { try fixture.open("packed") }
      #expect(error?.kind == .malformed)
      #expect(error?.message.contains("bytes in a row hold nothing") == true)
      #expect(error?.offset.map { $0 < 18 << 20 } == true)
    }
  }

  /// A sparse file behind xz data: 1 TiB of what could be padding.
  @Test func paddingWithoutEnd() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, ImageBytes.pattern(1_300_000, seed: 33))
      try fixture.shell("xz -0c disk.img > packed && truncate -s 1T packed")
      let image = try fixture.open("packed", exact: false)
      #expect(image.disk.size == 1_300_000)
      let start = try image.disk.whole.bytes(at: .start, count: 1 << 20)
      #expect(start == Array(fixture.content[..<(1 << 20)]))
      #expect(image.notes.contains { $0.contains("zeros are behind the xz data") })
      #expect(throws: DiskError.self) { try fixture.open("packed") }
    }
  }
}
