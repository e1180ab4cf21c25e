import DiskCore
import TestSupport
import Testing

@testable import FileSystems

/// exFAT volumes that lie: each ends in what can be read and an error for the rest.
@Suite struct HostileExFATTests {
  private typealias Item = ExFATBuilder.Item

  private func item(
    _ name: String, cluster: Int, size: UInt64, contiguous: Bool = false, folder: Bool = false
  ) -> Item {
    var item = Item(name)
    item.cluster = cluster
    item.size = size
    item.isContiguous = contiguous
    if folder { item.attributes = ExFATBuilder.folder }
    return item
  }

  @Test func impossibleBootSectors() throws {
    let changes: [(at: Int, bytes: [UInt8], says: String)] = [
      (108, [0], "sectors of 2^0"), (108, [13], "sectors of 2^13"), (109, [17], "clusters of 2^17"),
      (110, [0], "0 FATs"), (110, [3], "3 FATs"), (105, [2], "version 2"),
      (80, [1, 0, 0, 0], "inside the boot regions"),
      (80, [0xFF, 0xFF, 0xFF, 0xFF], "inside the FAT"),
      (84, [0, 0, 0, 0], "a FAT of no sectors"), (96, [0, 0, 0, 0], "cluster 0"),
      (96, [0xFF, 0xFF, 0xFF, 0xFF], "cluster 4294967295"), (92, [0, 0, 0, 0], "its root"),
      (510, [0, 0], "no signature"),
    ]
    for change in changes {
      var volume = ExFATBuilder()
      volume.put(change.bytes, at: change.at)
      volume.seal()
      let error = try #require(failure { try ListedFiles.tree(volume.bytes).root() })
      #expect(error.kind == .malformed)
      #expect(error.message.contains(change.says), "\(error)")
    }
  }

  @Test func aVolumeThatEndsEarly() throws {
    var volume = ExFATTests.sample()
    volume.putLittle(UInt64.max, at: 72)
    volume.putLittle(UInt32.max, at: 92)
    volume.seal()
    let whole = try ListedFiles.tree(volume.bytes)
    #expect(try whole.names().count == 4)
    let cut = try ListedFiles.tree(Array(volume.bytes[..<volume.place(of: 60)]))
    #expect(try cut.names().count == 4)
    let file = try cut.content(of: cut.item("chained.bin"))
    #expect(failure { try file.bytes(at: .start, count: 3 * 512) } == nil)
    #expect(failure { try file.bytes(at: DiskOffset(3 * 512), count: 1) }?.kind == .truncated)
    #expect(failure { try cut.names(in: "Folder") } != nil)
    for size in [0, 1, 511, 512, 513, 24 * 512, volume.fat + 512] {
      _ = failure { try ListedFiles(Array(volume.bytes[..<size])) }
    }
  }

  @Test func filesOfInfiniteLength() throws {
    var volume = ExFATBuilder()
    volume.fill([50, 51], with: ImageBytes.pattern(1024, seed: 1))
    volume.link(51, to: 50)
    let largest = Limits.largestDisk
    var place = volume.put(item("loop", cluster: 50, size: largest), at: volume.entries)
    place = volume.put(item("run", cluster: 50, size: largest, contiguous: true), at: place)
    place = volume.put(item("nowhere", cluster: 0, size: 9), at: place)
    place = volume.put(item("too large", cluster: 50, size: .max), at: place)
    place = volume.put(
      item("folder", cluster: 50, size: .max, contiguous: true, folder: true), at: place)
    let tree = try ListedFiles.tree(volume.bytes)
    for name in ["loop", "run", "nowhere", "too large"] {
      _ = try tree.attributes(of: tree.item(name))
    }
    let loop = try tree.content(of: tree.item("loop"))
    #expect(try loop.bytes(at: .start, count: 1024) == ImageBytes.pattern(1024, seed: 1))
    for at in [1024, 4096, largest - 1] {
      #expect(failure { try loop.bytes(at: DiskOffset(at), count: 1) }?.kind == .malformed)
    }
    let run = try tree.content(of: tree.item("run"))
    let there = UInt64(1002 - 50) * 512
    #expect(failure { try run.bytes(at: DiskOffset(there - 1), count: 1) } == nil)
    #expect(failure { try run.bytes(at: DiskOffset(there), count: 1) }?.kind == .malformed)
    #expect(failure { try run.bytes(at: DiskOffset(largest - 1), count: 1) } != nil)
    #expect(
      failure { try tree.content(of: tree.item("nowhere")).bytes(at: .start, count: 1) } != nil)
    #expect(failure { try tree.content(of: tree.item("too large")) }?.kind == .unsupported)
    _ = failure { try tree.folder(tree.item("folder")) }
  }

  @Test func damagedEntriesAreLeftOutAndSaid() throws {
    let good = ExFATBuilder.entries(Item("good"))
    let sets: [(says: String, bytes: [UInt8])] = [
      ("checksum", ExFATBuilder.entries(Item("damaged")).enumerated().map { $0 == 70 ? 1 : $1 }),
      ("further entries", ExFATBuilder.entries(Item("none")) { $0.put([0], at: 1) }),
      ("further entries", ExFATBuilder.entries(Item("many")) { $0.put([255], at: 1) }),
      ("all of its set", Array(ExFATBuilder.entries(Item("cut"))[..<64])),
      ("all of its set", ExFATBuilder.entries(Item("long")) { $0.put([3], at: 1) }),
      ("where the file", ExFATBuilder.entries(Item("no stream")) { $0.put([0xC1], at: 32) }),
      ("whole name", ExFATBuilder.entries(Item("no name")) { $0.put([0], at: 35) }),
      ("whole name", ExFATBuilder.entries(Item("more")) { $0.put([16], at: 35) }),
      ("whole name", ExFATBuilder.entries(Item("other")) { $0.put([0xC0], at: 64) }),
    ]
    for set in sets {
      var volume = ExFATBuilder()
      volume.put(set.bytes + good, at: volume.entries)
      let tree = try ListedFiles.tree(volume.bytes)
      let folder = try tree.folder(tree.root())
      #expect(folder.entries.map(\.name.text) == ["good"], "\(set.says)")
      let damage = try #require(folder.damage)
      #expect(damage.message.contains(set.says), "\(damage)")
      #expect(damage.offset == UInt64(volume.entries))
      // What is not found may be what is damaged.
      #expect(failure { try tree.item("no such file") }?.kind == .malformed)
      // And the number of what is damaged leads nowhere.
      let item = ItemID(UInt64(volume.entries) / 32)
      #expect(failure { try tree.attributes(of: item) } != nil)
    }
  }

  @Test func folderLoops() throws {
    var volume = ExFATBuilder()
    var place = volume.put(item("self", cluster: 50, size: 512, folder: true), at: volume.entries)
    volume.put(item("self", cluster: 50, size: 512, folder: true), at: volume.place(of: 50))
    place = volume.put(item("chain", cluster: 60, size: 1 << 40, folder: true), at: place)
    volume.put([UInt8](repeating: 0x05, count: 512), at: volume.place(of: 60))
    volume.link(60, to: 60)
    let tree = try ListedFiles.tree(volume.bytes)
    #expect(try tree.names(in: "self/self/self") == ["self"])
    #expect(failure { try tree.names(in: "chain") }?.message.contains("back into itself") == true)
    // The root itself.
    volume.link(volume.rootCluster, to: UInt32(volume.rootCluster))
    for index in 9..<16 {
      volume.put([0x05], at: volume.place(of: volume.rootCluster) + index * 32)
    }
    let looping = try ListedFiles.tree(volume.bytes)
    #expect(try looping.folder(looping.root()).damage != nil)
    #expect(try looping.attributes(of: looping.root()).size == 512)
  }

  @Test func hostileTablesOfUpperCase() throws {
    for length in [0, 1, 128 << 10, 128 << 10 + 1, .max] as [UInt64] {
      var volume = ExFATBuilder()
      volume.put(Item("File"), at: volume.entries)
      volume.putLittle(length, at: volume.entries - 8)
      let tree = try ListedFiles.tree(volume.bytes)
      #expect(try tree.item("file") == tree.item("FILE"), "\(length)")
    }
    var volume = ExFATBuilder()
    volume.put(Item("File"), at: volume.entries)
    volume.putLittle(UInt32(900_000), at: volume.entries - 12)
    let tree = try ListedFiles.tree(volume.bytes)
    #expect(try tree.item("file") == tree.item("FILE"))
  }

  /// 2³² − 1 clusters, and a FAT that is long enough for them: numbers end before that.
  @Test func moreClustersThanNumbers() throws {
    var boot = ExFATBuilder()
    boot.putLittle(UInt32.max, at: 92)
    boot.putLittle(UInt32(1 << 25) + 1, at: 84)
    boot.putLittle(UInt32(24 + (1 << 25) + 1), at: 88)
    boot.seal()
    var folder = ExFATBuilder()
    var last = item("last", cluster: 0, size: 4096, contiguous: true)
    last.cluster = 0xFFFF_FFFF
    let end = folder.put(last, at: folder.entries)
    last.name = "next to last"
    last.cluster = 0xFFFF_FFF6
    folder.put(last, at: end)
    let heap = UInt64(24 + (1 << 25) + 1) * 512
    let disk = try Disk.holding(
      size: heap + (1 << 41),
      pieces: [
        (0, Array(boot.bytes[..<(24 * 512)])),
        (UInt64(boot.fat), Array(boot.bytes[boot.fat..<boot.fat + 512])),
        (heap, Array(folder.bytes[folder.heap..<folder.place(of: folder.rootCluster + 1)])),
      ])
    let tree = FileTree(Volume(disk.whole))
    #expect(try tree.names() == ["last", "next to last"])
    for name in ["last", "next to last"] {
      let file = try tree.content(of: tree.item(name))
      #expect(failure { try file.bytes(at: DiskOffset(512), count: 1) }?.kind == .malformed)
      #expect(failure { try file.bytes(at: DiskOffset(4095), count: 1) }?.kind == .malformed)
    }
    let behind: UInt64 = (heap + (1 << 41)) / 32 - 1
    for number in [ItemID.largest, 0x7FFF_FFFF_FFFF, behind] as [UInt64] {
      #expect(failure { try tree.attributes(of: ItemID(number)) } != nil)
    }
  }

  /// Without a table of upper case, in a folder that ends in damage: it is looked for once, not for every
  /// name.
  @Test func theTableOfUpperCaseIsLookedForOnce() throws {
    var volume = ExFATBuilder(clusters: 2000)
    volume.put([0x05], at: volume.entries - 32)
    let clusters = [volume.rootCluster] + Array(100..<1300)
    volume.chain(clusters)
    volume.link(1299, to: 0)
    var place = volume.entries
    var names = 0
    for cluster in clusters {
      if cluster != volume.rootCluster { place = volume.place(of: cluster) }
      while place + 96 <= volume.place(of: cluster + 1) {
        place = volume.put(Item("file \(names)"), at: place)
        names += 1
      }
      while place < volume.place(of: cluster + 1) {
        volume.put([0x05], at: place)
        place += 32
      }
    }
    let storage = FaultyStorage(MemoryStorage(volume.bytes))
    let tree = FileTree(Volume(try Disk(layers: [FlatLayer(storage)]).whole))
    let folder = try tree.folder(tree.root())
    #expect(folder.entries.count == names)
    #expect(folder.damage != nil)
    #expect(try tree.fileSystem().notes.count == 1)
    #expect(storage.reads.count < 200, "\(storage.reads.count)")
  }

  @Test func onlyWhatTouchesTheFaultIsLost() throws {
    let volume = ExFATTests.sample()
    let files = try FaultyFiles(volume.bytes)
    let inOrdner = "Ordner/a name that takes three entries: Ordner"
    let inFolder = "Folder/a name that takes three entries: Folder"
    #expect(
      files.whole.paths == [
        "Folder", inFolder, "Ordner", inOrdner, "chained.bin", "contiguous.bin",
      ])
    // Both boot regions; the bitmap; the table of upper case.
    for sector in Array(0..<24) + [volume.heap / 512, volume.heap / 512 + 1] {
      #expect(try files.lost(without: [sector * 512]) == [], "\(sector)")
    }
    #expect(try files.lost(without: [volume.place(of: volume.rootCluster)]) == ["*"])
    for sector in 1..<8 { #expect(try files.lost(without: [volume.fat + sector * 512]) == []) }
    // Chains need the FAT; what lies in one piece does not. Without its link nobody knows where a folder
    // goes on.
    #expect(try files.lost(without: [volume.fat]) == [inOrdner, "chained.bin", "!"])
    for (cluster, lost) in [
      (50, ["chained.bin"]), (60, ["chained.bin"]), (71, ["contiguous.bin"]),
      (80, [inOrdner, "!"]),
      (90, [inOrdner, "!"]), (100, [inFolder, "!"]), (101, [inFolder, "!"]), (200, []),
    ] {
      #expect(try files.lost(without: [volume.place(of: cluster)]) == lost, "\(cluster)")
    }
  }
}
