import DiskCore
import Foundation
import TestSupport
import Testing

@testable import ImageFormats

/// Decoded bytes that are kept in a file.
struct SpillTests {
  private static let block = SeekableStream.blockSize

  private struct Fixture {
    let file = RecordingStorage(path: "spill", recording: false)
    let codec: SlowCodec
    let space: SpillSpace
    let storage: DecodedStorage
    var stream: SeekableStream { storage.stream }

    init(blocks: Int, capacity: UInt64 = .max, damage: UInt64? = nil) throws {
      let file = file
      codec = SlowCodec(blocks: blocks, memory: CursorMemory.atMost(2), damage: damage)
      space = SpillSpace(capacity: capacity) { () throws(DiskError) in file }
      // A cache of one block.
      storage = try DecodedStorage(
        codec.stream(try SpilledBlocks(in: space)), "slow", BlockCache(capacity: 1))
    }

    /// Reads a piece of a block, and waits until what was decoded is in the file.
    func read(_ block: Int) throws(DiskError) -> Bool {
      let bytes = try storage.bytes(
        at: FileOffset(UInt64(block) * SpillTests.block + 1000), count: 4096)
      space.settle()
      return bytes == [UInt8](repeating: SlowCodec.byte(UInt64(block)), count: 4096)
    }
  }

  /// What a decoder has passed is not decoded again; zeros take no room.
  @Test func readsFromTheFile() throws {
    let fixture = try Fixture(blocks: 20)
    for block in 0..<20 { #expect(try fixture.read(block)) }
    #expect(fixture.space.figures.bytes == 18 * Self.block)
    #expect(fixture.file.content.stored <= Int(18 * Self.block))
    let decoded = fixture.stream.decoded
    #expect(decoded == 20 * Self.block)
    for block in (0..<20).reversed() { #expect(try fixture.read(block)) }
    #expect(fixture.stream.decoded == decoded)
    #expect(fixture.space.figures.reads == 20)
    #expect(fixture.space.figures.bytesRead == 20 * 4096)
    #expect(fixture.space.figures.failure == nil)
  }

  /// Nobody asked for the blocks on the way.
  @Test func keepsWhatIsPassed() throws {
    let fixture = try Fixture(blocks: 30)
    #expect(try fixture.read(29))
    let there = (0..<30).count { fixture.stream.spilled?.has(UInt64($0)) ?? false }
    // The file takes them more slowly than a decoder can give them: not all need be there.
    #expect(there > 5)
    #expect(try fixture.read(0))
  }

  @Test func isBounded() throws {
    let fixture = try Fixture(blocks: 20, capacity: 5 * Self.block + 1000)
    for block in 0..<20 { #expect(try fixture.read(block)) }
    #expect(fixture.space.figures.bytes == 5 * Self.block)
    // The first ones stay.
    let decoded = fixture.stream.decoded
    for block in 0..<6 { #expect(try fixture.read(block)) }
    #expect(fixture.stream.decoded == decoded)
    for block in 0..<20 { #expect(try fixture.read(block)) }
    #expect(fixture.space.figures.bytes == 5 * Self.block)
    #expect(fixture.space.figures.failure == nil)
  }

  @Test func noSpaceLeft() throws {
    let fixture = try Fixture(blocks: 20)
    fixture.file.limit(to: Int(3 * Self.block))
    let told = Shared<[DiskError]>([])
    fixture.space.whenItFails { error in told.change { $0.append(error) } }
    for _ in 0..<2 { for block in 0..<20 { #expect(try fixture.read(block)) } }
    #expect(fixture.file.content.stored <= Int(3 * Self.block))
    #expect(told.value.map(\.systemError) == [ENOSPC])
    #expect(fixture.space.figures.failure != nil)
    // What is there can be read.
    #expect(fixture.space.figures.reads > 0)
  }

  /// What cannot be read back is decoded again.
  @Test func unreadable() throws {
    let content = RecordingStorage(path: "spill", recording: false)
    let space = SpillSpace(capacity: .max) { () throws(DiskError) in
      BrokenFile(content)
    }
    let codec = SlowCodec(blocks: 8, memory: CursorMemory.atMost(2))
    let storage = try DecodedStorage(
      codec.stream(try SpilledBlocks(in: space)), "slow", BlockCache(capacity: 1))
    for _ in 0..<2 {
      for block in 0..<8 {
        let bytes = try storage.bytes(at: FileOffset(UInt64(block) * Self.block), count: 512)
        #expect(bytes == [UInt8](repeating: SlowCodec.byte(UInt64(block)), count: 512))
        space.settle()
      }
    }
    #expect(space.figures.failure != nil)
    #expect(space.figures.reads == 0)
  }

  @Test func damage() throws {
    let fixture = try Fixture(blocks: 20, damage: 10 * Self.block)
    #expect(throws: DiskError.self) { try fixture.read(15) }
    for block in 0..<10 { #expect(try fixture.read(block)) }
    for block in 10..<20 { #expect(throws: DiskError.self) { try fixture.read(block) } }
  }

  @Test func manyReaders() throws {
    let fixture = try Fixture(blocks: 40, capacity: 30 * Self.block)
    let wrong = Threads.results(16) { thread in
      var random = SeededRandom(seed: UInt64(thread))
      return (0..<20).count { _ in
        (try? fixture.read(Int.random(in: 0..<40, using: &random))) != true
      }
    }
    #expect(wrong.reduce(0, +) == 0)
    #expect(fixture.space.figures.reads > 0)
  }
}

/// Takes everything, gives nothing.
private final class BrokenFile: WritableStorage {
  private let file: RecordingStorage

  init(_ file: RecordingStorage) { self.file = file }

  var path: String { file.path }
  var size: UInt64 { file.size }
  var allocatedBytes: UInt64 { file.allocatedBytes }
  var modificationTime: (seconds: Int, nanoseconds: Int) { file.modificationTime }
  func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    throw DiskError(system: EIO, "cannot read", path: path, offset: offset.bytes)
  }
  func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    try file.region(at: offset, limit: limit)
  }
  func write(_ bytes: RawSpan, at offset: FileOffset) throws(DiskError) {
    try file.write(bytes, at: offset)
  }
  func flush() throws(DiskError) { try file.flush() }
  func resize(to size: UInt64) throws(DiskError) { try file.resize(to: size) }
  func punch(at offset: FileOffset, length: UInt64) throws(DiskError) {
    try file.punch(at: offset, length: length)
  }
}
