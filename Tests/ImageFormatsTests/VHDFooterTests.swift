import DiskCore
import ImageFormats
import TestSupport
import Testing

/// Which of a dynamic disk's two footers is used.
@Suite struct VHDFooterTests {
  private static let copyNote =
    "the footer at the end of the file is missing or damaged; its copy at the start was used"

  private static let dynamic: VHDBuilder = {
    var builder = VHDBuilder(.dynamic, size: 40_960)
    builder.blockSize = 4096
    builder.blocks = [3: ImageBytes.pattern(4096, seed: 3), 9: ImageBytes.pattern(4096, seed: 9)]
    return builder
  }()

  private func check(_ image: OpenedImage, notes: [String]) throws {
    #expect(image.notes == notes)
    #expect(try image.all == Self.dynamic.content(0..<40_960))
  }

  @Test(arguments: [511, 512]) func good(_ length: Int) throws {
    var builder = Self.dynamic
    builder.footerLength = length
    try check(OpenedImage(builder), notes: [])
  }

  @Test func copyDamagedDoesNotMatter() throws {
    var builder = Self.dynamic
    builder.damageCopy = { $0.put([UInt8](repeating: 0xEE, count: 512), at: 0) }
    try check(OpenedImage(builder), notes: [])
  }

  /// Its cookie, a field, its checksum, its type.
  @Test(arguments: [0, 50, 64, 63]) func footerDamaged(_ place: Int) throws {
    var builder = Self.dynamic
    builder.damageFooter = { $0.put([$0.bytes[place] ^ 0x41], at: place) }
    try check(OpenedImage(builder), notes: [Self.copyNote])
  }

  @Test func footerGone() throws {
    var bytes = Self.dynamic.file.bytes
    bytes.removeLast(512)
    try check(OpenedImage(MemoryStorage(bytes)), notes: [Self.copyNote])
  }

  @Test func bothDamaged() throws {
    var builder = Self.dynamic
    builder.damageFooter = { $0.put([0xEE], at: 70) }
    builder.damageCopy = { $0.put([0xEE], at: 70) }
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder) }
    #expect(error?.kind == .malformed && error?.offset == builder.file.size - 512)
    #expect(error?.message == "the VHD footer's checksum is wrong and there is no copy")
    // Only the copy's cookie is left.
    builder.damageFooter = { $0.put([UInt8](repeating: 0, count: 512), at: 0) }
    let other = #expect(throws: DiskError.self) { try OpenedImage(builder) }
    #expect(other?.message == noFooter)
  }

  @Test func dynamicHeaderWithAWrongChecksumIsSaid() throws {
    var builder = Self.dynamic
    builder.damageHeader = { $0.put([0xEE], at: 1000) }
    try check(OpenedImage(builder), notes: ["the checksum of the dynamic disk header is wrong"])
  }

  /// What is cut off cannot be read; the rest can.
  @Test func truncatedFile() throws {
    let bytes = Self.dynamic.file.bytes
    // Block 9 is the last one: its data is all but the footer's 512 bytes at the end.
    let image = try OpenedImage(MemoryStorage(Array(bytes.dropLast(512 + 1000)), path: "cut.vhd"))
    #expect(image.notes == [Self.copyNote])
    #expect(try image.bytes(0, 40_960 - 1000) == Self.dynamic.content(0..<40_960 - 1000))
    let error = #expect(throws: DiskError.self) { try image.bytes(40_960 - 1001, 2) }
    #expect(error?.kind == .truncated && error?.path == "cut.vhd")
    #expect(error?.offset == UInt64(bytes.count - 1512))
    #expect(throws: DiskError.self) { try image.bytes(40_959, 1) }
  }

  @Test func aFileTooShortForAFooter() throws {
    for count in [1, 8, 100, 510, 511, 512, 1024, 1535] {
      let bytes = Array(Self.dynamic.file.bytes.prefix(count))
      let error = #expect(throws: DiskError.self) {
        try OpenedImage(MemoryStorage(bytes), as: VHDFormat())
      }
      #expect(error?.offset != nil)
    }
  }

  @Test(arguments: [0x0002_0000, 0x0000_FFFF, .max] as [UInt32]) func versions(
    _ version: UInt32
  ) throws {
    var builder = Self.dynamic
    builder.editFooter = { $0.putBig(version, at: 12) }
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder) }
    #expect(error?.kind == .unsupported && error?.offset == builder.file.size - 512 + 12)
  }

  @Test(arguments: [0, 1, 5, 6, .max] as [UInt32]) func diskTypes(_ type: UInt32) throws {
    var builder = Self.dynamic
    builder.editFooter = { $0.putBig(type, at: 60) }
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder) }
    #expect(error?.kind == .malformed && error?.offset == builder.file.size - 512 + 60)
    #expect(error?.message.contains("disk type \(type)") == true)
  }
}
