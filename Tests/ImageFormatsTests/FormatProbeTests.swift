import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct FormatProbeTests {
  private func probe(_ bytes: [UInt8]) throws -> FormatProbe {
    FormatProbe(try ImageSample(of: MemoryStorage(bytes)))
  }

  /// 8 KiB of content with `bytes` at `offset`.
  private func image(_ bytes: [UInt8], at offset: Int = 0) -> [UInt8] {
    var image = ImageBytes(ImageBytes.pattern(8192, seed: 12))
    image.put(bytes, at: offset)
    return image.bytes
  }

  @Test func anythingIsRaw() throws {
    for bytes in [
      [0], image([]), [UInt8](repeating: 0, count: 512), ImageBytes.pattern(511, seed: 1),
    ] {
      let probe = try probe(bytes)
      #expect(probe.fitting.isEmpty && probe.recognised == nil && probe.warning == nil)
      #expect(probe.remark == "no format's signature was found: read as raw; --format overrides")
      #expect(try probe.choice(path: "x").name == "raw")
    }
  }

  @Test func aVHDIsPlain() throws {
    var builder = VHDBuilder(.fixed, size: 4096)
    for length in [512, 511] {
      builder.footerLength = length
      let probe = try probe(builder.file.bytes)
      #expect(try probe.choice(path: "x").name == "vhd")
      #expect(probe.remark == nil && probe.warning == nil)
    }
    // A dynamic one whose end is gone.
    let dynamic = VHDBuilder(.dynamic, size: 1 << 20).file.bytes
    #expect(try probe(Array(dynamic.dropLast(100))).choice(path: "x").name == "vhd")
  }

  /// A disk whose content is another image: the guest writes those bytes.
  @Test func twoFormatsAreSaid() throws {
    var builder = VHDBuilder(.fixed, size: 4096)
    builder.blockSize = 4096
    builder.blocks = [0: Array("MComprHD".utf8)]
    let image = try OpenedImage(builder)
    #expect(image.disk.layers[0].description.format == "vhd")
    #expect(
      image.notes == [
        "fits more than one format: read as vhd, but it also looks like a CHD image; --format "
          + "chooses"
      ])
  }

  /// One sample of each signature, from the formats' specifications.
  @Test(
    arguments: [
      ("a cloop image of version 4", 0, Array("#!/bin/sh\n#V4.0 Format\n".utf8)),
      ("a CHD image", 0, Array("MComprHD".utf8)),
      ("an encrypted DMG image", 0, Array("encrcdsa".utf8)),
      ("an encrypted DMG image", 8192 - 8, Array("cdsaencr".utf8)),
      ("a growing DMG (.sparseimage)", 0, Array("sprs".utf8)),
      ("an EWF (E01) image", 0, [0x45, 0x56, 0x46, 0x09, 0x0D, 0x0A, 0xFF, 0x00]),
      ("a 7z archive", 0, [0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C]),
    ] as [(String, Int, [UInt8])])
  func formatsThatAreNotReadAreNamed(_ name: String, _ offset: Int, _ bytes: [UInt8]) throws {
    let probe = try probe(image(bytes, at: offset))
    #expect(probe.recognised == name && probe.fitting.isEmpty)
    let error = #expect(throws: DiskError.self) { try probe.choice(path: "some.img") }
    #expect(error?.kind == .unsupported)
    let line = try #require(error).description
    #expect(
      line
        == "some.img: is \(name), which this version of Platter does not read; '--format raw' "
        + "shows its bytes as they are stored")
    // One byte off is not it.
    var other = bytes
    other[other.count > 4 ? 3 : 1] ^= 0x80
    #expect(try self.probe(image(other, at: offset)).recognised == nil)
  }

  @Test func samplesAreTheEnds() throws {
    let content = ImageBytes.pattern(10_000, seed: 13)
    let sample = try ImageSample(of: MemoryStorage(content))
    #expect(sample.head.bytes == Array(content[..<4096]))
    #expect(sample.tail.bytes == Array(content[8976...]))
    let small = try ImageSample(of: MemoryStorage([1, 2, 3]))
    #expect(small.head.bytes == [1, 2, 3] && small.tail.bytes == [1, 2, 3])
    #expect(try ImageSample(of: MemoryStorage([])).head.count == 0)
  }

  @Test func formatsByName() throws {
    for name in ["raw", "RAW", "flat", "iso", "img"] {
      #expect(try FormatRegistry.format(named: name).name == "raw")
    }
    for name in ["vhd", "vpc", "VHD", "Vpc"] {
      #expect(try FormatRegistry.format(named: name).name == "vhd")
    }
    for name in ["", "qcow3", "vhdx2", "raw ", "\u{1B}[2J"] {
      let error = #expect(throws: DiskError.self) { try FormatRegistry.format(named: name) }
      #expect(error?.kind == .invalidRequest)
      #expect(error?.message.hasSuffix("there are \(FormatRegistry.names)") == true)
      #expect(error?.message.contains("\u{1B}") == false)
    }
  }
}
