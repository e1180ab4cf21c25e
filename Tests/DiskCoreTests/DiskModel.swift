import DiskCore
import TestSupport

/// A stack of layers made up at random, and what each of its bytes must be.
struct DiskModel {
  enum Byte: Equatable {
    case zero
    case data(UInt8)
    case unreadable
  }

  let disk: Disk
  let expected: [Byte]
  private(set) var random: SeededRandom

  init(seed: UInt64, unreadable: Bool = true) throws {
    var random = SeededRandom(seed: seed)
    let storages = (0..<2).map { Self.storage(seed: seed &+ $0, &random) }
    let blocks = storages.map { storage, content in
      (
        ScrambledBlocks(storage, blockSize: 1024),
        content.map { byte -> Byte in
          if case .data(let value) = byte { .data(~value) } else { .data(255) }
        }
      )
    }
    var layers: [ScriptedLayer] = []
    var below: [Byte] = []
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let size = Int.random(in: 1...6000, using: &random)
      var runs: [ScriptedLayer.Run] = []
      var bytes: [Byte] = []
      while bytes.count < size {
        let length = Int.random(in: 1...700, using: &random)
        let run: [Byte]
        switch Int.random(in: 0..<(unreadable ? 20 : 19), using: &random) {
        case 0..<4:
          runs.append(.init(.zero, UInt64(length)))
          run = [Byte](repeating: .zero, count: length)
        case 4..<6:
          let (decoder, content) = blocks[Int.random(in: 0...1, using: &random)]
          let index = Int.random(in: 0..<8, using: &random)
          let at = Int.random(in: 0...1024 - length, using: &random)
          runs.append(.init(.encoded(decoder, index: UInt64(index), at: at), UInt64(length)))
          run = Array(content[index * 1024 + at..<index * 1024 + at + length])
        case 6..<11:
          let (storage, content) = storages[Int.random(in: 0...1, using: &random)]
          let at = Int.random(in: 0...content.count - length, using: &random)
          runs.append(.init(.stored(storage, at: FileOffset(UInt64(at))), UInt64(length)))
          run = Array(content[at..<at + length])
        case 11..<19:
          // Mostly the same place of the layer below, as in a chain; sometimes anywhere.
          let isMoved = Int.random(in: 0..<4, using: &random) == 0
          let at = isMoved ? Int.random(in: 0...7000, using: &random) : bytes.count
          runs.append(.init(.below(DiskOffset(UInt64(at))), UInt64(length)))
          run = (at..<at + length).map { $0 < below.count ? below[$0] : .zero }
        default:
          runs.append(.init(.unreadable(DiskError(.malformed, "damaged")), UInt64(length)))
          run = [Byte](repeating: .unreadable, count: length)
        }
        bytes += run
      }
      let units: [ScriptedLayer.Answers] = [
        .whole, .upToMultiples(of: 1), .upToMultiples(of: 64), .upToMultiples(of: 512),
      ]
      layers.insert(
        ScriptedLayer(
          runs, size: UInt64(size), answers: units.randomElement(using: &random) ?? .whole), at: 0)
      below = Array(bytes.prefix(size))
    }
    disk = try Disk(layers: layers)
    expected = below
    self.random = random
  }

  /// Data with holes between; what a hole holds is zero and counts as no data.
  private static func storage(
    seed: UInt64, _ random: inout SeededRandom
  ) -> (MemoryStorage, [Byte]) {
    let size = 8192
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    var content = [Byte](repeating: .zero, count: size)
    var place = Int.random(in: 0...500, using: &random)
    while place < size {
      let count = min(Int.random(in: 1...2000, using: &random), size - place)
      let bytes = ImageBytes.pattern(count, seed: seed &* 31 &+ UInt64(place))
      pieces.append((UInt64(place), bytes))
      for (index, byte) in bytes.enumerated() { content[place + index] = .data(byte) }
      place += count + Int.random(in: 1...900, using: &random)
    }
    return (MemoryStorage(size: UInt64(size), pieces: pieces, path: "\(seed).img"), content)
  }

  /// A range of the disk, often a short one.
  mutating func range() -> Range<Int> {
    let start = Int.random(in: 0...expected.count, using: &random)
    let longest = [1, 16, 512, 10_000].randomElement(using: &random) ?? 1
    return start..<min(expected.count, start + Int.random(in: 0...longest, using: &random))
  }

  /// What a read of `range` must give: nil where it must fail.
  func bytes(_ range: Range<Int>) -> [UInt8]? {
    guard !expected[range].contains(.unreadable) else { return nil }
    return expected[range].map { if case .data(let byte) = $0 { byte } else { 0 } }
  }
}
