import DiskCore
import TestSupport
import Testing

/// EIO and short reads at every single read in turn.
@Suite struct FaultTests {
  @Test(arguments: FaultyStorage.Fault.allCases) func everyReadInTurn(
    _ fault: FaultyStorage.Fault
  ) throws {
    let content = ImageBytes.pattern(8192, seed: 7)
    let storage = FaultyStorage(MemoryStorage(content, path: "bad.img"))
    // Every second kibibyte from the file, backwards, so that each is a read of its own.
    let runs = (0..<8).flatMap { index in
      [
        ScriptedLayer.Run(.stored(storage, at: FileOffset(UInt64(7 - index) * 1024)), 1024),
        ScriptedLayer.Run(.zero, 100),
      ]
    }
    let window = try Disk(layers: [ScriptedLayer(runs)]).whole
    let size = Int(window.size)
    let expected = try window.bytes(at: .start, count: size)
    let count = storage.reads.count
    #expect(count == 8)
    for number in 1...count {
      storage.forgetReads()
      storage.fail(read: number, with: fault)
      let error = #expect(throws: DiskError.self) { try window.bytes(at: .start, count: size) }
      let start = UInt64(8 - number) * 1024
      #expect(error?.path == "bad.img")
      #expect(error?.kind == (fault == .short ? .truncated : .inputOutput))
      #expect(error?.offset == (fault == .short ? start + 512 : start))
      #expect(storage.reads.count == number, "nothing is read behind the failure")
      // It was a passing fault: the next read is whole.
      #expect(try window.bytes(at: .start, count: size) == expected)
    }
    storage.forgetReads()
    storage.fail(read: count + 1, with: fault)
    #expect(try window.bytes(at: .start, count: size) == expected)
  }

  @Test func aBadSectorFailsOnlyReadsThatTouchIt() throws {
    let content = ImageBytes.pattern(8192, seed: 8)
    let storage = FaultyStorage(MemoryStorage(content))
    storage.damage(3000..<3512)
    let window = try Disk(layers: [FlatLayer(storage)]).whole
    for start in stride(from: 0, to: 8192, by: 256) {
      for count in [1, 256, 300] where start + count <= 8192 {
        let read = { try window.bytes(at: DiskOffset(UInt64(start)), count: count) }
        if start < 3512, start + count > 3000 {
          #expect(throws: DiskError.self) { try read() }
        } else {
          #expect(try read() == Array(content[start..<start + count]))
        }
      }
    }
  }

  @Test func streamsPassErrorsOn() throws {
    let storage = FaultyStorage(MemoryStorage(ImageBytes.pattern(1000, seed: 9)))
    let window = try Disk(layers: [FlatLayer(storage)]).whole
    storage.fail(read: 4, with: .inputOutput)
    var pieces: [Int] = []
    #expect(throws: DiskError.self) {
      try window.stream(pieceSize: 300) { pieces.append($0.byteCount) }
    }
    #expect(pieces == [300, 300, 300])
    storage.forgetReads()
    pieces = []
    #expect(throws: DiskError.self) {
      try window.stream(pieceSize: 300) { _ throws(DiskError) in
        throw DiskError(.busy, "stop here")
      }
    }
    #expect(storage.reads.count == 1)
  }
}
