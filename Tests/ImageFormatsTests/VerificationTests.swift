import DiskCore
import ImageFormats
import TestSupport
import Testing

/// One byte wrong in each kind of image: what is listed is what it touches.
@Suite struct ImageVerificationTests {
  @Test func cso() throws {
    let builder = CSOBuilder(
      blockSize: 2048, content: [UInt8](repeating: 7, count: 64 << 10))
    var bytes = builder.bytes
    #expect(try VerifiedImage.report(bytes, as: "x.cso").isClean)
    // The index says where block 5 is.
    let entry = 24 + 4 * 5
    let place = Int(bytes[entry]) | Int(bytes[entry + 1]) << 8 | Int(bytes[entry + 2]) << 16
    bytes[place] = 0xff
    let report = try VerifiedImage.report(bytes, as: "x.cso")
    #expect(report.places == ["unreadable 10240+2048"])
    #expect(report.damage[0].fileOffset == UInt64(place) && report.damage[0].layer == 0)
    #expect(report.blocks == 32 && report.checks.isEmpty)
  }

  @Test func qcow2() throws {
    let cluster = [UInt8](repeating: 0x41, count: 512)
    var builder = QCOW2Builder(size: 4096)
    builder.clusterBits = 9
    for index in 0..<8 {
      builder.clusters[index] = .compressed(
        index == 3 || index == 4 ? [0xff, 0xff, 0xff] : CompressedBytes.Of512A.deflate, cluster)
    }
    let report = try VerifiedImage.report(builder.file.bytes, as: "x.qcow2")
    #expect(report.places == ["unreadable 1536+1024"])
    #expect(report.damage[0].count == 2 && report.damage[0].fileOffset != nil)
    builder.clusters[3] = .data(cluster)
    builder.clusters[4] = .zero
    #expect(try VerifiedImage.report(builder.file.bytes, as: "x.qcow2").isClean)
  }

  /// A chunk with a sum of its own, one without, the tables' sums and the sums' sum.
  @Test func dmg() throws {
    let builder = DMGTests.everyType
    var bytes = builder.bytes
    let clean = try VerifiedImage.report(bytes, as: "x.dmg")
    #expect(clean.isClean)
    #expect(
      clean.counts.prefix(3) == [
        "block table CRC-32 3 0 0", "data fork CRC-32 1 0 0", "master CRC-32 1 0 0",
      ])
    // A zlib stream of 523 bytes, then a raw chunk.
    bytes[100] ^= 1
    let zlib = try VerifiedImage.report(bytes, as: "x.dmg")
    #expect(zlib.places == ["unreadable 0+512", "checksum -"])
    #expect(zlib.damage[0].fileOffset == 0)
    #expect(zlib.counts.prefix(2) == ["block table CRC-32 2 0 1", "data fork CRC-32 0 1 0"])
    bytes[100] ^= 1
    bytes[600] ^= 1
    let raw = try VerifiedImage.report(bytes, as: "x.dmg")
    #expect(raw.damage.allSatisfy { $0.kind == .checksum })
    // The part without the sectors that its sum leaves out.
    #expect(raw.places.first == "checksum 512+6656")
    #expect(raw.damage[0].reason.contains("one (Apple_HFS : 1)"))
    #expect(raw.counts.prefix(2) == ["block table CRC-32 2 1 0", "data fork CRC-32 0 1 0"])
  }

  @Test func vhd() throws {
    var builder = VHDBuilder(.dynamic, size: 4 << 20)
    builder.blocks = [0: [1, 2, 3]]
    #expect(
      try VerifiedImage.report(builder.file.bytes, as: "x.vhd").counts == [
        "footer checksum 2 0 0", "dynamic header checksum 1 0 0",
      ])
    builder.damageHeader = { $0.put([1], at: 700) }
    builder.damageCopy = { $0.put([1], at: 100) }
    let report = try VerifiedImage.report(builder.file.bytes, as: "x.vhd")
    #expect(report.counts == ["footer checksum 1 1 0", "dynamic header checksum 0 1 0"])
    #expect(report.damage.map(\.fileOffset) == [0, 512])
    #expect(report.damage.map(\.fileLength) == [512, 1024])
    var fixed = VHDBuilder(.fixed, size: 1 << 20)
    #expect(
      try VerifiedImage.report(fixed.file.bytes, as: "x.vhd").counts == ["footer checksum 1 0 0"])
    fixed.damageFooter = { $0.put([1], at: 100) }
    let damaged = try VerifiedImage.report(fixed.file.bytes, as: "x.vhd")
    #expect(damaged.damage.map(\.fileOffset) == [1 << 20])
  }

  @Test func vhdx() throws {
    var builder = VHDXBuilder(size: 4 << 20)
    builder.blocks = [1: [1, 2, 3]]
    #expect(
      try VerifiedImage.report(builder.file.bytes, as: "x.vhdx").counts == [
        "header CRC-32C 2 0 0", "region table CRC-32C 2 0 0",
      ])
    builder.damageFirstHeader = { $0.put([1], at: 1000) }
    builder.damageSecondRegions = { $0.put([1], at: 30_000) }
    let report = try VerifiedImage.report(builder.file.bytes, as: "x.vhdx")
    #expect(report.counts == ["header CRC-32C 1 1 0", "region table CRC-32C 1 1 0"])
    #expect(report.damage.map(\.fileOffset) == [64 << 10, 256 << 10])
    #expect(report.places == ["checksum -", "checksum -"])
  }

  @Test(arguments: [0, 8] as [UInt16]) func zip(_ method: UInt16) throws {
    let content = ImageBytes.pattern(3_000_001, seed: 2)
    let builder = ZIPBuilder([.init("a.ima", content, method: method)])
    var bytes = builder.bytes
    #expect(try VerifiedImage.report(bytes, as: "x.zip").counts == ["member CRC-32 1 0 0"])
    bytes[2_000_000] ^= 4
    let report = try VerifiedImage.report(bytes, as: "x.zip")
    #expect(report.places == ["checksum 0+3000001"])
    #expect(report.counts == ["member CRC-32 0 1 0"])
    #expect(report.damage[0].stream == "zip")
  }

  @Test(
    .enabled(if: SharedImages.exist, "the shared images are not here"),
    arguments: ["compression-bz2.dmg", "ext2.qcow2", "hello-world.img.gz", "streamOptimized.vmdk"])
  func shared(_ name: String) throws {
    let folder = try #require(SharedImages.folder)
    let report = try VerifiedImage.report(path: "\(folder)/\(name)")
    #expect(report.isClean)
  }
}
