import DiskCore
import ImageFormats
import TestSupport
import Testing

/// L1 and L2 entries that cannot be: only what they map is unreadable.
@Suite struct HostileQCOW2EntryTests {
  private func image(bits: Int = 12) -> QCOW2Builder {
    var builder = QCOW2Builder(size: 10 << UInt64(bits))
    builder.clusterBits = bits
    for index in [0, 3, 4] {
      builder.clusters[index] = .data(ImageBytes.pattern(1 << bits, seed: UInt64(index)))
    }
    return builder
  }

  /// Expects that reading `cluster` fails with this, and that all others are read.
  private func expectDamage(
    _ builder: QCOW2Builder, cluster: Int, _ kind: DiskError.Kind, at offset: UInt64,
    _ words: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let image = try OpenedImage(builder)
    let unit = builder.clusterSize
    let error = #expect(throws: DiskError.self, sourceLocation: sourceLocation) {
      try image.bytes(cluster * unit + 1, 1)
    }
    #expect(error?.kind == kind && error?.path == "disk.qcow2", sourceLocation: sourceLocation)
    #expect(error?.offset == offset, sourceLocation: sourceLocation)
    #expect(error?.message.contains(words) == true, sourceLocation: sourceLocation)
    let expected = builder.content()
    for other in 0..<expected.count / unit where other != cluster {
      #expect(
        try image.bytes(other * unit, unit) == Array(expected[other * unit..<(other + 1) * unit]),
        sourceLocation: sourceLocation)
    }
  }

  /// On itself, not aligned, past the end, with reserved bits.
  @Test func l1Entries() throws {
    let entries: [(UInt64, DiskError.Kind?, UInt64)] = [
      (0x8000_0000_0000_3000, .malformed, 0x3000), (0, nil, 0), (0x8000_0000_0000_0000, nil, 0),
      (0x1000, .malformed, 0x1000),
      (0x8004_0000_0000_0000, .truncated, 0x0004_0000_0000_0000), (0x5200, .malformed, 0x3000),
      (0x5001, .malformed, 0x3000), (0x0100_0000_0000_5000, .malformed, 0x3000),
      (0x8000, .truncated, 0x8000), (.max, .malformed, 0x3000),
    ]
    for (entry, kind, offset) in entries {
      var builder = image()
      builder.editL1 = { $0.putBig(entry, at: 0) }
      let image = try OpenedImage(builder)
      guard let kind else {
        #expect(try image.all.allSatisfy { $0 == 0 })
        continue
      }
      let error = #expect(throws: DiskError.self) { try image.bytes(4096, 1) }
      #expect(error?.kind == kind && error?.offset == offset && error?.path == "disk.qcow2")
    }
  }

  /// L2 at 16,384; clusters from 20,480 on.
  @Test func l2Entries() throws {
    let entry: UInt64 = 16384 + 24
    let values: [(UInt64, DiskError.Kind, UInt64, String)] = [
      (
        0x8000_0000_0000_1000, .malformed, 0x1000, "on the image's own header or tables (bytes 4096"
      ),
      (0x8000_0000_0000_3000, .malformed, 0x3000, "on the image's own header or tables"),
      (0x8000_0100_0000_0000, .truncated, 0x0100_0000_0000, "past the end of the file"),
      (0x7000, .truncated, 0x7000, "past the end of the file"),
      (0x5200, .malformed, entry, "does not start where clusters do"),
      (0x5002, .malformed, entry, "reserved bits"),
      (0x0100_0000_0000_5000, .malformed, entry, "reserved bits"),
      (0x2000_0000_0000_5000, .malformed, entry, "reserved bits"),
      (0x4000_0000_0000_1000, .malformed, 0x1000, "a compressed cluster lies on the image's own"),
      (0x4200_0000_0000_0000, .truncated, 0x0200_0000_0000_0000, "lies past the end"),
      (0x4000_0000_0000_5000, .malformed, 0x5000, "a compressed cluster is damaged"),
      (0x7FFF_FFFF_FFFF_FFFF, .truncated, 0x03FF_FFFF_FFFF_FFFF, "lies past the end"),
    ]
    for (value, kind, offset, words) in values {
      var builder = image()
      builder.clusters[3] = nil
      builder.editL2 = { $0.putBig(value, at: 24) }
      try expectDamage(builder, cluster: 3, kind, at: offset, words)
    }
  }

  @Test func zeroClustersThatVersion2DoesNotHave() throws {
    var builder = image()
    builder.version = 2
    builder.editL2 = { $0.putBig(1 as UInt64, at: 16) }
    try expectDamage(
      builder, cluster: 2, .malformed, at: 16384 + 16, "which version 2 does not have")
  }

  @Test func subclustersThatContradictThemselves() throws {
    let entries: [(UInt64, UInt64, String)] = [
      (0x14000, 0x1_0000_0001, "both allocated and zeros"), (0, 1, "allocated nowhere"),
      (0x8000_0000_0000_0000, 1, "allocated nowhere"), (0x14001, 1, "reserved bits"),
    ]
    for (entry, bitmap, words) in entries {
      var builder = image(bits: 14)
      builder.hasSubclusters = true
      builder.clusters[2] = .entry(entry, bitmap)
      try expectDamage(builder, cluster: 2, .malformed, at: 65536 + 32, words)
    }
  }

  @Test func clustersOfADataFileInOtherPlaces() throws {
    try HostTools.withFolder { folder in
      var builder = image()
      builder.dataFile = "x.raw"
      builder.editL2 = {
        $0.putBig(1 << 12 | 1 << 63 as UInt64, at: 24)
        $0.putBig(1 << 62 | 4096 as UInt64, at: 32)
      }
      try HostTools.write(builder.file.bytes, to: "\(folder)/x.qcow2")
      try HostTools.write(ImageBytes.pattern(10 << 12, seed: 1), to: "\(folder)/x.raw")
      let window = try OpenImage(path: "\(folder)/x.qcow2").disk.whole
      for cluster in [3, 4] as [UInt64] {
        let error = #expect(throws: DiskError.self) {
          try window.bytes(at: DiskOffset(cluster << 12), count: 1)
        }
        #expect(error?.kind == .malformed && error?.path == "\(folder)/x.qcow2")
        #expect(error?.message.contains("data file") == true)
      }
      #expect(try window.bytes(at: .start, count: 4096) == ImageBytes.pattern(4096, seed: 1))
    }
  }
}
