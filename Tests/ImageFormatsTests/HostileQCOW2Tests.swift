import DiskCore
import ImageFormats
import TestSupport
import Testing

/// The qcow2 rows of shared/HOSTILE.md. `OpenedImage` checks the second, the little that is read and
/// the file's name in each error.
@Suite struct HostileQCOW2Tests {
  private func image(bits: Int = 12) -> QCOW2Builder {
    var builder = QCOW2Builder(size: 10 << UInt64(bits))
    builder.clusterBits = bits
    for index in [0, 3, 4] {
      builder.clusters[index] = .data(ImageBytes.pattern(1 << bits, seed: UInt64(index)))
    }
    return builder
  }

  /// A change to a structure, and what must come of it.
  private struct Damage {
    let offset: UInt64
    let kind: DiskError.Kind
    let words: String
    let edit: QCOW2Builder.Edit

    init(
      _ offset: UInt64, _ kind: DiskError.Kind, _ words: String = "",
      _ edit: @escaping QCOW2Builder.Edit
    ) {
      (self.offset, self.kind, self.words, self.edit) = (offset, kind, words, edit)
    }
  }

  private func refusal(_ builder: QCOW2Builder) throws -> DiskError {
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder) }
    let found = try #require(error)
    #expect(found.offset != nil)
    return found
  }

  private func edited(_ edit: @escaping QCOW2Builder.Edit) -> QCOW2Builder {
    var builder = image()
    builder.editHeader = edit
    return builder
  }

  @Test(arguments: [0, 1, 8, 22, 31, 32, 63, .max] as [UInt32]) func clusterBits(
    _ bits: UInt32
  ) throws {
    let error = try refusal(edited { $0.putBig(bits, at: 20) })
    #expect(error.kind == .malformed && error.offset == 20)
    #expect(error.message == "has clusters of 2^\(bits) bytes; they can be 2^9 to 2^21")
  }

  @Test(arguments: [(1 << 62) + 1, (1 << 63) - 1, 1 << 63, .max] as [UInt64]) func sizes(
    _ size: UInt64
  ) throws {
    let error = try refusal(edited { $0.putBig(size, at: 24) })
    #expect(error.kind == .malformed && error.offset == 24)
    #expect(error.message == "claims a disk of \(size) bytes")
  }

  @Test func tableTooShortForTheDisk() throws {
    let error = try refusal(edited { $0.putBig(1 << 62 as UInt64, at: 24) })
    #expect(error.kind == .malformed && error.offset == 36)
    #expect(
      error.message
        == "a disk of 4611686018427387904 bytes needs 2199023255552 entries in the L1 table, which "
        + "has 1")
    #expect(try refusal(edited { $0.putBig(0 as UInt32, at: 36) }).kind == .malformed)
  }

  @Test(arguments: [0x7FFF_FFFF, .max] as [UInt32]) func tableOfManyEntries(
    _ count: UInt32
  ) throws {
    let error = try refusal(edited { $0.putBig(count, at: 36) })
    #expect(error.kind == .truncated && error.offset == 36)
    #expect(error.message.hasPrefix("an L1 table of \(count) entries"))
  }

  @Test(arguments: [0, 1, 512, 4096 + 8, 1 << 40, .max, .max - 4095] as [UInt64])
  func tableInAWrongPlace(_ place: UInt64) throws {
    let error = try refusal(edited { $0.putBig(place, at: 40) })
    #expect(error.kind == (place > 1 << 30 ? .truncated : .malformed))
    #expect(error.offset == 36)
  }

  /// What only a writer needs does not keep the disk from being read.
  @Test func refcountTableThatCannotBe() throws {
    for (offset, clusters) in [
      (4096, .max), (1 << 50, 1), (.max, 1), (77, 1),
    ] as [(UInt64, UInt32)] {
      let builder = edited {
        $0.putBig(clusters, at: 56)
        $0.putBig(offset, at: 48)
      }
      let image = try OpenedImage(builder)
      #expect(try image.all == builder.content())
      #expect(
        image.notes == [
          "its header names a table of reference counts that cannot be (\(UInt64(clusters) * 4096) "
            + "bytes at byte \(offset)), which does not matter for reading"
        ])
    }
  }

  @Test func snapshotsThatCannotBe() throws {
    for (count, offset, words) in [
      (.max, 4096, "4294967295 snapshots, of which there can be 65536 (at byte 60)"),
      (65537, 4096, "65537 snapshots, of which there can be 65536 (at byte 60)"),
      (1, 4097, "the snapshot table cannot be at byte 4097 (at byte 64)"),
      (1, 0, "the snapshot table cannot be at byte 0 (at byte 64)"),
      (1, 1 << 40, "an entry lies past the end of the file (at byte 1099511627776)"),
      (1, UInt64.max - 4095, "an entry lies past the end of the file"),
    ] as [(UInt32, UInt64, String)] {
      let builder = edited {
        $0.putBig(count, at: 60)
        $0.putBig(offset, at: 64)
      }
      let image = try OpenedImage(builder)
      #expect(try image.all == builder.content())
      #expect(image.parsed.snapshots.isEmpty)
      #expect(image.notes.count == 1 && image.notes[0].contains(words))
    }
  }

  @Test func snapshotEntriesThatCannotBe() throws {
    var builder = image()
    builder.snapshots = [
      .init("1", "good", size: 4096, [0: .data([1])]), .init("2", "bad", size: 4096, [:]),
    ]
    let unread: [Damage] = [
      Damage(0, .malformed, "1025 bytes of extra data") { $0.putBig(1025 as UInt32, at: 108) },
      Damage(0, .truncated, "past the end of the file") { $0.putBig(UInt16.max, at: 84) },
    ]
    for damage in unread {
      builder.editSnapshots = damage.edit
      let image = try OpenedImage(builder)
      #expect(image.parsed.snapshots.map(\.name) == ["good"])
      #expect(image.notes.count == 1 && image.notes[0].contains(damage.words))
    }
    // One whose table is nowhere, and one that is larger than any disk.
    let unopened: [Damage] = [
      Damage(0, .truncated) { $0.putBig(1 << 40 as UInt64, at: 72) },
      Damage(0, .malformed) { $0.putBig(3 as UInt64, at: 72) },
      Damage(0, .truncated) { $0.putBig(UInt32.max, at: 80) },
      Damage(0, .malformed) { $0.putBig(UInt64.max, at: 120) },
    ]
    for damage in unopened {
      builder.editSnapshots = damage.edit
      let image = try OpenedImage(builder)
      #expect(image.notes.isEmpty && image.parsed.snapshots.count == 2)
      let error = #expect(throws: DiskError.self) { try image.parsed.snapshots[1].open() }
      #expect(error?.kind == damage.kind && error?.path == "disk.qcow2" && error?.offset != nil)
    }
  }

  /// 65,536 snapshots of one name, of which so many are shown as can be.
  @Test func manySnapshots() throws {
    var builder = image()
    builder.snapshots = [.init("1", "s", size: 4096, [:])]
    builder.editSnapshots = { table in
      let entry = table.bytes
      table.put(Array(repeatElement(entry, count: 1100).joined()), at: 0)
    }
    builder.editHeader = { $0.putBig(1100 as UInt32, at: 60) }
    let file = builder.file
    try HostTools.withFolder { folder in
      try HostTools.write(file.bytes, to: "\(folder)/x")
      let clock = ThreadClock()
      let start = clock.now
      let image = try OpenImage(path: "\(folder)/x")
      #expect(start.duration(to: clock.now) < .seconds(1))
      #expect(image.snapshots.count == 1024 && image.snapshots[1].name == "s-2")
      #expect(image.notes == ["only 1024 of its 1100 snapshots are shown"])
    }
  }

  @Test(arguments: [40, 5, 63]) func unknownFeatures(_ bit: Int) throws {
    var builder = image()
    builder.incompatible = 1 << UInt64(bit)
    let error = try refusal(builder)
    #expect(error.kind == .unsupported && error.offset == 72)
    #expect(
      error.message
        == "needs a feature that this version of Platter does not know: (bit \(bit))")
    var names = ImageBytes(count: 96)
    names.put([0, UInt8(bit)], at: 0)
    names.put("time\u{1B}travel", at: 2)
    names.put([1, UInt8(bit)], at: 48)
    names.put("another", at: 50)
    builder.extensions = [(0x6803_F857, names.bytes)]
    #expect(try refusal(builder).message.hasSuffix("know: 'time\\x1btravel' (bit \(bit))"))
  }

  @Test func headersThatContradictThemselves() throws {
    let damages: [Damage] = [
      Damage(4, .unsupported) { $0.putBig(4 as UInt32, at: 4) },
      Damage(4, .unsupported) { $0.putBig(0 as UInt32, at: 4) },
      Damage(32, .unsupported) { $0.putBig(1 as UInt32, at: 32) },
      Damage(32, .unsupported) { $0.putBig(2 as UInt32, at: 32) },
      Damage(32, .malformed) { $0.putBig(3 as UInt32, at: 32) },
      Damage(96, .malformed) { $0.putBig(7 as UInt32, at: 96) },
      Damage(100, .malformed) { $0.putBig(72 as UInt32, at: 100) },
      Damage(100, .malformed) { $0.putBig(4104 as UInt32, at: 100) },
      // Compression: without its bit, the bit without it, unknown.
      Damage(104, .malformed) { $0.put([1], at: 104) },
      Damage(104, .malformed) { $0.put([8], at: 79) },
      Damage(104, .unsupported) {
        $0.put([8], at: 79)
        $0.put([2], at: 104)
      },
      // Subclusters of 128 bytes.
      Damage(20, .malformed) { $0.put([16], at: 79) },
      // A data file without a name.
      Damage(72, .unsupported) { $0.put([4], at: 79) },
      // Backing file names: outside the first cluster, too long.
      Damage(8, .malformed) {
        $0.putBig(4090 as UInt64, at: 8)
        $0.putBig(7 as UInt32, at: 16)
      },
      Damage(8, .malformed) { $0.putBig(UInt64.max, at: 8) },
      Damage(8, .malformed) {
        $0.putBig(128 as UInt64, at: 8)
        $0.putBig(1024 as UInt32, at: 16)
      },
      Damage(8, .malformed) {
        $0.putBig(128 as UInt64, at: 8)
        $0.putBig(UInt32.max, at: 16)
      },
      // Extensions: longer than the cluster.
      Damage(112, .malformed) {
        $0.putBig(1 as UInt32, at: 112)
        $0.putBig(UInt32.max, at: 116)
      },
      Damage(112, .malformed) {
        $0.putBig(1 as UInt32, at: 112)
        $0.putBig(3977 as UInt32, at: 116)
      },
    ]
    for damage in damages {
      let error = try refusal(edited(damage.edit))
      #expect(error.offset == damage.offset && error.kind == damage.kind, "\(error)")
    }
    for count in [1, 7, 8, 71, 72, 111] {
      let bytes = Array(image().file.bytes.prefix(count))
      let error = #expect(throws: DiskError.self) {
        try OpenedImage(MemoryStorage(bytes, path: "disk.qcow2"), as: QCOW2Format())
      }
      #expect(error?.offset != nil)
    }
  }

  @Test func extensionsUpToTheEndOfTheCluster() throws {
    // 112 + 8 + 3,976 are 4,096.
    let image = try OpenedImage(
      edited {
        $0.putBig(1 as UInt32, at: 112)
        $0.putBig(3976 as UInt32, at: 116)
      })
    #expect(image.notes.isEmpty)
    // 2 MiB of extensions that are 8 bytes long.
    var builder = self.image(bits: 21)
    builder.extensions = Array(repeating: (7, []), count: 20_000)
    let error = #expect(throws: DiskError.self) {
      try QCOW2Format().open(builder.file.storage(), .none)
    }
    #expect(error?.kind == .malformed && error?.offset == 112)
  }

  /// 4 TiB out of 394 kB: each L1 entry names one L2 table, whose entries name one compressed cluster
  /// (GHSA-2w87-5qcj-j6gx).
  @Test func compressedBomb() throws {
    let content = [UInt8](repeating: 0x5A, count: 65536)
    var builder = QCOW2Builder(size: 4 << 40)
    builder.clusters = [0: .compressed(CompressedBytes.deflate(content), content)]
    builder.editL1 = { table in
      let entry = Array(table.bytes[..<8])
      table.put(Array(repeatElement(entry, count: table.count / 8).joined()), at: 0)
    }
    builder.editL2 = { table in
      let entry = Array(table.bytes[..<8])
      table.put(Array(repeatElement(entry, count: table.count / 8).joined()), at: 0)
    }
    let image = try OpenedImage(builder)
    for place in [0, 1 << 30, 3 << 40, (4 << 40) - 70_000] {
      #expect(try image.bytes(place, 70_000) == [UInt8](repeating: 0x5A, count: 70_000))
    }
    #expect(image.storage.reads.reduce(0) { $0 + $1.count } < 400_000)
  }

  /// 4 TiB of the usual layout: opening reads a page at most of its 64 KiB L1 table.
  @Test func aLargeDisk() throws {
    var builder = QCOW2Builder(size: 64 << 40)
    builder.clusters = [0: .data([1]), (1 << 30) - 1: .data([2])]
    let storage = builder.file.storage()
    let clock = ThreadClock()
    let start = clock.now
    let parsed = try QCOW2Format().open(storage, .none)
    #expect(start.duration(to: clock.now) < .milliseconds(50))
    let window = try Disk(layers: parsed.layers).whole
    #expect(try window.bytes(at: DiskOffset((64 << 40) - 65536), count: 2) == [2, 0])
    #expect(try window.nextData(from: DiskOffset(1 << 16))?.bytes == (64 << 40) - 65536)
  }
}
