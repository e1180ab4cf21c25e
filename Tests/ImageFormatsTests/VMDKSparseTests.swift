import DiskCore
import ImageFormats
import TestSupport
import Testing

extension OpenedImage {
  init(_ builder: VMDKBuilder, path: String = "disk.vmdk") throws(DiskError) {
    try self.init(builder.file.storage(path: path))
  }
}

extension VMDKBuilder {
  /// A `monolithicSparse` disk whose descriptor is embedded.
  static func monolithic(capacity: UInt64, parentCID: String = "ffffffff") -> VMDKBuilder {
    var builder = VMDKBuilder(capacity: capacity)
    builder.descriptor = text(
      "monolithicSparse", parentCID: parentCID, ["RW \(capacity) SPARSE \"disk.vmdk\""])
    return builder
  }

  /// What the extent holds.
  var content: [UInt8] { content(0..<Int(capacity) * 512) }

  func content(_ range: Range<Int>) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: range.count)
    for (index, grain) in grains {
      guard case .data(let bytes) = grain else { continue }
      let start = index * grainSectors * 512
      for place in (start..<start + bytes.count).clamped(to: range) {
        result[place - range.lowerBound] = bytes[place - start]
      }
    }
    return result
  }
}

@Suite struct VMDKSparseTests {
  /// Every number here is counted by hand: 18 sectors in grains of 8, so the last has 2.
  private static let small: VMDKBuilder = {
    var builder = VMDKBuilder.monolithic(capacity: 18)
    builder.grains = [
      0: .data([UInt8](repeating: 0x11, count: 4096)),
      2: .data([UInt8](repeating: 0x22, count: 1024)),
    ]
    builder.order = [2, 0]
    return builder
  }()

  @Test func byHand() throws {
    // Header 1, descriptor 20, directory 1, table 4, twice: 31 sectors, then grains from 32 on.
    let bytes = Self.small.file.bytes
    #expect(bytes.count == (32 + 16) * 512)
    #expect(
      Array(bytes[31 * 512 - 2048..<31 * 512 - 2036]) == [40, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0])
    let image = try OpenedImage(Self.small)
    #expect(image.disk.size == 18 * 512 && image.notes.isEmpty)
    let ones = [UInt8](repeating: 0x11, count: 4096)
    let zeros = [UInt8](repeating: 0, count: 4096)
    let twos = [UInt8](repeating: 0x22, count: 1024)
    #expect(try image.all == ones + zeros + twos)
    #expect(try image.map.map { $0.prefix { $0 != " " } } == ["0+4096", "4096+4096", "8192+1024"])
    #expect(try image.map[0] == "0+4096 20480" && image.map[2] == "8192+1024 16384")
    #expect(image.disk.whole.allocatedBytes() == 5120)
  }

  @Test func whatItSaysOfItself() throws {
    let layer = try OpenedImage(Self.small).disk.layers[0]
    let description = layer.description
    #expect(description.format == "vmdk" && description.subformat == "monolithicSparse")
    #expect(
      description.details.map { "\($0.name): \($0.value)" } == [
        "CID: fffffffe", "adapter: ide", "grain size: 4096",
      ])
    #expect(description.notes.isEmpty && layer.files.count == 1)
    #expect(layer.tableBytes == 4 + 2048)
  }

  @Test(arguments: [1, 2, 8, 16, 128, 2048], [1, 8, 511, 512, 4096])
  func grainsAndTables(_ grainSectors: Int, _ entries: Int) throws {
    var random = SeededRandom(seed: UInt64(grainSectors * entries))
    // Up to three tables, the last grain cut where a grain has more than a sector.
    let grains = min(entries * 2 + 3, 1500)
    var builder = VMDKBuilder.monolithic(
      capacity: UInt64(grains * grainSectors - min(grainSectors - 1, 1)))
    builder.grainSectors = grainSectors
    builder.entriesPerTable = entries
    for _ in 0..<6 {
      let index = Int.random(in: 0..<grains, using: &random)
      builder.grains[index] = .data(
        ImageBytes.pattern(min(grainSectors, 4) * 512, seed: UInt64(index)))
    }
    builder.order = builder.grains.keys.shuffled(using: &random)
    let image = try OpenedImage(builder)
    for index in builder.grains.keys {
      let start = index * grainSectors * 512
      let count = min(4096, Int(image.disk.size) - start)
      let around = max(0, start - 600)
      #expect(
        try image.bytes(around, start - around + count)
          == builder.content(around..<start + count))
    }
    let end = Int(image.disk.size)
    #expect(try image.bytes(end - 512, 512) == builder.content(end - 512..<end))
  }

  /// Grains one behind the other in the file are one run, over tables too, and one read.
  @Test func neighboursAreOneRun() throws {
    var builder = VMDKBuilder.monolithic(capacity: 40 * 8)
    builder.entriesPerTable = 16
    for index in 0..<40 { builder.grains[index] = .data(ImageBytes.pattern(4096, seed: 7)) }
    let image = try OpenedImage(builder)
    let layer = image.disk.layers[0]
    #expect(try layer.extent(at: .start, limit: 1 << 20).length == 16 * 4096)
    _ = try image.all
    image.storage.forgetReads()
    #expect(try image.all == builder.content)
    #expect(image.storage.reads.count == 1)
    #expect(try image.map.count == 1)
    // Without grains too: what the directory has no table for, and what a table has no grain for.
    builder.grains = [:]
    builder.editDirectory = { $0.put([0, 0, 0, 0, 0, 0, 0, 0], at: 4) }
    let empty = try OpenedImage(builder).disk.layers[0]
    #expect(try empty.extent(at: .start, limit: 1 << 20).length == 16 * 4096)
    #expect(try empty.extent(at: DiskOffset(70_000), limit: 1 << 20).length == 163_840 - 70_000)
  }

  /// Version 2: an entry of 1 is a grain of zeros, where the flag says so.
  @Test func zeroGrains() throws {
    var builder = VMDKBuilder.monolithic(capacity: 32)
    builder.version = 2
    builder.grains = [0: .data([1, 2, 3]), 1: .zero, 2: .zero]
    let image = try OpenedImage(builder)
    #expect(try image.all == builder.content)
    guard case .zero = try image.disk.layers[0].extent(at: DiskOffset(4096), limit: 1).place else {
      Issue.record("a zeroed grain is not asked of the parent")
      return
    }
    // Without the flag, 1 is the sector where the descriptor starts.
    builder.editHeader = { $0.putLittle(3 as UInt32, at: 8) }
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder).bytes(4096, 1) }
    #expect(error?.kind == .malformed && error?.offset == 512)
  }

  @Test func redundantDirectory() throws {
    var builder = Self.small
    let whole = try OpenedImage(builder).all
    // A damaged entry: its copy is used.
    builder.editDirectory = { $0.putLittle(UInt32.max, at: 0) }
    #expect(try OpenedImage(builder).all == whole)
    builder.editRedundantDirectory = { $0.putLittle(1 as UInt32, at: 0) }
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder).all }
    #expect(error?.kind == .truncated && error?.offset == UInt64(builder.directorySector * 512))
    // The whole directory out of reach.
    builder = Self.small
    for place in [0, 1 << 40] as [UInt64] {
      builder.editHeader = { $0.putLittle(place, at: 56) }
      let image = try OpenedImage(builder)
      #expect(try image.all == whole)
      #expect(
        image.notes == [
          "'disk.vmdk': the grain directory cannot be read; the redundant one was used"
        ])
    }
    builder.hasRedundantDirectory = false
    #expect(throws: DiskError.self) { try OpenedImage(builder) }
  }

  @Test func notClosedCleanlyIsSaid() throws {
    var builder = Self.small
    builder.isUnclean = true
    #expect(
      try OpenedImage(builder).notes == [
        "'disk.vmdk' was not closed cleanly: what was written last may be missing"
      ])
  }

  @Test func sizesThatDifferAreSaid() throws {
    var builder = Self.small
    builder.descriptor = VMDKBuilder.text("monolithicSparse", ["RW 16 SPARSE \"x.vmdk\""])
    let image = try OpenedImage(builder)
    #expect(image.disk.size == 18 * 512)
    #expect(
      image.notes == ["the descriptor says 16 sectors, the header 18, which was used"])
  }

  @Test func cutOffEnd() throws {
    var builder = VMDKBuilder.monolithic(capacity: 32)
    for index in 0..<4 { builder.grains[index] = .data(ImageBytes.pattern(4096, seed: 9)) }
    let bytes = builder.file.bytes.dropLast(5000)
    let image = try OpenedImage(MemoryStorage(Array(bytes), path: "cut.vmdk"))
    #expect(try image.bytes(0, 16384 - 5000) == Array(builder.content[..<(16384 - 5000)]))
    for place in [16384 - 5000, 16383] {
      let error = #expect(throws: DiskError.self) { try image.bytes(place, 1) }
      #expect(error?.kind == .truncated && error?.path == "cut.vmdk" && error?.offset != nil)
    }
  }

  /// An extent that stands alone: nothing says what is around it.
  @Test func withoutADescriptor() throws {
    var builder = Self.small
    builder.descriptor = nil
    for isBlank in [false, true] {
      // QEMU leaves room for one in each of several extents, and does not use it.
      if isBlank { builder.descriptor = "" }
      let image = try OpenedImage(builder, path: "disk-s002.vmdk")
      #expect(try image.all == builder.content)
      #expect(image.notes.count == 1 && image.notes[0].hasPrefix("has no descriptor: "))
      #expect(image.parsed.identity.isEmpty && image.parsed.parent == nil)
    }
  }

  private static let kinds: [String: VHDBuilder.File] = {
    var stream = small
    stream.stream = .footer
    var delta = VMDKCopyOnWriteBuilder(capacity: 18)
    delta.grains = [3: [UInt8](repeating: 1, count: 512)]
    var snapshot = VMDKSpaceEfficientBuilder(capacity: 18)
    snapshot.grains = [0: .data([UInt8](repeating: 1, count: 4096)), 1: .zero]
    return [
      "hosted": small.file, "stream": stream.file, "vmfsSparse": delta.file,
      "seSparse": snapshot.file,
    ]
  }()

  /// Every read of opening and reading, one after the other.
  @Test(arguments: ["hosted", "stream", "vmfsSparse", "seSparse"])
  func everyReadCanFail(_ kind: String) throws {
    let open = { (storage: FaultyStorage) throws(DiskError) -> [UInt8] in
      try Disk(layers: VMDKFormat().open(storage, .none).layers).whole.bytes(
        at: .start, count: 18 * 512)
    }
    let file = try #require(Self.kinds[kind])
    let storage = FaultyStorage(file.storage(path: "disk.vmdk"))
    let expected = try open(storage)
    let count = storage.reads.count
    for fault in FaultyStorage.Fault.allCases {
      for number in 1...count {
        storage.forgetReads()
        storage.fail(read: number, with: fault)
        do throws(DiskError) {
          #expect(try open(storage) == expected, "read \(number) was not needed")
        } catch {
          #expect(error.path == "disk.vmdk" && error.offset != nil)
          #expect(error.kind == (fault == .short ? .truncated : .inputOutput))
        }
      }
    }
    #expect(count >= 5)
  }
}
