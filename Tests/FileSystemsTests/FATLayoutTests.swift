import DiskCore
import FileSystems
import TestSupport
import Testing

@testable import FileSystems

/// What the boot sector says, at the borders, and what is there without one.
@Suite struct FATLayoutTests {
  /// A file whose clusters are found by one width of the FAT only.
  private func volume(_ width: FATBuilder.Width, clusters: Int, sectorSize: Int = 512) -> FATBuilder
  {
    var volume = FATBuilder(width, clusters: clusters, sectorSize: sectorSize)
    // Entries 341 and 682 of FAT12 cross the sectors' borders. mtools take a link to the last cluster of all
    // for a mistake, so another file begins there.
    let file = [341, 5, 682, 4, clusters, 3]
    volume.fill([clusters + 1], with: [9, 8, 7])
    volume.entry("LAST       ", at: volume.root + 32, cluster: clusters + 1, size: 3)
    volume.fill(file, with: ImageBytes.pattern(6 * volume.clusterSize - 3, seed: 7))
    volume.entry("FILE       ", at: volume.root, cluster: 341, size: 6 * volume.clusterSize - 3)
    // The name in the boot sector decides nothing.
    if width != .fat32 { volume.put(Array("FAT     ".utf8), at: 0x36) }
    return volume
  }

  @Test(arguments: [
    (FATBuilder.Width.fat12, 1000), (.fat12, 4084), (.fat16, 4085), (.fat16, 65524), (.fat32, 1000),
    (.fat32, 65524), (.fat32, 65525),
  ])
  func theCountOfClustersDecides(_ width: FATBuilder.Width, _ clusters: Int) throws {
    let volume = volume(width, clusters: clusters)
    let files = try ListedFiles(volume.bytes)
    #expect(files.items["FILE"]?.content == ImageBytes.pattern(6 * 512 - 3, seed: 7))
    #expect(files.items["LAST"]?.content == [9, 8, 7])
    #expect(try ListedFiles.tree(volume.bytes).fileSystem().notes == [])
    // mtools, unlike Linux, take no FAT32 that is so small.
    if width == .fat32, clusters < 65525 { return }
    guard HostTools.has("mcopy") else { return print("skipped: mtools are not installed") }
    try HostTools.withFolder { folder in
      try HostTools.write(volume.bytes, to: folder + "/fat.img")
      try HostTools.run("mcopy", ["-n", "-i", folder + "/fat.img", "::/FILE", "::/LAST", folder])
      let extracted = try ExtractedFiles(folder)
      for name in ["FILE", "LAST"] {
        #expect(extracted.items[name]?.content == files.items[name]?.content)
      }
    }
  }

  @Test func moreClustersThanFAT16Counts() throws {
    let error = try #require(
      failure { try ListedFiles.tree(volume(.fat16, clusters: 65525).bytes).root() })
    #expect(error.message.contains("65525 clusters"))
  }

  @Test(arguments: [1024, 2048, 4096], FATBuilder.Width.allCases)
  func readsLargeSectors(_ sectorSize: Int, _ width: FATBuilder.Width) throws {
    var volume = volume(
      width, clusters: width == .fat16 ? 4100 : 1400, sectorSize: sectorSize)
    volume.entry("SUB        ", at: volume.root + 64, attributes: 0x10, cluster: 20)
    volume.fill([20], with: [])
    volume.entry("INNER      ", at: volume.place(of: 20) + sectorSize - 32)
    for index in 0..<sectorSize / 32 - 1 {
      volume.put([0xE5], at: volume.place(of: 20) + index * 32)
    }
    let files = try ListedFiles(volume.bytes)
    #expect(files.paths == ["FILE", "LAST", "SUB", "SUB/INNER"])
    #expect(files.items["FILE"]?.content == ImageBytes.pattern(6 * sectorSize - 3, seed: 7))
    #expect(files.items["SUB"]?.attributes.size == UInt64(sectorSize))
  }

  /// No signature, no jump of the 8086, and a FAT that begins as the Atari's does.
  @Test func readsFloppiesOfTheAtariST() throws {
    var volume = FATBuilder(clusters: 711)
    volume.put([0x60, 0x38], at: 0)
    volume.put([0, 0], at: 510)
    volume.put([UInt8](repeating: 0, count: 26), at: 0x24)
    volume.put([0xF9], at: 0x15)
    volume.put([0xF7, 0xFF, 0xFF], at: volume.fat)
    volume.put([0xF7, 0xFF, 0xFF], at: volume.fat + volume.fatLength)
    volume.fill([5], with: [1, 2, 3])
    volume.entry("DESKTOP INF", at: volume.root, cluster: 5, size: 3)
    for first in [[0x60, 0x38], [0, 0], [0xE9, 0]] as [[UInt8]] {
      volume.put(first, at: 0)
      #expect(try ListedFiles(volume.bytes).items["DESKTOP.INF"]?.content == [1, 2, 3])
    }
    // In a larger volume only what begins as a program does is believed.
    volume.put([0, 0], at: 0)
    let longer = volume.bytes + [UInt8](repeating: 0, count: 512)
    #expect(failure { try ListedFiles.tree(longer).root() }?.kind == .unsupported)
  }

  @Test(arguments: [512, 4096])
  func usesTheBackupOfTheBootSector(_ sectorSize: Int) throws {
    var volume = volume(.fat32, clusters: 1000, sectorSize: sectorSize)
    volume.put([UInt8](repeating: 0, count: 512), at: 0)
    let tree = try ListedFiles.tree(volume.bytes)
    #expect(try tree.names() == ["FILE", "LAST"])
    #expect(try tree.fileSystem().notes == ["the boot sector is empty; its backup is used"])
    // One that does not name its own place, and one under something else, is of another volume.
    var moved = volume
    moved.putLittle(7 as UInt16, at: 6 * sectorSize + 0x32)
    #expect(failure { try ListedFiles.tree(moved.bytes).root() }?.kind == .unsupported)
    volume.put([1], at: 100)
    #expect(failure { try ListedFiles.tree(volume.bytes).root() }?.kind == .unsupported)
  }
}
