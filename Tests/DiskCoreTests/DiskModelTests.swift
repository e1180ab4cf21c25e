import DiskCore
import TestSupport
import Testing

/// The engine and the map against a model, over a hundred made-up stacks of layers.
@Suite struct DiskModelTests {
  static let seeds = Array(1...100) as [UInt64]

  @Test(arguments: seeds) func reads(_ seed: UInt64) throws {
    var model = try DiskModel(seed: seed)
    for _ in 0..<Soak.rounds(40) {
      let range = model.range()
      let read = { [disk = model.disk] in
        try disk.whole.bytes(at: DiskOffset(UInt64(range.lowerBound)), count: range.count)
      }
      if let expected = model.bytes(range) {
        #expect(try read() == expected, "bytes \(range) with seed \(seed)")
      } else {
        #expect(throws: DiskError.self, "bytes \(range) with seed \(seed)") { try read() }
      }
    }
  }

  @Test(arguments: seeds.prefix(40)) func readsThroughAWindow(_ seed: UInt64) throws {
    var model = try DiskModel(seed: seed, unreadable: false)
    let outer = model.range()
    let window = try model.disk.whole.window(
      at: DiskOffset(UInt64(outer.lowerBound)), size: UInt64(outer.count))
    let expected = try #require(model.bytes(outer))
    #expect(try window.bytes(at: .start, count: outer.count) == expected)
    for start in stride(from: 0, to: outer.count, by: 97) {
      let inner = try window.window(
        at: DiskOffset(UInt64(start)), size: UInt64(outer.count - start))
      let count = min(50, outer.count - start)
      #expect(try inner.bytes(at: .start, count: count) == Array(expected[start..<start + count]))
    }
    var streamed: [UInt8] = []
    try window.stream(pieceSize: 61) { piece in
      for index in 0..<piece.byteCount {
        streamed.append(piece.unsafeLoad(fromByteOffset: index, as: UInt8.self))
      }
    }
    #expect(streamed == expected)
  }

  @Test(arguments: seeds) func map(_ seed: UInt64) throws {
    let model = try DiskModel(seed: seed)
    var mapped: [DiskModel.Byte] = []
    var previous: MapEntry? = nil
    try model.disk.whole.forEachMapEntry { entry throws(DiskError) in
      #expect(entry.offset.bytes == UInt64(mapped.count) && entry.length > 0)
      let range = mapped.count..<mapped.count + Int(entry.length)
      switch entry.content {
      case .zero:
        mapped += [DiskModel.Byte](repeating: .zero, count: range.count)
        if let previous, case .zero = previous.content {
          #expect(previous.layer != entry.layer, "zeros of one layer are joined")
        }
      case .unreadable:
        mapped += [DiskModel.Byte](repeating: .unreadable, count: range.count)
      case .data:
        // It says where the bytes are stored: those must be the disk's.
        let storage = try found(model.disk.files.first { $0.path == entry.path })
        for byte in try storage.bytes(at: found(entry.fileOffset), count: range.count) {
          mapped.append(.data(byte))
        }
      case .compressed:
        #expect(entry.path != nil && entry.fileOffset == nil)
        mapped += model.expected[range]
      }
      previous = entry
    }
    #expect(mapped == model.expected)
  }

  @Test(arguments: seeds) func dataAndHoles(_ seed: UInt64) throws {
    let model = try DiskModel(seed: seed)
    let window = model.disk.whole
    let end = model.expected.count
    for start in stride(from: 0, through: end + 3, by: 53) {
      let rest = min(start, end)..<end
      let data = rest.first { model.expected[$0] != .zero }
      let hole = rest.first { model.expected[$0] == .zero } ?? end
      let offset = DiskOffset(UInt64(start))
      #expect(try window.nextData(from: offset)?.bytes == data.map(UInt64.init))
      #expect(try window.nextHole(from: offset).bytes == UInt64(hole))
    }
  }

  @Test(arguments: seeds) func allocated(_ seed: UInt64) throws {
    let model = try DiskModel(seed: seed)
    let data = model.expected.filter { if case .data = $0 { true } else { false } }.count
    #expect(model.disk.whole.allocatedBytes() == UInt64(data))
  }

  @Test(arguments: seeds.prefix(30)) func answersAreNoLongerThanTheLimit(_ seed: UInt64) throws {
    let model = try DiskModel(seed: seed)
    for start in stride(from: 0, to: model.expected.count, by: 101) {
      for limit in [1, 7, 512, .max] as [UInt64] {
        let entry = try model.disk.whole.mapEntry(at: DiskOffset(UInt64(start)), limit: limit)
        #expect(entry.length >= 1 && entry.length <= limit)
        #expect(entry.length <= UInt64(model.expected.count - start))
      }
    }
  }

  /// `#require` cannot be used where only a `DiskError` may be thrown.
  private func found<Value>(_ value: Value?) throws(DiskError) -> Value {
    guard let value else { throw DiskError(.malformed, "the map names no place for data") }
    return value
  }
}
