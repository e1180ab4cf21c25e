import DiskCore
import ImageFormats
import TestSupport
import Testing

/// The VDI row of shared/HOSTILE.md. `OpenedImage` checks the second, the little that is read and the
/// file's name in each error.
@Suite struct HostileVDITests {
  private func builder() -> VDIBuilder {
    var builder = VDIBuilder(.dynamic, size: 40_960)
    builder.blockSize = 4096
    builder.blocks = [0: ImageBytes.pattern(4096, seed: 1), 3: ImageBytes.pattern(4096, seed: 3)]
    return builder
  }

  private func refusal(
    _ kind: DiskError.Kind = .malformed, at offset: UInt64, _ builder: VDIBuilder
  ) throws -> String {
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(builder.file.storage(path: "disk.vdi"))
    }
    let found = try #require(error)
    #expect(found.kind == kind && found.offset == offset, "\(found)")
    return found.message
  }

  @Test(arguments: [0, 1, 3, 256, 511, 513, 3 << 20, 1 << 29, 1 << 31, .max] as [UInt32])
  func blockSizes(_ size: UInt32) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(size, at: 376) }
    #expect(try refusal(at: 376, builder).contains("a block size of \(size) bytes"))
  }

  /// 2³⁰ blocks that the disk does not need do not fit before the data; those it needs are not there.
  @Test(arguments: [1 << 30, .max] as [UInt32]) func blocks(_ count: UInt32) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(count, at: 384) }
    #expect(try refusal(at: 344, builder).contains("the blocks start at byte 1024"))
    builder.editHeader = {
      $0.putLittle(UInt64(count) << 12, at: 368)
      $0.putLittle(count, at: 384)
      $0.putLittle(UInt32.max, at: 344)
    }
    _ = try refusal(at: 344, builder)
    // 2 GiB of map, which have room before the data, but not in the file.
    let fits: UInt32 = 1 << 29
    builder.editHeader = {
      $0.putLittle(UInt64(fits) << 12, at: 368)
      $0.putLittle(fits, at: 384)
      $0.putLittle(UInt32.max, at: 344)
    }
    _ = try refusal(.truncated, at: 512, builder)
  }

  @Test func tooFewBlocks() throws {
    var builder = builder()
    builder.mapEntries = 9
    #expect(
      try refusal(at: 384, builder)
        == "a disk of 40960 bytes needs 10 blocks, but the block map has 9")
  }

  @Test(arguments: [1 << 62 + 1, 1 << 63, .max] as [UInt64]) func sizes(_ size: UInt64) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(size, at: 368) }
    _ = try refusal(at: 368, builder)
    builder.editHeader = { $0.putLittle(1 << 62 as UInt64, at: 368) }
    _ = try refusal(at: 384, builder)
  }

  @Test(arguments: [0, 64, 455] as [UInt32]) func mapInsideTheHeader(_ place: UInt32) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(place, at: 340) }
    #expect(try refusal(at: 340, builder).contains("inside the header, at byte \(place)"))
  }

  @Test(arguments: [0, 455, 512, 551] as [UInt32]) func dataInsideTheHeaderOrMap(
    _ place: UInt32
  ) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(place, at: 344) }
    #expect(try refusal(at: 344, builder).contains("start at byte \(place), inside"))
  }

  @Test func mapPastTheEnd() throws {
    var builder = builder()
    builder.editHeader = {
      $0.putLittle(0x8000_0000 as UInt32, at: 340)
      $0.putLittle(0x9000_0000 as UInt32, at: 344)
    }
    _ = try refusal(.truncated, at: 0x8000_0000, builder)
  }

  @Test(arguments: [0, 5, .max] as [UInt32]) func types(_ type: UInt32) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(type, at: 76) }
    #expect(try refusal(at: 76, builder).contains("image type \(type)"))
  }

  @Test(arguments: [2, 0x0002_0000, .max] as [UInt32]) func versions(_ version: UInt32) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(version, at: 68) }
    #expect(
      try refusal(.unsupported, at: 68, builder)
        .contains("version \(version >> 16).\(version & 0xFFFF)"))
  }

  @Test func otherFields() throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(383 as UInt32, at: 72) }
    _ = try refusal(at: 72, builder)
    for extra in [3, 1 << 21, UInt32.max] {
      builder.editHeader = { $0.putLittle(extra, at: 380) }
      _ = try refusal(at: 380, builder)
    }
  }

  @Test(arguments: [0, 63, 64, 68, 72, 300, 455]) func filesThatEndInTheHeader(_ count: Int) throws
  {
    let storage = MemoryStorage(
      Array(builder().file.bytes.prefix(count)), path: "disk.vdi")
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(storage, as: VDIFormat())
    }
    #expect(error?.kind == .truncated && error?.offset == 0)
  }

  @Test(arguments: [2, 0x7FFF_FFFF, 0xFFFF_FFFD] as [UInt32]) func blocksPastTheEnd(
    _ entry: UInt32
  ) throws {
    var builder = builder()
    builder.editMap = { $0.putLittle(entry, at: 36) }
    let image = try OpenedImage(builder.file.storage(path: "disk.vdi"))
    let error = #expect(throws: DiskError.self) { try image.bytes(40_000, 10) }
    #expect(error?.kind == .truncated)
    #expect(error?.offset == 1024 + UInt64(entry) * 4096 + 40_000 - 36_864)
    #expect(try image.bytes(0, 36_864) == Array(builder.content().prefix(36_864)))
  }

  /// A block that the file ends in: what is there can be read.
  @Test func aBlockThatIsCutOff() throws {
    let builder = builder()
    let storage = MemoryStorage(Array(builder.file.bytes.dropLast(100)), path: "disk.vdi")
    let image = try OpenedImage(storage)
    #expect(try image.bytes(0, 16_284) == Array(builder.content().prefix(16_284)))
    let error = #expect(throws: DiskError.self) { try image.bytes(16_284, 1) }
    #expect(error?.kind == .truncated && error?.offset == UInt64(storage.size))
    #expect(try image.bytes(16_384, 4096) == [UInt8](repeating: 0, count: 4096))
  }

  @Test func theSameBlockTwice() throws {
    var builder = builder()
    builder.editMap = { map in map.put(Array(map.bytes[0..<4]), at: 4) }
    let image = try OpenedImage(builder.file.storage(path: "disk.vdi"))
    #expect(try image.bytes(4096, 4096) == Array(builder.content().prefix(4096)))
  }

  /// The entry before the two that are no blocks, in a file that is large enough for it.
  @Test func theLastBlocksThatAnEntryCanName() throws {
    var builder = builder()
    builder.editMap = {
      for (index, entry) in [0xFFFF_FFFD, 0xFFFF_FFFE, 0xFFFF_FFFF].enumerated() {
        $0.putLittle(UInt32(entry), at: 4 * index)
      }
    }
    let file = builder.file
    let storage = MemoryStorage(
      size: 1 << 46, pieces: file.pieces + [(1024 + 0xFFFF_FFFD << 12, [7])], path: "disk.vdi")
    let image = try OpenedImage(storage)
    #expect(try image.bytes(0, 2) == [7, 0])
    // What no piece of the file gives is a hole.
    #expect(try image.map.prefix(2) == ["0+1 \(1024 + 0xFFFF_FFFD << 12)", "1+12287 zero"])
  }
}
