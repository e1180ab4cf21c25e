import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// The VMDK row of shared/HOSTILE.md. `OpenedImage` checks the second, the little that is read and
/// the file's name in each error.
@Suite struct HostileVMDKTests {
  private func sparse(capacity: UInt64 = 64) -> VMDKBuilder {
    var builder = VMDKBuilder.monolithic(capacity: capacity)
    builder.grains = [
      0: .data(ImageBytes.pattern(4096, seed: 1)), 3: .data(ImageBytes.pattern(4096, seed: 3)),
    ]
    return builder
  }

  private func refusal(_ builder: VMDKBuilder) throws -> DiskError {
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder) }
    let found = try #require(error)
    #expect(found.offset != nil)
    return found
  }

  /// What the command says of a folder with this descriptor in it, within a second.
  private func refusal(_ text: String) throws -> DiskError {
    try HostTools.withFolder { folder in
      try HostTools.write(Array(text.utf8), to: "\(folder)/disk.vmdk")
      let clock = ThreadClock()
      let start = clock.now
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/disk.vmdk") }
      #expect(start.duration(to: clock.now) < .seconds(1))
      let found = try #require(error)
      #expect(found.path?.hasPrefix(folder) == true && found.offset != nil)
      #expect(!"\(found)".contains { $0.isNewline })
      return found
    }
  }

  @Test(
    arguments: [
      "/etc/passwd", "../../../../../../etc/passwd", #"..\..\..\..\etc\passwd"#, "/dev/zero", "/",
    ])
  func filesOfTheHost(_ name: String) throws {
    for line in ["RW 2 FLAT \"\(name)\" 0", "RW 2 SPARSE \"\(name)\"", "RW 2 VMFS \"\(name)\""] {
      let error = try refusal(VMDKBuilder.text("monolithicFlat", [line]))
      #expect(
        [.permissionDenied, .notFound, .invalidRequest].contains(error.kind), "\(error)")
      #expect(error.message.contains("extent"))
    }
  }

  @Test func theUserIsToldHowToAllowIt() throws {
    let error = try refusal(
      VMDKBuilder.text("monolithicFlat", ["RW 2 FLAT \"/etc/passwd\" 0"]))
    #expect(error.kind == .permissionDenied)
    #expect(error.message.contains("'/etc/passwd'") && error.message.contains("--allow-path /etc"))
  }

  @Test(arguments: ["../../../..", "..", ".", "/../.."]) func folders(_ name: String) throws {
    let error = try refusal(VMDKBuilder.text("vmfs", ["RW 2 VMFS \"\(name)\""]))
    #expect([.permissionDenied, .invalidRequest, .notFound].contains(error.kind))
  }

  @Test func linkOutOfTheFolder() throws {
    try HostTools.withFolder { folder in
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder)/a-flat.vmdk", withDestinationPath: "/etc/passwd")
      let text = VMDKBuilder.text("vmfs", ["RW 2 VMFS \"a-flat.vmdk\""])
      try HostTools.write(Array(text.utf8), to: "\(folder)/a.vmdk")
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/a.vmdk") }
      #expect(error?.kind == .permissionDenied)
    }
  }

  /// The descriptor as its own extent is what it is: bytes that the user named.
  @Test func extentIsTheDescriptor() throws {
    try HostTools.withFolder { folder in
      for (line, isRead) in [
        ("RW 1 FLAT \"x.vmdk\" 0", true), ("RW 1 SPARSE \"x.vmdk\"", false),
      ] {
        let text = VMDKBuilder.text("vmfs", [line]) + String(repeating: "#", count: 512)
        try HostTools.write(Array(text.utf8), to: "\(folder)/x.vmdk")
        if isRead {
          let disk = try OpenImage(path: "\(folder)/x.vmdk").disk
          #expect(
            try disk.whole.bytes(at: .start, count: 512) == Array(Array(text.utf8).prefix(512)))
        } else {
          #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/x.vmdk") }
        }
      }
    }
  }

  @Test func aMillionExtents() throws {
    // As many as there is room for.
    let line = "RW 1 ZERO"
    let text = VMDKBuilder.text("custom", [String](repeating: line, count: 100_000))
    let error = try refusal(text)
    #expect(error.kind == .unsupported)
    #expect(error.message == "the descriptor names more than 4096 extents")
    #expect(
      try refusal(VMDKBuilder.text("custom", [String](repeating: line, count: 1_000_000))).kind
        == .unsupported)
    let most = VMDKBuilder.text("custom", [String](repeating: line, count: 4096))
    let image = try OpenedImage(
      MemoryStorage(Array(most.utf8), path: "many.vmdk"), isLarge: true)
    #expect(image.disk.size == 4096 * 512)
  }

  /// Lines that say nothing.
  @Test(arguments: ["\n", "\r\n", "cid=1\n", "#\n", "x\n"]) func lines(_ line: String) throws {
    let text = "# Disk DescriptorFile\n" + String(repeating: line, count: 150_000)
    let error = try refusal(text)
    #expect(error.kind == .unsupported)
    #expect(error.message == "the descriptor has more than 16384 lines")
  }

  /// The same file again and again is opened once.
  @Test func oneFileInFourThousandExtents() throws {
    try HostTools.withFolder { folder in
      try HostTools.write(sparse().file.bytes, to: "\(folder)/s.vmdk")
      let text = VMDKBuilder.text(
        "custom", [String](repeating: "RW 64 SPARSE \"s.vmdk\"", count: 4096))
      try HostTools.write(Array(text.utf8), to: "\(folder)/x.vmdk")
      let clock = ThreadClock()
      let start = clock.now
      let image = try OpenImage(path: "\(folder)/x.vmdk")
      #expect(start.duration(to: clock.now) < .seconds(1))
      #expect(image.disk.layers[0].files.count == 2)
      #expect(
        try image.disk.whole.bytes(at: DiskOffset(4095 * 32768), count: 4096)
          == ImageBytes.pattern(4096, seed: 1))
    }
  }

  @Test func extentsLargerThanAnyDisk() throws {
    let huge = "RW \(UInt64(1) << 53) ZERO"
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(
        MemoryStorage(
          Array(VMDKBuilder.text("custom", [huge, "RW 1 ZERO"]).utf8), path: "x.vmdk"))
    }
    #expect(error?.kind == .unsupported)
  }

  /// A hundred MiB of text, and as much behind a header: neither is read.
  @Test func descriptorOfAHundredMiB() throws {
    let size: UInt64 = 100 << 20
    let text = Array(VMDKBuilder.text("custom", ["RW 1 ZERO"]).utf8)
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(
        MemoryStorage(size: size, pieces: [(at: 0, bytes: text)], path: "x.vmdk"))
    }
    #expect(error?.kind == .unsupported && error?.offset == 1 << 20)
    #expect(error?.message.contains("104857600 bytes") == true)
    var builder = sparse()
    builder.editHeader = { $0.putLittle(UInt64(204_800), at: 36) }
    // Room that is claimed costs nothing…
    #expect(try OpenedImage(builder).all == builder.content)
    // …and text without an end is not read on and on.
    let file = builder.file
    let pieces =
      file.pieces.filter { $0.at == 0 }
      + [(at: UInt64(512), bytes: [UInt8](repeating: 0x41, count: 2 << 20))]
    let endless = #expect(throws: DiskError.self) {
      try VMDKFormat().open(
        MemoryStorage(size: size, pieces: pieces, path: "x.vmdk"), .none)
    }
    #expect(endless?.kind == .unsupported && endless?.offset == 512)
  }

  @Test(arguments: [0, 1 << 20, 1 << 60, .max] as [UInt64]) func descriptorPastTheEnd(
    _ sector: UInt64
  ) throws {
    var builder = sparse()
    builder.editHeader = { $0.putLittle(sector, at: 28) }
    if sector == 0 {
      #expect(try OpenedImage(builder).notes.count == 1)
    } else {
      #expect(try refusal(builder).kind == .truncated)
    }
  }

  @Test func descriptorOfNoise() throws {
    var builder = sparse()
    for text in ["\u{1}\u{2}", "nonsense\nmore of it", "CID=zz"] {
      builder.descriptor = text
      #expect(try refusal(builder).kind == .malformed)
    }
  }

  @Test(arguments: [0, 3, 7, 12, 1 << 22, 1 << 40, 1 << 63, .max] as [UInt64]) func grainSizes(
    _ sectors: UInt64
  ) throws {
    var builder = sparse()
    builder.editHeader = { $0.putLittle(sectors, at: 20) }
    let error = try refusal(builder)
    #expect(error.kind == .malformed && error.offset == 20)
    #expect(error.message.contains("a grain of \(sectors) sectors"))
  }

  @Test(arguments: [1 << 15, 1 << 21] as [UInt64]) func compressedGrainsOfGigabytes(
    _ sectors: UInt64
  ) throws {
    var builder = sparse()
    builder.stream = .footer
    builder.editFooter = { $0.putLittle(sectors, at: 20) }
    #expect(try refusal(builder).kind == .malformed)
  }

  @Test(arguments: [0, 4097, 1 << 20, .max] as [UInt32]) func tableSizes(
    _ entries: UInt32
  ) throws {
    var builder = sparse()
    builder.editHeader = { $0.putLittle(entries, at: 44) }
    #expect(try refusal(builder).offset == 44)
  }

  @Test(arguments: [1 << 40, 1 << 53, 1 << 54, 1 << 63, .max] as [UInt64]) func capacities(
    _ sectors: UInt64
  ) throws {
    var builder = sparse()
    builder.editHeader = { $0.putLittle(sectors, at: 12) }
    let error = try refusal(builder)
    #expect(error.kind == (sectors > 1 << 53 ? .malformed : .truncated))
  }

  @Test(arguments: [0, 1 << 30, 1 << 53, 1 << 62] as [UInt64]) func directoryElsewhere(
    _ sector: UInt64
  ) throws {
    var builder = sparse()
    builder.hasRedundantDirectory = false
    builder.editHeader = { $0.putLittle(sector, at: 56) }
    let error = try refusal(builder)
    #expect(error.kind == (sector == 1 << 30 || sector == 1 << 53 ? .truncated : .malformed))
  }

  @Test(arguments: [1 << 20, 0x7FFF_FFFF, .max] as [UInt32]) func grainsPastTheEnd(
    _ entry: UInt32
  ) throws {
    var builder = sparse()
    builder.editTables = { $0.putLittle(entry, at: 4) }
    let image = try OpenedImage(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(4096, 1) }
    #expect(error?.kind == .truncated && error?.offset == UInt64(entry) * 512)
    #expect(try image.bytes(0, 4096) == builder.content(0..<4096))
    #expect(try image.bytes(8192, 24576) == builder.content(8192..<32768))
  }

  /// On the header, the descriptor, the directories, the table itself, and from before into them.
  @Test func grainsOnTheImagesOwnStructures() throws {
    let builder = sparse()
    for sector in [
      1, 2, 20, builder.redundantDirectorySector, builder.directorySector - 7,
      builder.directorySector, builder.tablesSector, builder.tablesSector + 3,
    ] {
      var builder = builder
      builder.editTables = { $0.putLittle(UInt32(sector), at: 4) }
      let image = try OpenedImage(builder)
      let error = #expect(throws: DiskError.self) { try image.bytes(4096, 1) }
      #expect(error?.kind == .malformed && error?.offset == UInt64(sector) * 512, "\(sector)")
      #expect(try image.bytes(12288, 4096) == builder.content(12288..<16384))
    }
  }

  /// A run of grains that comes upon a structure ends there.
  @Test func runIntoATable() throws {
    var builder = VMDKBuilder(capacity: 1024 * 8)
    builder.hasRedundantDirectory = false
    // Sixty grains in a row from where the table of the first 512 would be in their middle.
    let place = 400
    builder.editDirectory = { $0.putLittle(UInt32(place + 80), at: 0) }
    var table = ImageBytes(count: 2048)
    for index in 0..<60 { table.putLittle(UInt32(place + index * 8), at: index * 4) }
    var image = ImageBytes(builder.file.bytes)
    image.grow(to: (place + 480) * 512)
    image.put(table.bytes, at: (place + 80) * 512)
    let opened = try OpenedImage(MemoryStorage(image.bytes, path: "x.vmdk"))
    #expect(throws: Never.self) { try opened.bytes(0, 10 * 4096) }
    #expect(throws: DiskError.self) { try opened.bytes(0, 11 * 4096) }
    #expect(try opened.disk.layers[0].extent(at: .start, limit: 1 << 20).length == 10 * 4096)
    let error = #expect(throws: DiskError.self) { try opened.bytes(10 * 4096, 1) }
    #expect(error?.kind == .malformed && error?.offset == UInt64(place + 80) * 512)
    #expect(throws: Never.self) { try opened.bytes(11 * 4096, 49 * 4096) }
  }

  @Test func tablesOnTheImagesOwnStructures() throws {
    for sector in [1, 20, 21, 26] as [UInt32] {
      var builder = sparse()
      builder.hasRedundantDirectory = false
      builder.editDirectory = { $0.putLittle(sector, at: 0) }
      let image = try OpenedImage(builder)
      if sector == 26 {
        // Where the data of a grain is: numbers of any kind, each checked when it is used.
        _ = try? image.all
      } else {
        let error = #expect(throws: DiskError.self) { try image.bytes(0, 1) }
        #expect(error?.kind == .malformed)
      }
    }
  }

  @Test(arguments: [0, 4, 5, .max] as [UInt32]) func versions(_ version: UInt32) throws {
    var builder = sparse()
    builder.version = version
    let error = try refusal(builder)
    #expect(error.kind == .unsupported && error.offset == 4)
  }

  @Test func flagsThatMustBeKnown() throws {
    var builder = sparse()
    for flag in [18, 24, 31] {
      builder.editHeader = { $0.putLittle(UInt32(3) | 1 << UInt32(flag), at: 8) }
      #expect(try refusal(builder).kind == .unsupported)
    }
    builder.editHeader = { $0.putLittle(0xFFF3 as UInt32, at: 8) }
    #expect(throws: Never.self) { try OpenedImage(builder) }
  }

  /// What FTP did to line breaks.
  @Test func lineBreaksThatWereChanged() throws {
    var builder = sparse()
    for (bytes, place) in [([0x0D, 0x0A, 0x20, 0x0D], 73), ([0x0A, 0x20, 0x0A, 0x00], 73)]
      as [([UInt8], Int)]
    {
      builder.editHeader = { $0.put(bytes, at: place) }
      let error = try refusal(builder)
      #expect(error.kind == .malformed && error.offset == 73)
      #expect(error.message.contains("copy it again in binary mode"))
    }
    // Where the bytes were never there.
    builder.editHeader = {
      $0.putLittle(2 as UInt32, at: 8)
      $0.put([0, 0, 0, 0], at: 73)
    }
    #expect(throws: Never.self) { try OpenedImage(builder) }
  }

  /// 64 TiB of nothing: tables are read when they are asked for.
  @Test func largestDisks() throws {
    let clock = ThreadClock()
    var header = ImageBytes(Array(VMDKSpaceEfficientBuilder(capacity: 8).file.bytes.prefix(1024)))
    header.putLittle(UInt64(1) << 37, at: 16)
    header.putLittle(UInt64(1) << 16, at: 136)
    header.putLittle(UInt64(1) << 20, at: 144)
    header.putLittle(UInt64(1) << 30, at: 192)
    let storage = MemoryStorage(
      size: 1 << 46, pieces: [(at: 0, bytes: header.bytes)], path: "large.vmdk")
    let start = clock.now
    let image = try OpenedImage(storage)
    #expect(start.duration(to: clock.now) < .milliseconds(50))
    #expect(image.disk.size == 1 << 46)
    #expect(try image.bytes(1 << 45, 8192) == [UInt8](repeating: 0, count: 8192))
    #expect(image.storage.reads.reduce(0) { $0 + $1.count } < 1 << 20)
  }
}

extension OpenedImage {
  /// A descriptor is read whole: it may be as large as that.
  fileprivate init(_ inner: any Storage, isLarge: Bool) throws(DiskError) {
    storage = FaultyStorage(inner)
    parsed = try VMDKFormat().open(storage, .none)
    disk = try Disk(layers: parsed.layers)
    notes = []
  }
}
