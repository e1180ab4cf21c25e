import DiskCore
import ImageFormats
import TestSupport
import Testing

@testable import Overlays

/// Writing to qcow2 files with standard L2 entries, against a plain array of bytes.
struct StandardEntryTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let bits: Int
    let hasBacking: Bool
    var testDescription: String {
      "2^\(bits) bytes a cluster, \(hasBacking ? "with" : "without") a backing file"
    }
  }

  static let cases = [9, 12, 16, 18].flatMap {
    [Case(bits: $0, hasBacking: true), Case(bits: $0, hasBacking: false)]
  }

  /// Some clusters of each kind; the disk's end is none of a cluster's.
  static func image(_ sample: Case) -> (QCOW2Builder, below: [UInt8]) {
    let cluster = 1 << sample.bits
    let size = max(cluster * 12, min(1 << 20, cluster * 150)) + 512 * 3
    var builder = QCOW2Builder(size: UInt64(size))
    builder.clusterBits = sample.bits
    if sample.hasBacking {
      builder.backing = "below.raw"
      builder.backingFormat = "raw"
    }
    let count = (size + cluster - 1) / cluster
    for (index, number) in [0, 1, count / 2, count - 1].enumerated() {
      builder.clusters[number] = .data(ImageBytes.pattern(cluster, seed: UInt64(index)))
    }
    // Neighbours in one cluster of the file.
    for number in [3, 4, 5, count - 2] {
      let content =
        ImageBytes.pattern(cluster / 5, seed: UInt64(number))
        + [UInt8](repeating: 0, count: cluster - cluster / 5)
      builder.clusters[number] = .compressed(
        CompressedBytes.deflate(content, zerosAfter: cluster / 5), content)
    }
    builder.clusters[count / 3 + 3] = .zero
    builder.clusters[count / 3 + 4] = .zeroAt(ImageBytes.pattern(cluster, seed: 9))
    // Ends before the disk does.
    return (builder, sample.hasBacking ? ImageBytes.pattern(size * 2 / 3 + 77, seed: 78) : [])
  }

  @Test(arguments: cases) func randomOperationsAgree(_ sample: Case) throws {
    for seed in 0..<UInt64(Soak.rounds(1)) { try run(sample, seed) }
  }

  private func run(_ sample: Case, _ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let (builder, below) = Self.image(sample)
    let size = Int(builder.size)
    let cluster = 1 << sample.bits
    var model = builder.content(over: below)
    let file = RecordingStorage(builder.counted, recording: false)
    var tuning = OverlayTuning.small
    tuning.raisedRun = 3
    var current = try WrittenImage(file, tuning, over: below)
    for _ in 0..<150 {
      let offset = Int.random(in: 0..<size, using: &random)
      let longest = Bool.random(using: &random) ? 1500 : min(4 << sample.bits, 100_000)
      let count = Int.random(in: 1...min(longest, size - offset), using: &random)
      let start = Bool.random(using: &random) ? offset & ~(cluster - 1) : offset
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<9:
        let bytes = ImageBytes.pattern(count, seed: random.next())
        try current.disk.put(bytes, at: UInt64(start))
        model.replaceSubrange(start..<start + count, with: bytes)
      case 9..<12:
        try current.disk.zero(at: DiskOffset(UInt64(start)), length: UInt64(count))
        model.replaceSubrange(start..<start + count, with: [UInt8](repeating: 0, count: count))
      case 12..<15: try current.disk.flush()
      case 15:
        try current.writer.close()
        try check(file, below, model)
        current = try WrittenImage(file, tuning, over: below)
      default:
        let read = try current.disk.bytes(at: UInt64(start), count: count)
        try #require(same(read, Array(model[start..<start + count])), "seed \(seed)")
      }
    }
    try #require(same(try current.disk.bytes(at: 0, count: size), model), "seed \(seed)")
    try current.writer.close()
    try check(file, below, model)
  }

  private func check(_ file: RecordingStorage, _ below: [UInt8], _ model: [UInt8]) throws {
    let checked = QcowChecker(file.content)
    #expect(checked.errors == [])
    #expect(checked.leaks == [])
    // As the driver that only reads finds it.
    let layer = try QCOW2Format().open(file, .none).layers[0]
    let disk = try Disk(layers: [layer, FlatLayer(MemoryStorage(below))])
    try #require(same(try disk.bytes(at: 0, count: model.count), model))
  }

  /// What has a place and no content is not in the file before its content is.
  @Test func aClusterWithoutContentIsNotNamed() {
    let placed = L2Entry(host: 0x50000, allocated: 0, zeros: 0)
    #expect(placed.standard == 0)
    let stored = L2Entry(host: 0x50000, allocated: .max, zeros: 0)
    #expect(stored.standard == 0x8000_0000_0005_0000)
    #expect(L2Entry(standard: stored.standard) == stored)
    let zeros = L2Entry(host: 0x50000, allocated: 0, zeros: .max)
    #expect(zeros.standard == 0x8000_0000_0005_0001)
    #expect(L2Entry(standard: zeros.standard) == zeros)
    #expect(L2Entry(standard: 1) == L2Entry(host: 0, allocated: 0, zeros: .max))
    #expect(L2Entry(standard: 0) == .absent)
  }

  /// A flush comes in while a write is on its way: what is left after a crash reads as before.
  @Test(arguments: cases) func aFlushBetweenReserveAndPublish(_ sample: Case) throws {
    let (builder, below) = Self.image(sample)
    let cluster = UInt64(builder.clusterSize)
    var model = builder.content(over: below)
    let file = RecordingStorage(builder.counted, recording: false)
    let image = try WrittenImage(file, .small, over: below)
    // One that is not there, and one that reads as zeros.
    let count = (builder.size + cluster - 1) / cluster
    let held = try [2, count / 3 + 3].map {
      try image.writer.reserve(at: DiskOffset($0 * cluster), length: cluster)
    }
    let other = ImageBytes.pattern(builder.clusterSize, seed: 51)
    try image.disk.put(other, at: 6 * cluster)
    model.replaceSubrange(6 * Int(cluster)..<7 * Int(cluster), with: other)
    for place in held {
      try place.storage.write(ImageBytes.pattern(512, seed: 52), at: place.at.bytes)
    }
    try image.disk.flush()
    let crashed = RecordingStorage(file.content, recording: false)
    let again = try WrittenImage(crashed, .small, over: below)
    try #require(same(try again.disk.bytes(at: 0, count: model.count), model))
    try again.writer.close()
    try check(crashed, below, model)
    for place in held { image.writer.abandon(place) }
    try image.writer.close()
    try check(file, below, model)
  }
}
