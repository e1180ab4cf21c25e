import DiskCore
import FileSystems
import TestSupport
import Testing

@testable import FileSystems

/// FAT volumes that lie: each ends in what can be read and an error for the rest.
@Suite struct HostileFATTests {
  @Test(arguments: [0, 3, 511, 8192] as [UInt16])
  func impossibleSectors(_ size: UInt16) throws {
    var volume = FATBuilder()
    volume.putLittle(size, at: 0x0B)
    let error = try #require(failure { try ListedFiles.tree(volume.bytes).root() })
    #expect(error.kind == .malformed)
    #expect(error.message.contains("sectors of \(size) bytes"))
    #expect(error.offset == 0)
  }

  @Test func impossibleParameters() throws {
    let changes: [(at: Int, bytes: [UInt8], says: String)] = [
      (0x10, [0], "no FAT"), (0x0D, [0], "clusters of 0 sectors"), (0x0D, [3], "3 sectors"),
      (0x0E, [0, 0], "no sector before"), (0x15, [0x12], "medium of kind 18"),
      (0x16, [0, 0], "a FAT of no sectors"), (0x20, [4, 0, 0, 0], "4 sectors"),
      (0x20, [0xFF, 0xFF, 0xFF, 0xFF], "clusters"), (0x16, [0xFF, 0xFF], "which its FATs fill"),
    ]
    for change in changes {
      var volume = FATBuilder()
      volume.put(change.bytes, at: change.at)
      let error = try #require(failure { try ListedFiles.tree(volume.bytes).root() })
      #expect(error.kind == .malformed)
      #expect(error.message.contains(change.says), "\(error)")
    }
  }

  @Test func aTerabyteOnAFloppy() throws {
    var volume = FATBuilder(.fat32)
    volume.fill([5], with: [1, 2, 3])
    volume.entry("HERE       ", at: volume.root, cluster: 5, size: 3)
    volume.entry("FAR        ", at: volume.root + 32, cluster: 0x0080_0000, size: 512)
    volume.putLittle(UInt32.max, at: 0x20)
    volume.put([16], at: 0x0D)
    volume.putLittle(0x0010_0000 as UInt32, at: 0x24)
    // The FAT reaches past the end, and so does the root.
    let lying = try ListedFiles.tree(volume.bytes)
    #expect(try lying.fileSystem().notes.count == 2)
    #expect(failure { try lying.names() }?.kind == .truncated)
    // Only the count of sectors is wrong.
    volume.put([1], at: 0x0D)
    volume.putLittle(UInt32(2), at: 0x24)
    volume.putLittle(UInt32(0x0FFF_FF00), at: 0x20)
    let files = try ListedFiles(volume.bytes)
    #expect(files.paths == ["FAR", "HERE"])
    #expect(files.items["HERE"]?.content == [1, 2, 3])
    #expect(files.items["FAR"]?.content == nil)
  }

  @Test(arguments: FATBuilder.Width.allCases)
  func aFileOfInfiniteLength(_ width: FATBuilder.Width) throws {
    var volume = FATBuilder(width)
    // 10 → 11 → 12 → 13 → 11: the part before the loop and one turn of it are there.
    volume.fill([10, 11, 12, 13], with: ImageBytes.pattern(2048, seed: 2))
    volume.link(13, to: 11)
    volume.entry("LOOP       ", at: volume.root, cluster: 10, size: 0xFFFF_FFFF)
    volume.fill([20], with: ImageBytes.pattern(512, seed: 3))
    volume.link(20, to: 20)
    volume.entry("ITSELF     ", at: volume.root + 32, cluster: 20, size: 0xFFFF_FFFF)
    let tree = try ListedFiles.tree(volume.bytes)
    let loop = try tree.content(of: tree.item("LOOP"))
    #expect(loop.size == 0xFFFF_FFFF)
    #expect(try loop.bytes(at: .start, count: 2048) == ImageBytes.pattern(2048, seed: 2))
    for place in [2048, 2560, 1 << 20, 0xFFFF_FFFE] as [UInt64] {
      let error = try #require(failure { try loop.bytes(at: DiskOffset(place), count: 1) })
      #expect(error.message.contains("back into itself"))
    }
    // In any order.
    let itself = try tree.content(of: tree.item("ITSELF"))
    #expect(failure { try itself.bytes(at: DiskOffset(0x8000_0000), count: 1) } != nil)
    #expect(try itself.bytes(at: .start, count: 512) == ImageBytes.pattern(512, seed: 3))
    #expect(failure { try itself.bytes(at: DiskOffset(512), count: 1) } != nil)
  }

  /// Every loop of up to 40 clusters behind every way in: none is read twice, all before it is.
  @Test func loopsOfEveryShape() throws {
    var empty = FATBuilder(.fat16)
    empty.entry("LOOP       ", at: empty.root, cluster: 2, size: 1 << 20)
    for way in stride(from: 0, through: 40, by: 5) {
      for length in [1, 2, 3, 7, 8, 20, 40] {
        var volume = empty
        let clusters = Array(2..<2 + way + length)
        volume.chain(clusters)
        volume.link(clusters[clusters.count - 1], to: UInt32(2 + way))
        let tree = try ListedFiles.tree(volume.bytes)
        let file = try tree.content(of: tree.item("LOOP"))
        for index in [way + length - 1, way + length, way + length + 1] {
          // Each from the start, as the first question that is asked.
          let fresh = try tree.content(of: tree.item("LOOP"))
          let answer = failure { try fresh.bytes(at: DiskOffset(UInt64(index * 512)), count: 1) }
          #expect((answer == nil) == (index < way + length), "\(way), \(length), \(index)")
        }
        let all = way + length
        #expect(failure { try file.bytes(at: .start, count: all * 512) } == nil)
        #expect(failure { try file.bytes(at: .start, count: all * 512 + 1) } != nil)
      }
    }
  }

  @Test(arguments: FATBuilder.Width.allCases)
  func chainsThatBreak(_ width: FATBuilder.Width) throws {
    let largest: UInt32 = width == .fat12 ? 0xFF6 : width == .fat16 ? 0xFFF6 : 0x0FFF_FFF6
    let ends: [(link: UInt32, says: String)] = [
      (0, "free"), (largest + 1, "bad"), (1, "does not have"), (largest, "does not have"),
      (largest + 2, "end before"),
    ]
    for end in ends {
      var volume = FATBuilder(width)
      volume.fill([10, 11], with: ImageBytes.pattern(1024, seed: 2))
      volume.link(11, to: end.link)
      volume.entry("FILE       ", at: volume.root, cluster: 10, size: 3000)
      let tree = try ListedFiles.tree(volume.bytes)
      let file = try tree.content(of: tree.item("FILE"))
      #expect(try file.bytes(at: .start, count: 1024) == ImageBytes.pattern(1024, seed: 2))
      let error = try #require(failure { try file.bytes(at: DiskOffset(1024), count: 1) })
      #expect(error.message.contains(end.says), "\(error)")
    }
    for first in [0, 1, largest, 0x0FFF_FFFF] as [UInt32] {
      var volume = FATBuilder(width)
      volume.entry("FILE       ", at: volume.root, cluster: Int(first), size: 3000)
      volume.entry("EMPTY      ", at: volume.root + 32, cluster: Int(first))
      volume.entry("SUB        ", at: volume.root + 64, attributes: 0x10, cluster: Int(first))
      let files = try ListedFiles(volume.bytes)
      #expect(files.items["FILE"]?.content == nil)
      #expect(files.items["FILE"]?.attributes.size == 3000)
      #expect(files.items["EMPTY"]?.content == [])
      #expect(files.items["SUB"]?.attributes.size == 0)
      #expect(files.damage.count == 1)
    }
  }

  @Test func filesThatShareClustersAreBothRead() throws {
    var volume = FATBuilder()
    volume.fill([10, 11], with: ImageBytes.pattern(1024, seed: 2))
    volume.entry("ONE        ", at: volume.root, cluster: 10, size: 1024)
    volume.entry("TWO        ", at: volume.root + 32, cluster: 11, size: 512)
    // A chain that is longer than its file is cut there.
    volume.entry("SHORT      ", at: volume.root + 64, cluster: 10, size: 3)
    let files = try ListedFiles(volume.bytes)
    #expect(files.items["ONE"]?.content == ImageBytes.pattern(1024, seed: 2))
    #expect(files.items["TWO"]?.content == Array(ImageBytes.pattern(1024, seed: 2)[512...]))
    #expect(files.items["SHORT"]?.content == Array(ImageBytes.pattern(1024, seed: 2)[..<3]))
  }

  @Test func folderLoops() throws {
    var volume = FATBuilder()
    // A folder in itself, and one whose chain leads back into itself.
    volume.entry("SUB        ", at: volume.root, attributes: 0x10, cluster: 20)
    volume.chain([20])
    volume.entry("SUB        ", at: volume.place(of: 20), attributes: 0x10, cluster: 20)
    volume.entry("CHAIN      ", at: volume.root + 32, attributes: 0x10, cluster: 30)
    for index in 0..<16 {
      volume.entry("FILE\(index + 10)     ", at: volume.place(of: 30) + index * 32)
    }
    volume.link(30, to: 30)
    let tree = try ListedFiles.tree(volume.bytes)
    #expect(try tree.names(in: "SUB/SUB/SUB/SUB") == ["SUB"])
    let chain = try tree.folder(tree.item("CHAIN"))
    #expect(chain.entries.count == 16)
    #expect(chain.damage?.message.contains("back into itself") == true)
    #expect(try tree.attributes(of: tree.item("CHAIN")).size == 512)
  }

  @Test func aFolderOfTooManyEntries() throws {
    var volume = FATBuilder(.fat16, clusters: 4200)
    let clusters = Array(10..<10 + 4098)
    volume.chain(clusters)
    volume.entry("SUB        ", at: volume.root, attributes: 0x10, cluster: 10)
    for cluster in clusters {
      volume.put([UInt8](repeating: 0xE5, count: 512), at: volume.place(of: cluster))
    }
    volume.entry("FIRST      ", at: volume.place(of: 10))
    let tree = try ListedFiles.tree(volume.bytes)
    let folder = try tree.folder(tree.item("SUB"))
    #expect(folder.entries.map(\.name.text) == ["FIRST"])
    #expect(folder.damage?.message.contains("2097152") == true)
  }

  @Test func theSameNameTwice() throws {
    var volume = FATBuilder()
    for index in 0..<3 { volume.entry("FILE    TXT", at: volume.root + index * 32) }
    let end = volume.longName(
      Array("../../etc/passwd".utf16), for: "X          ", at: volume.root + 96)
    volume.entry("X          ", at: end)
    let dots = volume.longName(Array("..".utf16), for: "Y          ", at: end + 32)
    volume.entry("Y          ", at: dots)
    let surrogate = volume.longName([0x61, 0xD800, 0x62], for: "Z          ", at: dots + 32)
    volume.entry("Z          ", at: surrogate)
    #expect(
      try ListedFiles.tree(volume.bytes).names() == [
        "FILE.TXT", "FILE.TXT~2", "FILE.TXT~3", "..\\x2f..\\x2fetc\\x2fpasswd", "\\x2e\\x2e",
        "a\u{FFFD}b",
      ])
  }

  /// Clusters of 512 bytes, no two beside each other, 4 GiB of them in a soak: checkpoints instead of
  /// eight million runs, and any place at once.
  @Test func aLargeFileInPieces() throws {
    let clusters: UInt64 = Soak.isOn ? 1 << 23 : 1 << 18
    let fatSectors = clusters * 2 * 4 / 512 + 1
    var boot = FATBuilder(.fat32)
    boot.putLittle(UInt32(clusters * 2 + fatSectors + 40), at: 0x20)
    boot.putLittle(UInt32(fatSectors), at: 0x24)
    boot.put([1], at: 0x10)
    let data = 32 * 512 + fatSectors * 512
    let length = clusters * 512 - 1
    var folder = FATBuilder(.fat32)
    folder.entry("BIG        ", at: 0, cluster: 4, size: Int(length))
    let stored = ScatteredFAT(
      boot: Array(boot.bytes[..<512]), root: Array(folder.bytes[..<512]), data: data,
      size: data + clusters * 1024 + 4096)
    let tree = FileTree(Volume(try Disk(layers: [FlatLayer(stored)]).whole))
    let file = try tree.content(of: tree.item("BIG"))
    func bytes(of index: UInt64) -> [UInt8] {
      let cluster = 4 + 2 * index
      return [cluster & 0xFF, cluster >> 8 & 0xFF, cluster >> 16 & 0xFF].map { UInt8($0) }
    }
    let clock = ThreadClock()
    let start = clock.now
    let end = DiskOffset((clusters - 1) * 512)
    #expect(try file.bytes(at: end, count: 3) == bytes(of: clusters - 1))
    let last = clock.now - start
    var random = SeededRandom(seed: 1)
    for _ in 0..<200 {
      let index = random.next() % clusters
      #expect(try file.bytes(at: DiskOffset(index * 512), count: 3) == bytes(of: index))
    }
    let some = clock.now - start - last
    print("a chain of \(clusters) clusters: to its end \(last), then 200 places \(some)")
    #expect(some < last)
  }
}

/// A FAT32 volume that is computed: cluster 2 is the root, each even cluster leads to the next even one,
/// and the bytes of a cluster are its number over and over.
private final class ScatteredFAT: Storage {
  let path = "scattered.img"
  let size: UInt64
  let modificationTime: (seconds: Int, nanoseconds: Int) = (0, 0)
  var allocatedBytes: UInt64 { size }
  private let boot: [UInt8]
  private let root: [UInt8]
  private let data: UInt64

  init(boot: [UInt8], root: [UInt8], data: UInt64, size: UInt64) {
    self.boot = boot
    self.root = root
    self.data = data
    self.size = size
  }

  func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    let fat = UInt64(32 * 512)
    buffer.withUnsafeMutableBytes { target in
      if offset.bytes >= fat, offset.bytes + UInt64(target.count) <= data {
        let first = UInt32((offset.bytes - fat) / 4)
        let words = target.bindMemory(to: UInt32.self)
        for index in 0..<words.count {
          let cluster = first + UInt32(index)
          words[index] = cluster == 2 ? 0x0FFF_FFFF : cluster + 2
        }
        return
      }
      for index in 0..<target.count {
        let place = offset.bytes + UInt64(index)
        if place < 512 {
          target[index] = boot[Int(place)]
        } else if place < fat {
          target[index] = 0
        } else if place < data {
          let cluster = UInt32((place - fat) / 4)
          let link = cluster == 2 ? 0x0FFF_FFFF : cluster + 2
          target[index] = UInt8(link >> (UInt32(place % 4) * 8) & 0xFF)
        } else if place < data + 512 {
          target[index] = root[Int(place - data)]
        } else {
          let cluster = (place - data) / 512 + 2
          target[index] = UInt8(cluster >> (place % 4 * 8) & 0xFF)
        }
      }
    }
  }

  func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    StorageRegion(isHole: false, length: limit)
  }
}
