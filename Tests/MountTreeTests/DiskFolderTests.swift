import DiskCore
import MountTree
import Partitions
import TestSupport
import Testing

private typealias Entry = GPTBuilder.Entry

@Suite struct DiskFolderTests {
  private static let links = ["by-label", "by-uuid", "by-partlabel", "by-partuuid", "files"]

  /// Partition 1 is a floppy's file system, partition 3 LUKS, partition 6 nothing.
  private static let gpt: GPTBuilder = {
    var builder = GPTBuilder(
      sectorCount: 8192,
      entries: [
        0: Entry(first: 40, last: 40 + 2879, name: Array("My Disk".utf16)),
        2: Entry(
          first: 4000, last: 4199, name: Array("größe 🐧".utf16),
          uuid: [UInt8](repeating: 0xCD, count: 16)),
        5: Entry(first: 5000, last: 5000, uuid: Array(0...15)),
      ])
    builder.content = [
      (40 * 512, FileSystemBuilders.fat12()), (4000 * 512, FileSystemBuilders.luks(version: 2)),
      (5000 * 512, [7, 8, 9]),
    ]
    return builder
  }()

  @Test func partitionsOfAGPT() throws {
    let tree = try ListedTree(Self.gpt)
    #expect(try tree.names() == ["disk", "p1", "p3", "p6"] + Self.links)
    #expect(try tree.node("disk").attributes.size == 8192 * 512)
    #expect(try tree.node("p1").attributes.size == 2880 * 512)
    #expect(try tree.node("p6").attributes.size == 512)
    #expect(try tree.bytes("p6", count: 4) == [7, 8, 9, 0])
    #expect(try tree.bytes("p3", count: 4) == Array("LUKS".utf8))
    #expect(try tree.bytes("disk", count: 40 * 512 + 3).suffix(3) == [0xEB, 0x3C, 0x90])
  }

  @Test func linksOfAGPT() throws {
    let tree = try ListedTree(Self.gpt)
    #expect(try tree.names("by-label") == ["PLATTER → ../p1", "secrets → ../p3"])
    #expect(
      try tree.names("by-uuid") == [
        "1234-ABCD → ../p1", "e7b8e0a8-1c9f-4f8d-9f0a-1b2c3d4e5f60 → ../p3",
      ])
    #expect(try tree.names("by-partlabel") == ["My\\x20Disk → ../p1", "größe\\x20🐧 → ../p3"])
    #expect(
      try tree.names("by-partuuid") == [
        "abababab-abab-abab-abab-abababababab → ../p1",
        "cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd → ../p3",
        "03020100-0504-0706-0809-0a0b0c0d0e0f → ../p6",
      ])
  }

  @Test func logicalPartitionsOfAnMBRFromFive() throws {
    var builder = MBRBuilder()
    builder.record(
      signature: 0xDEAD_BEEF,
      [
        1: .init(0x83, start: 2048, sectors: 2048), 3: .init(0x05, start: 8192, sectors: 8192),
      ])
    builder.record(
      at: 8192,
      [0: .init(0x83, start: 64, sectors: 100), 1: .init(0x05, start: 1024, sectors: 1024)])
    builder.record(at: 9216, [0: .init(0x82, start: 64, sectors: 200)])
    builder.put([1, 2, 3], atSector: 9216 + 64)
    let tree = try ListedTree(size: 32 << 20, pieces: builder.pieces)
    #expect(try tree.names() == ["disk", "p2", "p4", "p5", "p6"] + Self.links)
    #expect(try tree.bytes("p6", count: 3) == [1, 2, 3])
    #expect(try tree.node("p6").attributes.size == 200 * 512)
    // An MBR has no names; its identifiers are made of the signature.
    #expect(try tree.names("by-partlabel") == [])
    #expect(
      try tree.names("by-partuuid") == [2, 4, 5, 6].map { "deadbeef-0\($0) → ../p\($0)" })
  }

  @Test func aFloppyHasJustTheDisk() throws {
    let floppy = FileSystemBuilders.fat12()
    let tree = try ListedTree(size: UInt64(floppy.count), pieces: [(0, floppy)])
    #expect(try tree.names() == ["disk", "files"])
    #expect(try tree.bytes("disk", count: floppy.count) == floppy)
  }

  @Test func anEmptyTableHasItsFolders() throws {
    let tree = try ListedTree(GPTBuilder())
    #expect(try tree.names() == ["disk"] + Self.links)
    for folder in Self.links { #expect(try tree.names(folder) == []) }
  }

  /// Only who looks for labels has them looked for.
  @Test func foldersThatNobodyOpensCostNothing() throws {
    let tree = try ListedTree(Self.gpt)
    _ = try tree.names()
    for name in Self.links + ["disk", "p1", "p3", "p6"] {
      _ = try tree.node(name)
      if !["disk", "p1", "p3", "p6"].contains(name) { _ = try tree.node(name).attributes }
    }
    _ = try tree.names("by-partlabel")
    _ = try tree.names("by-partuuid")
    #expect(tree.storage.reads.isEmpty)
    _ = try tree.names("by-label")
    let first = tree.storage.reads.count
    #expect(first > 0)
    _ = try tree.names("by-uuid")
    _ = try tree.names("by-label")
    #expect(tree.storage.reads.count == first, "both folders come from one look")
  }

  @Test func aPartitionThatCannotBeReadHasNoLabel() throws {
    let tree = try ListedTree(Self.gpt)
    tree.storage.damage(40 * 512..<41 * 512)
    #expect(try tree.names("by-label") == ["secrets → ../p3"])
    #expect(try tree.names() == ["disk", "p1", "p3", "p6"] + Self.links)
    #expect(throws: DiskError.self) { try tree.bytes("p1", count: 512) }
    #expect(try tree.bytes("p3", count: 4) == Array("LUKS".utf8))
  }

  @Test func partitionsOutsideTheDiskAreRefused() throws {
    let disk = try Disk.holding(size: 1 << 20, pieces: []).whole
    let table = PartitionTable(
      kind: .mbr,
      partitions: [Partition(number: 1, start: DiskOffset(1 << 19), size: 1 << 20, type: "83")])
    let error = #expect(throws: DiskError.self) {
      try DiskFolder(disk: disk, table: table).items()
    }
    #expect(error?.kind == .invalidRequest)
  }

  @Test func partitionsThatShareALabel() throws {
    var builder = GPTBuilder(sectorCount: 16_384)
    for index in 0..<4 {
      let first = UInt64(40 + index * 3000)
      builder.entries[index] = Entry(first: first, last: first + 2879, name: Array("root".utf16))
      builder.content.append((first * 512, FileSystemBuilders.fat12()))
    }
    // The third is already called what the second would be called.
    builder.entries[2]?.name = Array("root-p2".utf16)
    let tree = try ListedTree(builder)
    #expect(
      try tree.names("by-partlabel") == [
        "root → ../p1", "root-p2 → ../p2", "root-p2-p3 → ../p3", "root-p4 → ../p4",
      ])
    #expect(
      try tree.names("by-label") == [
        "PLATTER → ../p1", "PLATTER-p2 → ../p2", "PLATTER-p3 → ../p3", "PLATTER-p4 → ../p4",
      ])
    #expect(try tree.names("by-partuuid").count == 4)
  }

  /// As many partitions as are kept, all with the longest name there can be.
  @Test func manyPartitionsOfOneLongName() throws {
    var builder = GPTBuilder(sectorCount: 8192)
    builder.entryCount = 1024
    for index in 0..<1024 {
      builder.entries[index] = Entry(
        first: UInt64(300 + index), last: UInt64(300 + index),
        name: [UInt16](repeating: 0x2028, count: 36))
    }
    let tree = try ListedTree(builder)
    let names = try tree.entries("by-partlabel").map(\.name)
    #expect(names.count == 1024 && Set(names.map { Array($0.utf8) }).count == 1024)
    #expect(names.allSatisfy { $0.utf8.count <= 255 })
  }
}
