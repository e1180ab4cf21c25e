import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Descriptors that are files of their own, and the extents that they name.
@Suite struct VMDKDescriptorTests {
  /// Opens `disk.vmdk` with this text, beside flat files `a.bin` of 4 sectors and `b.bin` of 2.
  private func open(
    _ text: [UInt8], more: [String: [UInt8]] = [:]
  ) throws -> (disk: [UInt8], image: OpenImage) {
    try HostTools.withFolder { folder in
      try HostTools.write(Self.a, to: "\(folder)/a.bin")
      try HostTools.write(Self.b, to: "\(folder)/b.bin")
      for (name, bytes) in more { try HostTools.write(bytes, to: "\(folder)/\(name)") }
      try HostTools.write(text, to: "\(folder)/disk.vmdk")
      let image = try OpenImage(path: "\(folder)/disk.vmdk")
      let size = Int(image.disk.size)
      return (try image.disk.whole.bytes(at: .start, count: size), image)
    }
  }

  private func open(_ extents: [String], _ more: [String] = []) throws -> [UInt8] {
    try open(Array(VMDKBuilder.text("custom", extents, more: more).utf8)).disk
  }

  private func refusal(_ extents: [String], _ more: [String] = []) throws -> DiskError {
    let error = #expect(throws: DiskError.self) { try open(extents, more) }
    return try #require(error)
  }

  private static let a = ImageBytes.pattern(2048, seed: 1)
  private static let b = ImageBytes.pattern(1024, seed: 2)
  private static let zeros = [UInt8](repeating: 0, count: 2048)

  @Test func extentsInARow() throws {
    #expect(
      try open(["RW 4 FLAT \"a.bin\" 0", "RW 2 ZERO", "RDONLY 2 VMFS \"b.bin\""])
        == Self.a + Self.zeros.prefix(1024) + Self.b)
    // Parts of one file, and none of it.
    #expect(
      try open(["RW 1 FLAT \"a.bin\" 3", "RW 0 FLAT \"gone\" 0", "RW 2 FLAT \"a.bin\" 1"])
        == Array(Self.a[1536...]) + Array(Self.a[512..<1536]))
  }

  @Test func whatItSaysOfItself() throws {
    let text = VMDKBuilder.text("twoGbMaxExtentFlat", ["RW 4 FLAT \"a.bin\" 0", "RW 2 ZERO"])
    let image = try open(Array(text.utf8)).image
    let layer = image.disk.layers[0]
    #expect(layer.description.subformat == "twoGbMaxExtentFlat")
    #expect(
      layer.description.details.map { "\($0.name): \($0.value)" } == [
        "CID: fffffffe", "adapter: ide", "extents: 2",
      ])
    // The descriptor too: it is what the user named.
    #expect(layer.files.map { PathParts($0.path).name } == ["disk.vmdk", "a.bin"])
    #expect(image.notes.isEmpty && layer.tableBytes == 0)
  }

  @Test(arguments: ["\n", "\r\n", "\r"]) func lineEndings(_ ending: String) throws {
    let text = VMDKBuilder.text("monolithicFlat", ["RW 4 FLAT \"a.bin\" 0"])
      .split(separator: "\n", omittingEmptySubsequences: false).joined(separator: ending)
    #expect(try open(Array(text.utf8)).disk == Self.a)
    // A mark before it, and what pads a file.
    #expect(
      try open([0xEF, 0xBB, 0xBF] + Array(text.utf8) + [0, 0, 0] + Array("RW 2 ZERO\n".utf8)).disk
        == Self.a)
  }

  @Test func whitespaceAndCase() throws {
    let text = """

      # A comment first
      #  disk   descriptorFILE
        VERSION = 1
      encoding="GBK"
      cid =1
      ParentCID\t=\tFFFFFFFF
      CreateType = "monolithicFlat"
      # RW 7 ZERO
      something unknown
      \t rw   4\tflat   "a.bin"   0   trailing
      RDONLY 2 FLAT b.bin
      """
    let image = try open(Array(text.utf8))
    #expect(image.disk == Self.a + Self.b)
    #expect(image.image.disk.layers[0].description.details.first?.value == "00000001")
  }

  /// QEMU takes a text for a descriptor by its first line that is no comment.
  @Test func withoutItsSignature() throws {
    let text = "# nothing\n\nversion=1\nCID=1\ncreateType=\"vmfs\"\nRW 4 VMFS \"a.bin\"\n"
    #expect(try open(Array(text.utf8)).disk == Self.a)
    for other in ["version=1\n", "# Disk Descriptor File\n", "x\n# Disk DescriptorFile\n"] {
      let sample = try ImageSample(of: MemoryStorage(Array(other.utf8)))
      #expect(!VMDKFormat().fits(sample), "\(other)")
    }
  }

  @Test(
    arguments: [
      (Array("größe 数据.bin".utf8), "größe 数据.bin"), ([0x67, 0x72, 0xF6, 0xDF, 0x65], "größe"),
      ([0x80, 0x93, 0x78, 0x94], "€“x”"), (Array("a  b.bin".utf8), "a  b.bin"),
    ] as [([UInt8], String)])
  func namesInAnyEncoding(_ bytes: [UInt8], _ name: String) throws {
    let text =
      Array(VMDKBuilder.text("vmfs", []).utf8) + Array("RW 4 VMFS \"".utf8) + bytes
      + Array("\"\n".utf8)
    #expect(try open(text, more: [name: Self.a]).disk == Self.a)
  }

  /// The writer's system may have had it elsewhere, or in other letters.
  @Test(arguments: ["A.BIN", #"C:\vm\a.bin"#, "./a.bin", "/vmfs/volumes/x/a.bin"])
  func namesOfOtherSystems(_ name: String) throws {
    #expect(try open(["RW 4 FLAT \"\(name)\" 0"]) == Self.a)
  }

  @Test func barredExtent() throws {
    try HostTools.withFolder { folder in
      let text = VMDKBuilder.text(
        "custom", ["RW 2 ZERO", "NOACCESS 2 FLAT \"gone.bin\" 0", "RW 2 ZERO"])
      try HostTools.write(Array(text.utf8), to: "\(folder)/x.vmdk")
      let disk = try OpenImage(path: "\(folder)/x.vmdk").disk.whole
      #expect(try disk.bytes(at: DiskOffset(2048), count: 1024) == Array(Self.zeros[..<1024]))
      let error = #expect(throws: DiskError.self) {
        try disk.bytes(at: DiskOffset(1500), count: 10)
      }
      #expect(error?.kind == .unsupported && error?.offset != nil)
      #expect(error?.message.contains("NOACCESS") == true)
    }
  }

  /// What is there can be read.
  @Test func fileShorterThanItsExtent() throws {
    try HostTools.withFolder { folder in
      try HostTools.write(Self.a, to: "\(folder)/a.bin")
      let text = VMDKBuilder.text("vmfs", ["RW 6 FLAT \"a.bin\" 1"])
      try HostTools.write(Array(text.utf8), to: "\(folder)/x.vmdk")
      let image = try OpenImage(path: "\(folder)/x.vmdk")
      #expect(
        image.notes == [
          "the extent 'a.bin' is truncated: 1536 of 3072 bytes are there; what is missing cannot be "
            + "read"
        ])
      #expect(try image.disk.whole.bytes(at: .start, count: 1536) == Array(Self.a[512...]))
      let error = #expect(throws: DiskError.self) {
        try image.disk.whole.bytes(at: DiskOffset(1536), count: 1)
      }
      #expect(error?.kind == .truncated && error?.offset == 2048)
    }
  }

  @Test func manyNotes() throws {
    let text = VMDKBuilder.text("vmfs", [String](repeating: "RW 6 FLAT \"a.bin\" 1", count: 20))
    let notes = try HostTools.withFolder { folder in
      try HostTools.write(Self.a, to: "\(folder)/a.bin")
      try HostTools.write(Array(text.utf8), to: "\(folder)/x.vmdk")
      return try OpenImage(path: "\(folder)/x.vmdk").notes
    }
    #expect(notes.count == 9 && notes[8] == "and 12 more like these")
  }

  @Test(
    arguments: [
      ("RW", "without a number"), ("RW x FLAT \"a.bin\" 0", "without a number"),
      ("RW -2 FLAT \"a.bin\" 0", "without a number"), ("RW 4", "without a type"),
      ("RW 18446744073709551616 ZERO", "without a number"),
      ("RW 18446744073709551615 ZERO", "with 18446744073709551615 sectors"),
      ("RW 4 FLAT", "without a file name"), ("RW 4 FLAT \"\" 0", "without a file name"),
      ("RW 4 FLAT \"a.bin\" x", "with an offset of 'x'"),
      ("RW 4 FLAT \"a.bin\" 18446744073709551615", "with an offset"),
      ("RW 4 FLOPPY \"a.bin\"", "of the type 'FLOPPY'"),
    ])
  func damagedLines(_ line: String, _ message: String) throws {
    let error = try refusal([line])
    #expect(error.message.contains(message), "\(error)")
    // The line's own place.
    let text = VMDKBuilder.text("custom", [line])
    let place = text.range(of: line).map {
      text.utf8.distance(from: text.startIndex, to: $0.lowerBound)
    }
    #expect(error.offset == place.map { UInt64($0) })
  }

  @Test func sparseExtentsThatDoNotFit() throws {
    #expect(try refusal(["RW 4 SPARSE \"a.bin\""]).message.contains("is no sparse extent"))
    // A header that has less than the line.
    var builder = VMDKBuilder(capacity: 8)
    builder.grains = [0: .data([1])]
    let text = VMDKBuilder.text("twoGbMaxExtentSparse", ["RW 16 SPARSE \"s.vmdk\""])
    let error = #expect(throws: DiskError.self) {
      try open(Array(text.utf8), more: ["s.vmdk": builder.file.bytes])
    }
    #expect(error?.kind == .malformed && error?.message.contains("4096 bytes") == true)
    #expect(
      error?.offset == text.range(of: "RW 16").map { UInt64($0.lowerBound.utf16Offset(in: text)) })
    // More is rounded.
    let short = VMDKBuilder.text("twoGbMaxExtentSparse", ["RW 7 SPARSE \"s.vmdk\""])
    #expect(
      try open(Array(short.utf8), more: ["s.vmdk": builder.file.bytes]).disk
        == Array(builder.content[..<3584]))
  }

  @Test(
    arguments: [
      "fullDevice", "partitionedDevice", "vmfsRawDeviceMap", "vmfsPassthroughRawDeviceMap",
      "vmfsRaw",
    ])
  func devices(_ type: String) throws {
    let text = VMDKBuilder.text(type, ["RW 63 FLAT \"/dev/sda\" 0"])
    let error = #expect(throws: DiskError.self) { try open(Array(text.utf8)) }
    #expect(error?.kind == .unsupported && error?.message.contains("device") == true)
  }

  @Test(arguments: ["VMFSRDM", "VMFSRAW"]) func deviceExtents(_ type: String) throws {
    let error = try refusal(["RW 4 \(type) \"a.bin\""])
    #expect(error.kind == .unsupported && error.message.contains("device"))
  }

  @Test(
    arguments: [
      "encryptionKeys=\"vmware:key/list/(pair/(null/x))\"", "encryption.keySafe = \"vmware:key\"",
      "keyID=\"abc\"", "ddb.iofilters = \"vmwarevmcrypt\"",
    ])
  func encrypted(_ line: String) throws {
    let error = try refusal(["RW 4 FLAT \"a.bin\" 0"], [line])
    #expect(error.kind == .unsupported && error.message.contains("encrypted VMDK"))
    // Not what only looks like it.
    #expect(
      try open(["RW 4 FLAT \"a.bin\" 0"], ["encoding=\"UTF-8\"", "ddb.iofilters = \"spm\""])
        == Self.a)
  }

  /// Where a header has no size, its descriptor stands for the whole disk.
  @Test func embeddedDescriptorOfOtherExtents() throws {
    var builder = VMDKBuilder(capacity: 0)
    builder.descriptor = VMDKBuilder.text("vmfs", ["RW 4 VMFS \"a.bin\""])
    #expect(try open(builder.file.bytes).disk == Self.a)
    // Its own data among others, by its name.
    builder = VMDKBuilder(capacity: 8)
    builder.grains = [0: .data(Self.a)]
    builder.descriptor = VMDKBuilder.text(
      "custom", ["RW 2 VMFS \"b.bin\"", "RW 8 SPARSE \"disk.vmdk\""])
    #expect(try open(builder.file.bytes).disk == Self.b + builder.content)
  }

  /// An extent that somebody names in place of its descriptor.
  @Test func extentWithADescriptorBesideIt() throws {
    try HostTools.withFolder { folder in
      var builder = VMDKBuilder(capacity: 8)
      builder.grains = [0: .data([7])]
      for number in 1...80 {
        try HostTools.write(builder.file.bytes, to: "\(folder)/My Disk-s0\(number).vmdk")
      }
      let path = "\(folder)/My Disk-s077.vmdk"
      #expect(try OpenImage(path: path).notes.count == 1)
      let text = VMDKBuilder.text(
        "twoGbMaxExtentSparse", ["RW 8 SPARSE \"my disk-S077.vmdk\"", "RW 8 ZERO"])
      try HostTools.write(Array(text.utf8), to: "\(folder)/My Disk.vmdk")
      let error = #expect(throws: DiskError.self) { try OpenImage(path: path) }
      #expect(error?.kind == .invalidRequest)
      #expect(error?.message.contains("'\(folder)/My Disk.vmdk'") == true)
      #expect(try OpenImage(path: "\(folder)/My Disk.vmdk").disk.size == 8192)
    }
  }

  @Test func parentCIDs() throws {
    for (line, message) in [("parentCID=xyz", "parentCID is 'xyz'"), ("CID=1ffffffff", "CID is")] {
      let text = "# Disk DescriptorFile\nversion=1\n\(line)\nRW 4 FLAT \"a.bin\" 0\n"
      let error = #expect(throws: DiskError.self) { try open(Array(text.utf8)) }
      #expect(error?.kind == .malformed && error?.message.contains(message) == true)
    }
    let text = VMDKBuilder.text("vmfs", hint: "b.vmdk", ["RW 4 FLAT \"a.bin\" 0"])
    let image = try open(Array(text.utf8)).image
    #expect(image.notes == ["names a parent, but has a parentCID of none: read as standing alone"])
  }
}
