import DiskCore
import FileSystems
import TestSupport
import Testing

@testable import FileSystems

/// Sectors that cannot be read, and FATs of which one is damaged.
@Suite struct FATFaultTests {
  /// Files whose FAT entries are in the first and in the last sector of the FAT, and a folder of two clusters.
  private static func sample(_ width: FATBuilder.Width) -> FATBuilder {
    var volume = FATBuilder(width, clusters: width == .fat16 ? 4100 : 900)
    func file(_ name: String, _ clusters: [Int], at place: Int) {
      volume.fill(
        clusters, with: ImageBytes.pattern(clusters.count * 512 - 5, seed: UInt64(clusters[0])))
      volume.entry(name, at: place, cluster: clusters[0], size: clusters.count * 512 - 5)
    }
    file("A          ", [9, 10, 7], at: volume.root)
    volume.entry("SUB        ", at: volume.root + 32, attributes: 0x10, cluster: 20)
    if width == .fat32 { volume.chain([2, 100]) }
    for index in 2..<16 { volume.put([0xE5], at: volume.root + index * 32) }
    file(
      "B          ", [850, 851, 890],
      at: width == .fat32 ? volume.place(of: 100) : volume.root + 512)
    volume.chain([20, 25])
    let sub = volume.place(of: 20)
    file("C          ", [30, 31], at: sub)
    for index in 1..<16 { volume.put([0xE5], at: sub + index * 32) }
    file("D          ", [32, 33], at: volume.place(of: 25))
    return volume
  }

  @Test(arguments: FATBuilder.Width.allCases)
  func onlyWhatTouchesTheFaultIsLost(_ width: FATBuilder.Width) throws {
    let volume = Self.sample(width)
    let files = try FaultyFiles(volume.bytes)
    #expect(files.whole.paths == ["A", "B", "SUB", "SUB/C", "SUB/D"])
    // FAT32 has a backup.
    #expect(try files.lost(without: [0]) == (width == .fat32 ? [] : ["*"]))
    for sector in stride(from: 0, to: volume.fatLength, by: 512) {
      #expect(try files.lost(without: [volume.fat + sector]) == [])
      #expect(try files.lost(without: [volume.fat + volume.fatLength + sector]) == [])
      // Others of the two copies.
      let other = (sector + 512) % volume.fatLength
      #expect(
        try files.lost(without: [volume.fat + sector, volume.fat + volume.fatLength + other]) == [])
    }
    #expect(try files.lost(without: [volume.root]) == ["A", "SUB", "SUB/C", "SUB/D", "!"])
    let second = width == .fat32 ? volume.place(of: 100) : volume.root + 512
    #expect(try files.lost(without: [second]) == ["B", "!"])
    #expect(try files.lost(without: [volume.place(of: 20)]) == ["SUB/C", "!"])
    #expect(try files.lost(without: [volume.place(of: 25)]) == ["SUB/D", "!"])
    for (cluster, path) in [(9, "A"), (10, "A"), (7, "A"), (850, "B"), (890, "B"), (31, "SUB/C")] {
      #expect(try files.lost(without: [volume.place(of: cluster)]) == [path])
    }
    #expect(try files.lost(without: [volume.place(of: 50)]) == [])
  }

  /// The same sector of both copies: what has entries there, and of that what is before them is read.
  @Test(arguments: FATBuilder.Width.allCases)
  func aSectorOfBothFATs(_ width: FATBuilder.Width) throws {
    let volume = Self.sample(width)
    let bits = width == .fat32 ? 32 : width.rawValue
    let sector = 850 * bits / 8 / 512 * 512
    let places = [volume.fat + sector, volume.fat + volume.fatLength + sector]
    let files = try FaultyFiles(volume.bytes)
    #expect(try files.lost(without: places) == ["B"])
    let tree = try FaultyFiles.tree(
      volume.bytes, without: places.map { UInt64($0)..<UInt64($0) + 512 })
    let file = try tree.content(of: tree.item("B"))
    #expect(
      try file.bytes(at: .start, count: 512)
        == Array(ImageBytes.pattern(3 * 512 - 5, seed: 850)[..<512]))
    let error = try #require(failure { try file.bytes(at: DiskOffset(512), count: 1) })
    #expect(error.systemError != 0, "\(error)")
  }

  /// The last sector read of a file can be one whose link cannot.
  @Test(arguments: FATBuilder.Width.allCases)
  func theFirstFATIsDamaged(_ width: FATBuilder.Width) throws {
    var volume = Self.sample(width)
    let files = try ListedFiles(volume.bytes)
    for byte in [0, 0xF6] as [UInt8] {
      volume.put([UInt8](repeating: byte, count: volume.fatLength), at: volume.fat)
      let tree = try ListedFiles.tree(volume.bytes)
      #expect(
        try tree.fileSystem().notes == [
          "the first FAT does not begin as a FAT does; copy 2 is used"
        ])
      #expect(try ListedFiles(tree).items == files.items)
    }
    // Both begin with something else: the first.
    volume.put([0xF0], at: volume.fat + volume.fatLength)
    #expect(try ListedFiles.tree(volume.bytes).fileSystem().notes == [])
    guard width == .fat32 else { return }
    // Only the first one is kept: the second is not asked.
    volume = Self.sample(width)
    volume.putLittle(0x0080 as UInt16, at: 0x28)
    volume.put([UInt8](repeating: 0, count: 512), at: volume.fat)
    let alone = try ListedFiles(volume.bytes)
    #expect(alone.items["A"]?.content == nil)
    // One that is not there: all are.
    volume.putLittle(0x008F as UInt16, at: 0x28)
    #expect(try ListedFiles(volume.bytes).items == files.items)
  }

  /// Each page of a large FAT is asked for once, not once for each sector of it.
  @Test func aFaultCostsItsOwnSectorOnly() throws {
    let volume = Self.sample(.fat32)
    let storage = FaultyStorage(MemoryStorage(volume.bytes))
    storage.damage(UInt64(volume.fat)..<UInt64(volume.fat) + 512)
    let tree = FileTree(Volume(try Disk(layers: [FlatLayer(storage)]).whole))
    let file = try tree.content(of: tree.item("A"))
    storage.forgetReads()
    _ = try file.bytes(at: .start, count: 3 * 512 - 5)
    let table = storage.reads.filter { $0.offset < UInt64(volume.data) }
    #expect(table.count <= 4, "\(table)")
  }

  @Test func aFolderOfBadSectorsIsGivenUp() throws {
    var volume = FATBuilder(.fat16, clusters: 4100)
    let clusters = Array(10..<300)
    volume.chain(clusters)
    volume.entry("SUB        ", at: volume.root, attributes: 0x10, cluster: 10)
    for cluster in clusters {
      volume.entry("F\(cluster + 100)       ", at: volume.place(of: cluster))
    }
    let storage = FaultyStorage(MemoryStorage(volume.bytes))
    storage.damage(UInt64(volume.place(of: 11))..<UInt64(volume.place(of: 299)))
    let tree = FileTree(Volume(try Disk(layers: [FlatLayer(storage)]).whole))
    storage.forgetReads()
    let folder = try tree.folder(tree.item("SUB"))
    #expect(folder.entries.count == 1)
    #expect(folder.damage?.systemError != 0)
    #expect(storage.reads.count < 100)
  }
}
