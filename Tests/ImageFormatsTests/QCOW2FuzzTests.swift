import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct QCOW2FuzzTests {
  enum Variant: UInt64, CaseIterable {
    case plain, version2, subclusters, compressed
  }

  private static func builder(_ variant: Variant) -> QCOW2Builder {
    var builder = QCOW2Builder(size: 10_000)
    builder.clusterBits = variant == .subclusters ? 14 : 9
    if variant == .subclusters { builder.size = 100_000 }
    builder.version = variant == .version2 ? 2 : 3
    builder.hasSubclusters = variant == .subclusters
    builder.clusters = [0: .data([1]), 1: .data([2]), 3: .data([3])]
    if variant == .compressed {
      for index in 4..<8 {
        let content = ImageBytes.pattern(512, seed: UInt64(index))
        builder.clusters[index] = .compressed(CompressedBytes.deflate(content), content)
      }
    }
    builder.backingFormat = "raw"
    builder.snapshots = [
      .init("1", "one", size: 4000, [0: .data([4]), 2: .zero]),
      .init("2", "two", size: 4000, [1: .data([5])]),
    ]
    return builder
  }

  @Test(arguments: Variant.allCases) func overwritten(_ variant: Variant) throws {
    let builder = Self.builder(variant)
    let file = builder.file
    let bytes = file.bytes
    var fields = Array(4..<144) + Array(4..<144)
    for (start, count) in [
      (builder.l1Offset, 24), (file.l2Offsets[0], 160), (file.snapshotTable, 160),
    ] {
      fields += (0..<count).map { Int(start) + $0 }
    }
    var random = SeededRandom(seed: variant.rawValue)
    var opened = 0
    let rounds = Soak.rounds(variant == .subclusters ? 400 : 1000)
    for _ in 0..<rounds {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      if try FuzzedImage.survives(
        Array(image.bytes.prefix(kept)), as: QCOW2Format(), &random)
      {
        opened += 1
      }
    }
    // Else nothing but the first check was tested.
    #expect(opened > rounds / 10)
  }

  @Test(arguments: FaultyStorage.Fault.allCases, Variant.allCases)
  func everyReadInTurn(_ fault: FaultyStorage.Fault, _ variant: Variant) throws {
    let builder = Self.builder(variant)
    let storage = FaultyStorage(builder.file.storage())
    let open = { () throws(DiskError) -> [UInt8] in
      _ = FormatProbe(try ImageSample(of: storage))
      return try Disk(layers: QCOW2Format().open(storage, .none).layers).whole.bytes(
        at: .start, count: Int(builder.size))
    }
    let expected = builder.content()
    #expect(try open() == expected)
    let count = storage.reads.count
    #expect(count >= 9)
    for number in 1...count {
      storage.forgetReads()
      storage.fail(read: number, with: fault)
      do throws(DiskError) {
        #expect(try open() == expected, "read \(number) was not needed")
      } catch {
        #expect(error.path == "disk.qcow2" && error.offset != nil)
        #expect(error.kind == (fault == .short ? .truncated : .inputOutput))
      }
    }
  }
}
