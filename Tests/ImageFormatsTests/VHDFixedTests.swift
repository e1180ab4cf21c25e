import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct VHDFixedTests {
  private func fixed(_ size: Int) -> VHDBuilder {
    var builder = VHDBuilder(.fixed, size: UInt64(size))
    builder.blockSize = UInt32(size)
    builder.blocks = [0: ImageBytes.pattern(size, seed: UInt64(size))]
    return builder
  }

  @Test(arguments: [512, 1536, 100_352]) func isTheFileWithoutItsFooter(_ size: Int) throws {
    let builder = fixed(size)
    let image = try OpenedImage(builder)
    #expect(image.disk.size == UInt64(size) && image.notes.isEmpty)
    #expect(try image.all == builder.content(0..<size))
    #expect(image.disk.layers[0].description.subformat == "fixed")
    #expect(image.disk.layers[0].tableBytes == 0)
    #expect(throws: DiskError.self) { try image.bytes(size, 1) }
    image.storage.forgetReads()
    _ = try image.bytes(0, size)
    #expect(image.storage.reads == [.init(offset: 0, count: size)])
  }

  @Test func footerOf511Bytes() throws {
    var builder = fixed(4096)
    builder.footerLength = 511
    #expect(builder.file.size == 4096 + 511)
    let image = try OpenedImage(builder)
    #expect(image.disk.size == 4096 && image.notes.isEmpty)
    #expect(try image.all == builder.content(0..<4096))
  }

  @Test func wrongChecksumIsSaid() throws {
    var builder = fixed(4096)
    builder.damageFooter = { $0.put([0xFF], at: 67) }
    let image = try OpenedImage(builder)
    #expect(image.notes == ["the footer's checksum is wrong"])
    #expect(try image.all == builder.content(0..<4096))
  }

  @Test func wrongChecksumAndMoreThanThereIsIsRefused() throws {
    var builder = fixed(4096)
    builder.damageFooter = { $0.putBig(1 << 40 as UInt64, at: 48) }
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder) }
    #expect(error?.kind == .malformed && error?.offset == 4096)
    #expect(error?.message == "the VHD footer's checksum is wrong and there is no copy")
  }

  /// A footer that promises more than the file has: what is there can be read.
  @Test func fileShorterThanItsFooterSays() throws {
    var builder = fixed(4096)
    builder.editFooter = { $0.putBig(1 << 40 as UInt64, at: 48) }
    let image = try OpenedImage(builder)
    #expect(image.disk.size == 1 << 40)
    #expect(image.notes.first?.contains("the file is truncated") == true)
    #expect(try image.bytes(0, 4096) == builder.content(0..<4096))
    let error = #expect(throws: DiskError.self) { try image.bytes(4608, 1) }
    #expect(error?.kind == .truncated && error?.path == "disk.vhd" && error?.offset == 4608)
    #expect(throws: DiskError.self) { try image.bytes(4000, 1000) }
    #expect(try image.disk.whole.nextHole(from: .start).bytes == 1 << 40)
  }

  /// Its footer went with its end: nothing says that it was a VHD.
  @Test func truncatedFile() throws {
    let bytes = Array(fixed(4096).file.bytes.prefix(4000))
    let probe = FormatProbe(try ImageSample(of: MemoryStorage(bytes)))
    #expect(probe.fitting.isEmpty)
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(MemoryStorage(bytes, path: "cut.vhd"), as: VHDFormat())
    }
    #expect(error?.kind == .malformed && error?.path == "cut.vhd" && error?.offset == 3488)
    #expect(error?.message == noFooter)
  }

  /// Content that is itself a VHD's first sector must not be taken for the copy of a footer.
  @Test func aFixedDiskThatHoldsAVHD() throws {
    var inner = VHDBuilder(.dynamic, size: 1 << 20)
    inner.blockSize = 4096
    inner.blocks = [1: [1, 2, 3]]
    let bytes = inner.file.bytes
    var builder = fixed(bytes.count)
    builder.blocks = [0: bytes]
    let image = try OpenedImage(builder)
    #expect(image.disk.layers[0].description.subformat == "fixed")
    #expect(try image.all == bytes)
  }
}
