import DiskCore
import Foundation
import Partitions
import TestSupport
import Testing

/// Tables that `sfdisk` and `sgdisk` write, against what `sfdisk --json` reads from them.
@Suite struct PartitionToolTests {
  /// What `sfdisk --json` says of a partition.
  private struct Listed: Equatable {
    var number: Int
    var start: UInt64
    var size: UInt64
    var type: String
    var name: String?
    var isBootable: Bool
  }

  private func listing(
    _ file: String
  ) throws -> (kind: String, identifier: String, partitions: [Listed]) {
    struct Output: Decodable {
      struct Table: Decodable {
        var label: String
        var id: String
        var partitions: [Entry]?
      }
      struct Entry: Decodable {
        var node: String
        var start: UInt64
        var size: UInt64
        var type: String
        var name: String?
        var bootable: Bool?
        var attrs: String?
      }
      var partitiontable: Table
    }
    let text = try HostTools.run("sfdisk", ["--json", file])
    let table = try JSONDecoder().decode(Output.self, from: Data(text.utf8)).partitiontable
    let partitions = try (table.partitions ?? []).map { entry in
      Listed(
        number: try #require(Int(entry.node.dropFirst(file.count))), start: entry.start,
        size: entry.size, type: entry.type.lowercased(), name: entry.name,
        isBootable: entry.bootable ?? (entry.attrs?.contains("LegacyBIOSBootable") ?? false))
    }
    return (table.label, table.id.lowercased(), partitions.sorted { $0.number < $1.number })
  }

  private func compare(_ file: String, sectorSize: UInt64 = 512) throws {
    let listing = try listing(file)
    let disk = try Disk(layers: [FlatLayer(FileStorage(path: file))])
    let table = try PartitionTable.read(from: disk.whole)
    #expect(table.kind.rawValue == (listing.kind == "dos" ? "mbr" : listing.kind))
    #expect((listing.kind == "dos" ? "0x" : "") + (table.identifier ?? "") == listing.identifier)
    let read = table.partitions.map { partition in
      Listed(
        number: partition.number, start: partition.start.bytes / sectorSize,
        size: partition.size / sectorSize,
        // sfdisk prints types of the MBR without a zero in front.
        type: table.kind == .mbr && partition.type.first == "0"
          ? String(partition.type.dropFirst()) : partition.type,
        name: partition.name, isBootable: partition.isBootable)
    }
    #expect(read == listing.partitions)
    if read != listing.partitions { print(try HostTools.run("sfdisk", ["--dump", file])) }
  }

  @Test(
    .enabled(if: HostTools.has("sfdisk"), "sfdisk is not installed (package fdisk)"),
    arguments: 0..<60 as Range<UInt64>)
  func randomMBRTables(_ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    try HostTools.withFolder { folder in
      let file = folder + "/disk.img"
      try HostTools.makeFile(file, size: 128 << 20)
      try HostTools.run("sfdisk", ["-q", file], input: mbrScript(&random))
      try compare(file)
    }
  }

  /// Up to four primaries in any order and slots, one of them perhaps extended with logicals in it
  /// in any order.
  private func mbrScript(_ random: inout SeededRandom) -> String {
    var script =
      "label: dos\nlabel-id: 0x\(String(UInt32.random(in: 1 ... .max, using: &random), radix: 16))\n"
    // Eight slots of 16 MiB from 1 MiB on, taken in random order.
    var places = (0..<7).map { 2048 + 32768 * $0 }.shuffled(using: &random)
    let types = ["83", "c", "7", "82", "8e", "da", "ef"]
    func line(_ number: Int, _ start: Int, _ size: Int, _ type: String, _ boot: Bool = false) {
      script += "\(number): start=\(start), size=\(size), type=\(type)\(boot ? ", bootable" : "")\n"
    }
    var logicals: (start: Int, size: Int)? = nil
    for number in [1, 2, 3, 4].shuffled(using: &random).prefix(
      Int.random(in: 1...4, using: &random))
    {
      guard let start = places.popLast() else { break }
      if logicals == nil, Int.random(in: 0..<3, using: &random) > 0 {
        logicals = (start, 32768)
        line(number, start, 32768, ["5", "f", "85"].randomElement(using: &random) ?? "5")
      } else {
        line(
          number, start, Int.random(in: 1...32768, using: &random),
          types.randomElement(using: &random) ?? "83", Bool.random(using: &random))
      }
    }
    if let logicals {
      let spaces = (0..<8).map { logicals.start + 4096 * $0 + 2048 }.shuffled(using: &random)
      for (index, start) in spaces.prefix(Int.random(in: 0...8, using: &random)).enumerated() {
        line(
          5 + index, start, Int.random(in: 1...2048, using: &random),
          types.randomElement(using: &random) ?? "83")
      }
    }
    return script
  }

  @Test(
    .enabled(if: HostTools.has("sfdisk"), "sfdisk is not installed (package fdisk)"),
    arguments: 0..<40 as Range<UInt64>)
  func randomGPTTables(_ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    try HostTools.withFolder { folder in
      let file = folder + "/disk.img"
      try HostTools.makeFile(file, size: 64 << 20)
      var script = "label: gpt\n"
      let numbers = (1...128).shuffled(using: &random).prefix(
        Int.random(in: 0...10, using: &random))
      for (index, number) in numbers.enumerated() {
        let start = 2048 + 8192 * index + Int.random(in: 0..<4096, using: &random)
        let name =
          ["", ", name=\"root fs\"", ", name=\"größe\""].randomElement(using: &random) ?? ""
        let boot = Bool.random(using: &random) ? ", attrs=\"LegacyBIOSBootable\"" : ""
        script +=
          "\(number): start=\(start), size=\(Int.random(in: 1...4096, using: &random))\(name)\(boot)\n"
      }
      try HostTools.run("sfdisk", ["-q", file], input: script)
      try compare(file)
      if HostTools.has("blkid"), let number = numbers.first {
        // PARTUUID as blkid prints it for a partition is sfdisk's uuid in lower case.
        let uuid = try HostTools.run("sfdisk", ["--part-uuid", file, "\(number)"])
        let disk = try Disk(layers: [FlatLayer(FileStorage(path: file))])
        let partition = try PartitionTable.read(from: disk.whole).partition(number)
        #expect(uuid.lowercased() == (partition.uuid ?? "") + "\n")
      }
    }
  }

  @Test(.enabled(if: HostTools.has("sgdisk", "sfdisk"), "sgdisk is not installed (package gdisk)"))
  func hybridAndDamagedTablesOfSgdisk() throws {
    try HostTools.withFolder { folder in
      let file = folder + "/disk.img"
      try HostTools.makeFile(file, size: 64 << 20)
      try HostTools.run(
        "sgdisk",
        ["-a", "1", "-n", "1:2048:4095", "-t", "1:ef00", "-c", "1:EFI", "-n", "3:8192:0", file])
      try compare(file)
      try HostTools.run("sgdisk", ["--hybrid", "1", file])
      func table() throws -> PartitionTable {
        try PartitionTable.read(
          from: Disk(layers: [FlatLayer(FileStorage(path: file))]).whole)
      }
      let hybrid = try table()
      #expect(hybrid.kind == .gpt && hybrid.partitions.map(\.number) == [1, 3])
      #expect(hybrid.notes.count == 1 && hybrid.notes[0].contains("hybrid"))
      #expect(hybrid.partitions[0].typeName == "EFI system")
      // The whole primary table gone.
      let handle = try #require(FileHandle(forUpdatingAtPath: file))
      try handle.seek(toOffset: 512)
      handle.write(Data(count: 33 * 512))
      try handle.close()
      let backup = try table()
      #expect(backup.partitions.map(\.number) == [1, 3])
      #expect(backup.partitions.map(\.size) == hybrid.partitions.map(\.size))
      #expect(backup.notes.contains { $0.contains("its backup in sector 131071 is used") })
    }
  }
}
