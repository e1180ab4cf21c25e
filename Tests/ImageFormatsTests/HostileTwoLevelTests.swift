import DiskCore
import ImageFormats
import TestSupport
import Testing

/// The hostile rows for both formats; `OpenedImage` checks the second and the little that is read.
@Suite struct HostileTwoLevelTests {
  private struct Damage {
    let offset: UInt64
    let kind: DiskError.Kind
    let edit: TwoLevelBuilder.Edit

    init(_ offset: UInt64, _ kind: DiskError.Kind, _ edit: @escaping TwoLevelBuilder.Edit) {
      (self.offset, self.kind, self.edit) = (offset, kind, edit)
    }
  }

  private func image(_ format: TwoLevelBuilder.Format) -> TwoLevelBuilder {
    var builder = TwoLevelBuilder(format, size: 40_960)
    for index in [0, 3, 4] {
      builder.clusters[index] = .data(ImageBytes.pattern(4096, seed: UInt64(index)))
    }
    return builder
  }

  @Test func qcowHeaders() throws {
    let damages: [Damage] = [
      Damage(33, .malformed) { $0.put([63], at: 33) },
      Damage(33, .malformed) { $0.put([0], at: 33) },
      Damage(33, .malformed) { $0.put([14], at: 33) },
      Damage(32, .malformed) { $0.put([0], at: 32) },
      Damage(32, .malformed) { $0.put([63], at: 32) },
      Damage(24, .malformed) { $0.putBig(UInt64.max, at: 24) },
      Damage(24, .malformed) { $0.putBig(UInt64(1) << 63 - 1, at: 24) },
      Damage(1536, .truncated) { $0.putBig(UInt64(1) << 62, at: 24) },
      Damage(36, .unsupported) { $0.putBig(1 as UInt32, at: 36) },
      Damage(36, .malformed) { $0.putBig(2 as UInt32, at: 36) },
      Damage(1 << 40, .truncated) { $0.putBig(UInt64(1) << 40, at: 40) },
      Damage(.max, .truncated) { $0.putBig(UInt64.max, at: 40) },
      Damage(16, .malformed) {
        $0.putBig(1 as UInt64, at: 8)
        $0.putBig(UInt32.max, at: 16)
      },
      Damage(1 << 40, .truncated) {
        $0.putBig(UInt64(1) << 40, at: 8)
        $0.putBig(9 as UInt32, at: 16)
      },
    ]
    try check(damages, .qcow)
  }

  @Test func qedHeaders() throws {
    let damages: [Damage] = [
      Damage(4, .malformed) { $0.putLittle(0 as UInt32, at: 4) },
      Damage(4, .malformed) { $0.putLittle(4095 as UInt32, at: 4) },
      Damage(4, .malformed) { $0.putLittle(UInt32(1) << 27, at: 4) },
      Damage(8, .malformed) { $0.putLittle(0 as UInt32, at: 8) },
      Damage(8, .malformed) { $0.putLittle(3 as UInt32, at: 8) },
      Damage(8, .malformed) { $0.putLittle(UInt32.max, at: 8) },
      Damage(12, .malformed) { $0.putLittle(0 as UInt32, at: 12) },
      Damage(40, .malformed) { $0.putLittle(UInt32.max, at: 12) },
      Damage(16, .unsupported) { $0.putLittle(UInt64.max, at: 16) },
      Damage(40, .malformed) { $0.putLittle(0 as UInt64, at: 40) },
      Damage(40, .malformed) { $0.putLittle(4097 as UInt64, at: 40) },
      Damage(1 << 40, .truncated) { $0.putLittle(UInt64(1) << 40, at: 40) },
      Damage(48, .malformed) { $0.putLittle(UInt64.max, at: 48) },
      Damage(48, .malformed) { $0.putLittle(UInt64(1) << 40, at: 48) },
      Damage(56, .malformed) {
        $0.put([1], at: 16)
        $0.putLittle(UInt32.max, at: 56)
      },
      Damage(56, .malformed) {
        $0.put([1], at: 16)
        $0.putLittle(UInt32.max, at: 60)
      },
    ]
    try check(damages, .qed)
  }

  private func check(_ damages: [Damage], _ format: TwoLevelBuilder.Format) throws {
    for damage in damages {
      var builder = image(format)
      builder.editHeader = damage.edit
      let error = #expect(throws: DiskError.self) { try OpenedImage(builder.storage()) }
      #expect(
        error?.offset == damage.offset && error?.kind == damage.kind, "\(String(describing: error))"
      )
    }
    for count in [4, 8, 47] {
      let bytes = Array(image(format).bytes.prefix(count))
      #expect(throws: DiskError.self) {
        try OpenedImage(
          MemoryStorage(bytes, path: "disk.img"), as: format == .qcow ? QCOWFormat() : QEDFormat())
      }
    }
  }

  @Test(arguments: [TwoLevelBuilder.Format.qcow, .qed]) func entries(
    _ format: TwoLevelBuilder.Format
  ) throws {
    let end = UInt64(image(format).bytes.count)
    let values: [(UInt64, DiskError.Kind)] = [
      (4096 * 1024, .truncated), (end, .truncated), (1 << 62, .truncated),
      (1 << 63 - 4096, .truncated), (UInt64.max - 4095, .truncated), (end - 4095, .malformed),
      (format == .qcow ? 1024 : 4096, .malformed), (.max, .truncated),
    ]
    for (value, kind) in values {
      for isFirst in [true, false] {
        var builder = image(format)
        let edit: TwoLevelBuilder.Edit = { bytes in
          let place = isFirst ? 0 : 16
          if format == .qcow {
            bytes.putBig(value, at: place)
          } else {
            bytes.putLittle(value, at: place)
          }
        }
        if isFirst { builder.editFirst = edit } else { builder.editSecond = edit }
        let image = try OpenedImage(builder.storage())
        let error = #expect(throws: DiskError.self) { try image.bytes(8192 + 4095, 1) }
        #expect(error?.path == "disk.img" && error?.offset != nil)
        // Without alignment as a rule, and with bit 63 for compression, other checks strike first.
        if format == .qed, value != .max { #expect(error?.kind == kind) }
        if !isFirst { #expect(try image.bytes(12288, 4096) == ImageBytes.pattern(4096, seed: 3)) }
      }
    }
  }

  @Test(arguments: [TwoLevelBuilder.Format.qcow, .qed]) func fuzzed(
    _ format: TwoLevelBuilder.Format
  ) throws {
    var builder = image(format)
    builder.size = 400_000
    builder.tableBits = 6
    if format == .qcow {
      let content = [UInt8](repeating: 0, count: 4096)
      builder.clusters[6] = .compressed(CompressedBytes.deflate(content, zerosAfter: 10), content)
    }
    builder.clusters[70] = .data([1])
    let bytes = builder.bytes
    let first = Int(builder.firstOffset)
    let second = (first + (format == .qcow ? 16 : 4096) + 4095) / 4096 * 4096
    let fields = Array(4..<64) + Array(first..<first + 24) + Array(second..<second + 64)
    var random = SeededRandom(seed: 1)
    var opened = 0
    let chosen: any ImageFormat = format == .qcow ? QCOWFormat() : QEDFormat()
    for _ in 0..<Soak.rounds(700) {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      if try FuzzedImage.survives(Array(image.bytes.prefix(kept)), as: chosen, &random) {
        opened += 1
      }
    }
    #expect(opened > Soak.rounds(700) / 10)
  }
}
