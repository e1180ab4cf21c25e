import DiskCore
import TestSupport
import Testing

@testable import FileSystems

/// exFAT volumes laid out by hand.
@Suite struct ExFATTests {
  private typealias Item = ExFATBuilder.Item

  private func file(
    _ name: String, cluster: Int = 0, size: Int = 0, contiguous: Bool = false
  ) -> Item {
    var item = Item(name)
    item.cluster = cluster
    item.size = UInt64(size)
    item.isContiguous = contiguous
    return item
  }

  /// Two files and two folders, one of each with a chain; a folder's entries cross its clusters.
  static func sample(sectorShift: Int = 9, clusterShift: Int = 0) -> ExFATBuilder {
    var volume = ExFATBuilder(sectorShift: sectorShift, clusterShift: clusterShift)
    let size = volume.clusterSize
    func item(_ name: String, _ cluster: Int, _ count: Int, _ isContiguous: Bool) -> Item {
      var item = Item(name)
      item.cluster = cluster
      item.size = UInt64(count)
      item.isContiguous = isContiguous
      return item
    }
    volume.fill([50, 51, 40, 60], with: ImageBytes.pattern(3 * size + 7, seed: 1))
    volume.fill([70, 71, 72], with: ImageBytes.pattern(2 * size + 1, seed: 2), linked: false)
    var place = volume.put(item("chained.bin", 50, 3 * size + 7, false), at: volume.entries)
    place = volume.put(item("contiguous.bin", 70, 2 * size + 1, true), at: place)
    for (name, clusters, isContiguous) in [
      ("Ordner", [80, 90], false), ("Folder", [100, 101], true),
    ] {
      var folder = item(name, clusters[0], 2 * size, isContiguous)
      folder.attributes = ExFATBuilder.folder
      place = volume.put(folder, at: place)
      if isContiguous { volume.use(clusters) } else { volume.chain(clusters) }
      // So many deleted entries that the file's own cross from one cluster to the next.
      for index in 0..<size / 32 - 2 {
        volume.put([0x05], at: volume.place(of: clusters[0]) + index * 32)
      }
      let inner = ExFATBuilder.entries(Item("a name that takes three entries: \(name)"))
      volume.put(Array(inner[..<64]), at: volume.place(of: clusters[0]) + size - 64)
      volume.put(Array(inner[64...]), at: volume.place(of: clusters[1]))
    }
    return volume
  }

  @Test(arguments: [(9, 0), (9, 3), (12, 0), (12, 2)])
  func readsChainsAndRuns(_ sectorShift: Int, _ clusterShift: Int) throws {
    let volume = Self.sample(sectorShift: sectorShift, clusterShift: clusterShift)
    let size = volume.clusterSize
    let files = try ListedFiles(volume.bytes)
    #expect(
      files.paths == [
        "Folder", "Folder/a name that takes three entries: Folder", "Ordner",
        "Ordner/a name that takes three entries: Ordner", "chained.bin", "contiguous.bin",
      ])
    #expect(files.damage.isEmpty)
    #expect(files.items["chained.bin"]?.content == ImageBytes.pattern(3 * size + 7, seed: 1))
    #expect(files.items["contiguous.bin"]?.content == ImageBytes.pattern(2 * size + 1, seed: 2))
    #expect(files.items["chained.bin"]?.attributes.allocatedBytes == UInt64(4 * size))
    #expect(files.items["Folder"]?.attributes.size == UInt64(2 * size))
    #expect(try ListedFiles.tree(volume.bytes).fileSystem().notes == [])
  }

  @Test func fsckAcceptsTheSample() throws {
    guard HostTools.has("fsck.exfat") else {
      print("skipped: fsck.exfat is not installed (package exfatprogs)")
      return
    }
    try HostTools.withFolder { folder in
      try HostTools.write(Self.sample().bytes, to: folder + "/exfat.img")
      let said = try HostTools.run("fsck.exfat", ["-n", "-v", folder + "/exfat.img"])
      #expect(said.contains("clean"), "\(said)")
      #expect(said.contains("directories 3, files 4"), "\(said)")
    }
  }

  @Test func whatWasNeverWrittenIsZeros() throws {
    var volume = ExFATBuilder()
    volume.fill([50, 51, 52], with: [UInt8](repeating: 0xEE, count: 1536))
    var item = file("sparse", cluster: 50, size: 1500)
    item.written = 600
    volume.put(item, at: volume.entries)
    let files = try ListedFiles(volume.bytes)
    let content = try #require(files.items["sparse"]?.content)
    #expect(content == [UInt8](repeating: 0xEE, count: 600) + [UInt8](repeating: 0, count: 900))
    let tree = try ListedFiles.tree(volume.bytes)
    let window = try tree.content(of: tree.item("sparse"))
    #expect(try window.mapEntry(at: DiskOffset(600), limit: 900).length == 900)
  }

  @Test func readsTimesWithTheirZone() throws {
    var volume = ExFATBuilder()
    var place = volume.entries
    // 2024-02-29 12:00:00 at +05:45, at −03:30, at UTC, and with no zone said.
    let zones: [(name: String, zone: UInt8, seconds: Int64)] = [
      ("nepal", 0x80 | 23, 1_709_187_300), ("newfoundland", 0x80 | 0x72, 1_709_220_600),
      ("utc", 0x80, 1_709_208_000), ("local", 0, 1_709_204_400),
    ]
    for zone in zones {
      var item = file(zone.name)
      item.modified = UInt32(44 << 9 | 2 << 5 | 29) << 16 | 12 << 11
      item.hundredths = 150
      item.zone = zone.zone
      if zone.name == "utc" { item.attributes = ExFATBuilder.readOnly }
      place = volume.put(item, at: place)
    }
    let files = try ListedFiles(
      volume.bytes, options: FileSystemOptions(localTimeOffset: { _ in 3600 }))
    for zone in zones {
      let attributes = try #require(files.items[zone.name]?.attributes)
      #expect(
        attributes.modified == FileTime(seconds: zone.seconds + 1, nanoseconds: 500_000_000))
      #expect(attributes.created == attributes.modified)
      #expect(attributes.accessed == FileTime(seconds: zone.seconds))
      #expect(attributes.permissions == (zone.name == "utc" ? 0o444 : 0o644))
    }
  }

  @Test func namesAreTheSameByTheVolumesTable() throws {
    var volume = ExFATBuilder()
    volume.put(file("Grüße.txt"), at: volume.entries)
    let tree = try ListedFiles.tree(volume.bytes)
    let item = try tree.item("Grüße.txt")
    #expect(try tree.item("GRÜßE.TXT") == item)
    // In this volume's table ÿ has no upper case, where Unicode has one.
    var other = ExFATBuilder()
    other.put(file("ÿ"), at: other.entries)
    let narrow = try ListedFiles.tree(other.bytes)
    #expect(failure { try narrow.item("Ÿ") }?.kind == .notFound)
    // With a damaged table Unicode's is used, and said to be.
    other.put([1], at: other.place(of: other.upCaseCluster))
    let damaged = try ListedFiles.tree(other.bytes)
    #expect(try damaged.item("Ÿ") == damaged.item("ÿ"))
    #expect(try damaged.fileSystem().notes.count == 1)
  }

  @Test func usesTheBackupOfTheBootRegion() throws {
    let good = Self.sample()
    func damaged(_ change: (inout ExFATBuilder) -> Void) throws -> (
      notes: [String], names: [String]
    ) {
      var volume = good
      change(&volume)
      let tree = try ListedFiles.tree(volume.bytes)
      return (try tree.fileSystem().notes, try tree.names())
    }
    let names = ["chained.bin", "contiguous.bin", "Ordner", "Folder"]
    let backup = ["the main boot region of exFAT is damaged; its backup is used"]
    // The checksum; the root; the size of clusters; all of the first sector.
    for change in [
      { $0.put([1], at: 600) }, { $0.putLittle(UInt32(3), at: 96) }, { $0.put([200], at: 109) },
      { $0.put([UInt8](repeating: 0, count: 512), at: 0) },
    ] as [(inout ExFATBuilder) -> Void] {
      let found = try damaged(change)
      #expect(found.notes == backup)
      #expect(found.names == names)
    }
    // Both have a wrong checksum: the main one, if it makes sense.
    let both = try damaged {
      $0.put([1], at: 600)
      $0.put([1], at: 13 * 512)
    }
    #expect(both.notes == ["the checksum of exFAT's boot region is wrong"])
    #expect(both.names == names)
    let neither = failure {
      try damaged {
        $0.put([200], at: 109)
        $0.put([1], at: 13 * 512)
      }
    }
    #expect(neither?.kind == .malformed)
    #expect(neither?.message.contains("clusters of 2^200 sectors") == true)
    // A backup under another file system is not a volume.
    let other = failure { try damaged { $0.put(Array("SOMETHING".utf8), at: 0) } }
    #expect(other?.kind == .unsupported)
    // Flags and the share in use change without a new checksum.
    let used = try damaged { $0.put([2, 0, 1, 9, 0, 1, 0x80, 77], at: 106) }
    #expect(used.names == names)
  }
}
