import DiskCore
import ImageFormats
import TestSupport
import Testing

/// What the formats' own programs write, read at random places in random order.
@Suite(
  .serialized,
  .enabled(if: HostTools.has("gzip", "xz", "zstd", "pzstd", "bzip2", "lz4"), "a tool is missing"))
struct ContainerToolTests {
  /// `IN` is the plain file; the result goes to standard output.
  static let commands: [(container: String, line: String)] = [
    ("gzip", "gzip -1c IN"), ("gzip", "gzip -9c IN"),
    ("gzip", "head -c 700001 IN | gzip; tail -c +700002 IN | gzip -3"),
    ("gzip", "printf '' | gzip; gzip -c IN; printf '' | gzip"),
    ("xz", "xz -0c IN"), ("xz", "xz -1c --check=crc32 IN"), ("xz", "xz -1c --check=sha256 IN"),
    ("xz", "xz -0c --check=none --block-size=300000 IN"), ("xz", "xz -T2 -0c --block-size=1MiB IN"),
    ("xz", "xz -0c --x86 --delta=dist=4 --lzma2=preset=0 IN"),
    ("xz", "head -c 700001 IN | xz -0; head -c 1024 /dev/zero; tail -c +700002 IN | xz -1"),
    ("zstd", "zstd -qc IN"), ("zstd", "zstd -q1c < IN"), ("zstd", "zstd -qc --no-check IN"),
    ("zstd", "zstd -q19c --long=20 IN"), ("zstd", "pzstd -qc -p 2 IN"),
    ("zstd", "head -c 700001 IN | zstd -q; tail -c +700002 IN | zstd -q3"),
    ("bzip2", "bzip2 -1c IN"), ("bzip2", "bzip2 -9c IN"),
    ("bzip2", "head -c 700001 IN | bzip2 -2; tail -c +700002 IN | bzip2"),
    ("lz4", "lz4 -qc IN"), ("lz4", "lz4 -qc -B4 -BX IN"), ("lz4", "lz4 -qc -B4 -BD IN"),
    ("lz4", "lz4 -qc -B5 -BD -BX --content-size IN"), ("lz4", "lz4 -qc -l IN"),
    ("lz4", "lz4 -qc -9 --no-frame-crc IN"),
    ("lz4", "head -c 700001 IN | lz4 -q; tail -c +700002 IN | lz4 -q -B5"),
  ]

  @Test(arguments: 0..<Soak.rounds(1))
  func randomReads(_ round: Int) throws {
    for (number, command) in Self.commands.enumerated() {
      let seed = UInt64(round * 100 + number)
      var random = SeededRandom(seed: seed)
      let count = Int.random(in: 1_200_000...1_900_000, using: &random)
      try HostTools.withFolder { folder in
        let fixture = try CompressedFixture(folder, CompressedFixture.content(count, seed: seed))
        let line = command.line.replacing("IN", with: "disk.img")
        try fixture.shell("(\(line)) > packed")
        let first = try fixture.open("packed", keepsIndex: true)
        #expect(first.containers.map(\.name) == [command.container], "\(command.line)")
        #expect(first.disk.layers[0].description.format == "raw")
        try fixture.check(first, seed: seed, reads: 10)
        #expect(first.facts("size exact") == ["yes"], "\(command.line)")
        #expect(first.containers.flatMap(\.notes) == [], "\(command.line)")
        // By what was found out the first time, where that is kept.
        let second = try fixture.open("packed", exact: false, keepsIndex: true)
        #expect(second.facts("size exact") == ["yes"], "\(command.line)")
        #expect(second.facts("entry points") == first.facts("entry points"), "\(command.line)")
        try fixture.check(second, seed: seed &+ 1, reads: 5)
      }
    }
  }

  /// Of what is inside, at any depth.
  @Test func insideOfEachOther() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(
        folder, CompressedFixture.content(3 << 20, seed: 5))
      try fixture.shell("gzip -c disk.img | xz -0 | zstd -q | bzip2 > packed")
      let image = try fixture.open("packed")
      #expect(image.containers.map(\.name) == ["bzip2", "zstd", "xz", "gzip"])
      try fixture.check(image, seed: 5, reads: 5)
      try fixture.shell("lz4 -q packed packed5")
      let error = #expect(throws: DiskError.self) { try fixture.open("packed5") }
      #expect(error?.message == "is compressed more than 4 times over")
    }
  }

  @Test func cancelling() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, CompressedFixture.content(3 << 20, seed: 12))
      try fixture.shell("xz -0c disk.img > packed")
      let image = try fixture.open("packed")
      _ = try image.byte(at: 5)
      image.containers[0].cancel()
      let error = #expect(throws: DiskError.self) { try image.byte(at: (1 << 20) + 1) }
      #expect(error?.systemError == 4)
      #expect(image.containers[0].progress == nil)
      // What is decoded already stays.
      #expect(try image.byte(at: 6) == fixture.content[6])
    }
  }

  @Test func manyThreads() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(
        folder, CompressedFixture.content(3 << 20, seed: 6))
      for line in ["gzip -c", "xz -0c", "zstd -qc", "bzip2 -c", "lz4 -qc"] {
        try fixture.shell("\(line) disk.img > packed")
        let image = try fixture.open("packed")
        let content = fixture.content
        let wrong = Threads.results(8) { thread in
          var random = SeededRandom(seed: UInt64(thread))
          var wrong = 0
          for _ in 0..<20 {
            let start = Int.random(in: 0..<content.count - 70000, using: &random)
            let bytes = try? image.disk.whole.bytes(at: DiskOffset(UInt64(start)), count: 70000)
            if bytes != Array(content[start..<start + 70000]) { wrong += 1 }
          }
          return wrong
        }
        #expect(wrong.reduce(0, +) == 0, "\(line)")
      }
    }
  }

  /// An image of another format inside, a parent inside, and the file as it stands.
  @Test(.enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"))
  func imagesInside() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(
        folder, CompressedFixture.content(2 << 20, seed: 7))
      try fixture.shell(
        "qemu-img convert -O qcow2 disk.img a.qcow2 && gzip a.qcow2 && "
          + "qemu-img convert -O vpc -o subformat=fixed,force_size=on disk.img b.vhd && xz -0 b.vhd && "
          + "qemu-img create -q -u -f qcow2 -b a.qcow2.gz -F raw c.qcow2 2M && "
          + "gzip -c disk.img > disk.gz")
      let inside = try fixture.open("a.qcow2.gz")
      #expect(inside.disk.layers[0].description.format == "qcow2")
      try fixture.check(inside, seed: 7, reads: 5)
      let footer = try fixture.open("b.vhd.xz")
      #expect(footer.disk.layers[0].description.format == "vhd")
      try fixture.check(footer, seed: 7, reads: 5)
      // Without a format for its parent: an extension that nobody knows in place of the one that says.
      var bytes = try fixture.bytes("c.qcow2")
      let place = try #require(
        (0..<4096).first { bytes[$0..<$0 + 4].elementsEqual([0xe2, 0x79, 0x2a, 0xca]) })
      bytes.replaceSubrange(place..<place + 4, with: [0x12, 0x34, 0x56, 0x78])
      try HostTools.write(bytes, to: fixture.path("c.qcow2"))
      let child = try fixture.open("c.qcow2")
      #expect(child.disk.layers.map(\.description.format) == ["qcow2", "qcow2"])
      #expect(child.containers.map(\.name) == ["gzip"])
      try fixture.check(child, seed: 7, reads: 5)
      var options = ImageOptions(format: "raw")
      options.indexFolder = nil
      let raw = try OpenImage(path: fixture.path("disk.gz"), options: options)
      #expect(raw.containers.isEmpty)
      #expect(try raw.content == fixture.bytes("disk.gz"))
    }
  }
}
