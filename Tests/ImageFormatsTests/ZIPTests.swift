import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct ZIPTests {
  typealias Member = ZIPBuilder.Member

  /// What the commands see of the archive as a file of that name.
  private func opened<Result>(
    _ builder: ZIPBuilder, as name: String = "x.zip", _ body: (OpenImage) throws -> Result
  ) throws -> Result {
    try opened(builder.bytes, as: name, body)
  }

  private func opened<Result>(
    _ bytes: [UInt8], as name: String = "x.zip", _ body: (OpenImage) throws -> Result
  ) throws -> Result {
    try HostTools.withFolder { folder in
      try HostTools.write(bytes, to: "\(folder)/\(name)")
      return try body(OpenImage(path: "\(folder)/\(name)"))
    }
  }

  private func content(of builder: ZIPBuilder) throws -> [UInt8] {
    try opened(builder) { image in try image.content }
  }

  private static let floppy = ImageBytes.pattern(300_000, seed: 1)

  @Test(arguments: [0, 8] as [UInt16]) func oneMember(_ method: UInt16) throws {
    let content = ImageBytes.pattern(3_000_001, seed: 2)
    for name in ["x.zip", "x.imz"] {
      try opened(ZIPBuilder([Member("a.ima", content, method: method)]), as: name) { image throws in
        #expect(image.disk.size == 3_000_001)
        #expect(try image.content == content)
        for (place, count) in [(2_999_990, 11), (0, 1), (1_048_570, 12), (2_000_000, 65_536)] {
          #expect(
            try image.disk.whole.bytes(at: DiskOffset(UInt64(place)), count: count)
              == Array(content[place..<place + count]))
        }
      }
    }
  }

  /// 512 letters A as a compressor makes them.
  @Test func byHand() throws {
    let letters = [UInt8](repeating: 0x41, count: 512)
    var member = Member("a", letters)
    member.data = CompressedBytes.Of512A.deflate
    #expect(try content(of: ZIPBuilder([member])) == letters)
  }

  @Test func sizesElsewhere() throws {
    for method in [0, 8] as [UInt16] {
      var member = Member("a.img", Self.floppy, method: method)
      member.hasDescriptor = true
      #expect(try content(of: ZIPBuilder([member])) == Self.floppy)
      member.isZIP64 = true
      var builder = ZIPBuilder([member])
      builder.isZIP64 = true
      // A comment that looks like an end record.
      builder.comment = [0x50, 0x4B, 5, 6] + [UInt8](repeating: 0, count: 30)
      #expect(try content(of: builder) == Self.floppy)
    }
  }

  /// Folders, what macOS adds, and a text beside the image.
  @Test func theImageAmongOthers() throws {
    let builder = ZIPBuilder([
      Member("disk/", []), Member("disk/README", [1]), Member("disk/A.IMG", Self.floppy),
      Member("__MACOSX/disk/._A.IMG", [2]),
    ])
    #expect(try content(of: builder) == Self.floppy)
  }

  /// An image of another format inside.
  @Test func anImageInside() throws {
    let vhd = VHDBuilder(.fixed, size: 4096)
    try opened(ZIPBuilder([Member("x.vhd", vhd.file.bytes)])) { image in
      #expect(image.disk.size == 4096)
      #expect(image.disk.layers[0].description.format == "vhd")
    }
  }

  private func refusal(
    _ kind: DiskError.Kind, _ words: [String], _ bytes: [UInt8],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: DiskError.self, sourceLocation: sourceLocation) {
      try opened(bytes) { _ in }
    }
    guard let error else { return }
    #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
    for word in words {
      #expect(error.message.contains(word), "\(error)", sourceLocation: sourceLocation)
    }
  }

  private func refusal(
    _ kind: DiskError.Kind, _ words: [String], _ edit: (inout ZIPBuilder) -> Void,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    var builder = ZIPBuilder([Member("a.img", Self.floppy)])
    edit(&builder)
    refusal(kind, words, builder.bytes, sourceLocation: sourceLocation)
  }

  @Test func whatIsNotRead() {
    refusal(.unsupported, ["4 files", "'a.img'", "'b.img'", "'c.img'", "others"]) {
      $0.members += [Member("b.img", [1]), Member("c.img", [1]), Member("d", [1])]
    }
    refusal(.unsupported, ["2 files", "'a'", "'b\\x0a'"]) {
      $0.members = [Member("a", [1]), Member("b\n", [1])]
    }
    refusal(.unsupported, ["without files"]) { $0.members = [Member("a/", [])] }
    for flags in [1, 0x40] as [UInt16] {
      refusal(.unsupported, ["'a.img'", "encrypted"]) { $0.members[0].flags = flags }
    }
    for method in [1, 9, 12, 99] as [UInt16] {
      refusal(.unsupported, ["'a.img'", "method \(method)"]) { $0.members[0].method = method }
    }
    refusal(.unsupported, ["several files"]) { $0.editEnd = { $0.put([1], at: 4) } }
    refusal(.unsupported, ["directory of"]) {
      $0.editEnd = { $0.putLittle(1 << 21 as UInt32, at: 12) }
    }
  }

  @Test func damagedArchives() {
    let bytes = ZIPBuilder([Member("a.img", Self.floppy)]).bytes
    for count in [4, 21, 22, 100, bytes.count - 22, bytes.count - 1] {
      refusal(.truncated, ["cut off"], Array(bytes.prefix(count)))
    }
    refusal(.truncated, ["directory"]) { $0.editEnd = { $0.putLittle(UInt32.max, at: 16) } }
    refusal(.malformed, ["signature"]) { $0.editEnd = { $0.putLittle(0 as UInt32, at: 16) } }
    refusal(.malformed, ["signature"]) { $0.members[0].editEntry = { $0.put([0], at: 0) } }
    refusal(.truncated, []) { $0.members[0].editEntry = { $0.put([0xFF, 0xFF], at: 28) } }
    refusal(.malformed, ["signature"]) { $0.editEnd = { $0.put([2], at: 10) } }
    refusal(.malformed, ["local header"]) { $0.members[0].editEntry = { $0.put([1], at: 42) } }
    refusal(.truncated, ["past the end"]) {
      $0.members[0].editEntry = { $0.putLittle(UInt32.max - 1, at: 42) }
    }
    refusal(.truncated, ["past the end"]) {
      $0.members[0].editEntry = { $0.putLittle(UInt32.max - 1, at: 20) }
    }
    refusal(.truncated, ["past the end"]) { $0.members[0].editHeader = { $0.put([0xFF], at: 27) } }
    refusal(.malformed, ["stored as it is"]) {
      $0.members[0].method = 0
      $0.members[0].editEntry = { $0.putLittle(1 as UInt32, at: 24) }
    }
    refusal(.malformed, ["claims"]) {
      $0.members[0].isZIP64 = true
      $0.members[0].editEntry = { $0.putLittle(UInt64.max, at: 46 + 5 + 8) }
    }
    for record in [UInt64.max, 1 << 40] {
      var builder = ZIPBuilder([Member("a.img", Self.floppy)])
      builder.isZIP64 = true
      var damaged = ImageBytes(builder.bytes)
      damaged.putLittle(record, at: damaged.count - 22 - 20 + 8)
      refusal(.truncated, ["ZIP64"], damaged.bytes)
    }
  }

  /// A wrong checksum, a wrong size, a bomb, noise: an error where it is read, at the latest at the
  /// end.
  @Test func damagedMembers() throws {
    let edits: [@Sendable (inout Member) -> Void] = [
      { $0.editEntry = { $0.put([$0.bytes[16] ^ 1], at: 16) } },
      { $0.editEntry = { $0.putLittle(299_999 as UInt32, at: 24) } },
      { $0.editEntry = { $0.putLittle(300_001 as UInt32, at: 24) } },
      { $0.data = CompressedBytes.deflate([UInt8](repeating: 0, count: 1 << 22), zerosAfter: 0) },
      { $0.data = ImageBytes.pattern(5000, seed: 4) },
      { $0.data = Array(CompressedBytes.deflate(Self.floppy).dropLast(1000)) },
    ]
    for (number, edit) in edits.enumerated() {
      var builder = ZIPBuilder([Member("a.img", Self.floppy)])
      edit(&builder.members[0])
      let error = #expect(throws: DiskError.self, "\(number)") {
        _ = try content(of: builder)
      }
      #expect([.malformed, .truncated].contains(error?.kind), "\(String(describing: error))")
    }
  }
}

@Suite struct ZIPFuzzTests {
  private static let iterations = Soak.rounds(150)

  @Test func overwritten() throws {
    var builder = ZIPBuilder([
      .init("a.img", ImageBytes.pattern(3000, seed: 1)), .init("b.txt", [1, 2, 3], method: 0),
    ])
    builder.members[0].isZIP64 = true
    builder.isZIP64 = true
    let bytes = builder.bytes
    let fields = Array(0..<60) + Array(bytes.count - 260..<bytes.count)
    var random = SeededRandom(seed: 5)
    var opened = 0
    try HostTools.withFolder { folder in
      for _ in 0..<Self.iterations {
        var image = ImageBytes(bytes)
        FuzzedImage.overwrite(&image, fields: fields, &random)
        try HostTools.write(image.bytes, to: "\(folder)/x")
        do throws(DiskError) {
          let image = try OpenImage(path: "\(folder)/x")
          opened += 1
          _ = try? image.disk.whole.bytes(at: .start, count: Int(min(image.disk.size, 4096)))
        } catch {
          #expect(error.path == "\(folder)/x" && !"\(error)".contains { $0.isNewline }, "\(error)")
        }
      }
    }
    #expect(opened > Self.iterations / 10)
  }
}
