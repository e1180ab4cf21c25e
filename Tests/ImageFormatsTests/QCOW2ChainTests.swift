import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Backing files and data files, as they are opened from the command line: with real files.
@Suite struct QCOW2ChainTests {
  private static let unit = 4096

  /// 10 clusters, of which `clusters` are held.
  private static func image(
    _ clusters: [Int: QCOW2Builder.Cluster], backing: String? = nil, format: String? = nil,
    size: Int = 10
  ) -> QCOW2Builder {
    var builder = QCOW2Builder(size: UInt64(size * unit))
    builder.clusterBits = 12
    builder.clusters = clusters
    builder.backing = backing
    builder.backingFormat = format
    return builder
  }

  private static func write(_ builder: QCOW2Builder, _ path: String) throws {
    try HostTools.write(builder.file.bytes, to: path)
  }

  private func complaint(_ path: String, _ options: ImageOptions = ImageOptions()) throws
    -> DiskError
  {
    let clock = ThreadClock()
    let start = clock.now
    let error = #expect(throws: DiskError.self) { try OpenImage(path: path, options: options) }
    #expect(start.duration(to: clock.now) < .seconds(1))
    let found = try #require(error)
    #expect(found.path == path && !found.description.contains { $0.isNewline })
    return found
  }

  /// Chains of each depth: every image holds some clusters, has zeros in others, and the rest is
  /// below.
  @Test(arguments: 1...5, [false, true]) func chains(_ depth: Int, _ subclusters: Bool) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(depth))
      let bits = subclusters ? 14 : 12
      var expected: [UInt8] = []
      for level in 0..<depth {
        var builder = QCOW2Builder(size: UInt64(Int.random(in: 6...14, using: &random) << bits))
        if level == depth - 1 { builder.size = 10 << UInt64(bits) }
        builder.clusterBits = bits
        builder.hasSubclusters = subclusters
        for index in 0..<Int(builder.size >> UInt64(bits)) {
          let content = ImageBytes.pattern(1 << bits, seed: random.next())
          switch Int.random(in: 0..<6, using: &random) {
          case 0: builder.clusters[index] = .data(content)
          case 1: builder.clusters[index] = .zero
          case 2: builder.clusters[index] = .compressed(CompressedBytes.deflate(content), content)
          case 3 where subclusters:
            let allocated = UInt32.random(in: 0 ... .max, using: &random)
            builder.clusters[index] = .subclusters(
              content, allocated: allocated,
              zeros: UInt32.random(in: 0 ... .max, using: &random) & ~allocated)
          default: break
          }
        }
        if level > 0 {
          builder.backing = "level\(level - 1).qcow2"
          builder.backingFormat = "qcow2"
        }
        expected = builder.content(over: expected)
        try Self.write(builder, "\(folder)/level\(level).qcow2")
      }
      let image = try OpenImage(path: "\(folder)/level\(depth - 1).qcow2")
      #expect(image.notes.isEmpty && image.disk.layers.count == depth)
      #expect(try image.disk.whole.bytes(at: .start, count: expected.count) == expected)
      #expect(image.snapshots.map(\.name) == (0..<depth - 1).reversed().map { "level\($0).qcow2" })
    }
  }

  /// Clusters of the disk that differ from those of the snapshot, over one backing file.
  @Test func snapshotsOverABackingFile() throws {
    try HostTools.withFolder { folder in
      let base = Self.image([0: .data([1]), 1: .data([2]), 2: .data([3])])
      var top = Self.image([0: .data([4])], backing: "base", format: "qcow2")
      top.snapshots = [.init("1", "s", size: 40_960, [1: .data([5])])]
      try Self.write(base, "\(folder)/base")
      try Self.write(top, "\(folder)/top")
      let image = try OpenImage(path: "\(folder)/top", options: ImageOptions(snapshot: "s"))
      #expect(
        try image.disk.whole.bytes(at: .start, count: 40_960)
          == top.content(top.snapshots[0].clusters, over: base.content()))
    }
  }

  @Test func aBackingFileWithoutAFormatIsFoundByContent() throws {
    try HostTools.withFolder { folder in
      try Self.write(Self.image([0: .data([1])], backing: "base"), "\(folder)/top")
      try HostTools.write(ImageBytes.pattern(8192, seed: 1), to: "\(folder)/base")
      let image = try OpenImage(path: "\(folder)/top")
      #expect(
        image.notes == [
          "it does not say which format its backing file has: that is found by content",
          "base: no format's signature was found: read as raw; --format overrides",
        ])
      #expect(
        try image.disk.whole.bytes(at: DiskOffset(4096), count: 8192)
          == ImageBytes.pattern(8192, seed: 1)[4096...] + [UInt8](repeating: 0, count: 4096))
      try Self.write(Self.image([1: .data([7])]), "\(folder)/base")
      #expect(
        try OpenImage(path: "\(folder)/top").disk.whole.bytes(at: DiskOffset(4096), count: 1) == [7]
      )
      // Said to be raw, it is raw whatever it looks like.
      try Self.write(Self.image([:], backing: "base", format: "raw"), "\(folder)/top")
      let raw = try OpenImage(path: "\(folder)/top")
      #expect(raw.notes.isEmpty && raw.disk.layers[1].description.format == "raw")
    }
  }

  @Test(arguments: ["vpc", "raw", "file"]) func formatsByTheNamesOfQEMU(_ format: String) throws {
    try HostTools.withFolder { folder in
      try Self.write(Self.image([:], backing: "./base", format: format), "\(folder)/top")
      var builder = VHDBuilder(.fixed, size: 40_960)
      builder.blockSize = 40_960
      builder.blocks = [0: ImageBytes.pattern(40_960, seed: 3)]
      try HostTools.write(builder.file.bytes, to: "\(folder)/base")
      let image = try OpenImage(path: "\(folder)/top")
      #expect(image.disk.layers[1].description.format == (format == "vpc" ? "vhd" : "raw"))
      #expect(
        try image.disk.whole.bytes(at: .start, count: 40_960)
          == ImageBytes.pattern(40_960, seed: 3))
    }
  }

  /// What QEMU would open by a protocol or as a device is refused by name, and `--parent` is a way
  /// out.
  @Test(arguments: [
    "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}", "nbd://localhost/x", "nbd:unix:/x",
    "http://example.org/disk.qcow2", "fat:rw:/tmp", "ssh://host/path", "host_device:/dev/sda",
    "file.img:", "fd:3",
  ]) func protocols(_ name: String) throws {
    try HostTools.withFolder { folder in
      let path = "\(folder)/top"
      try HostTools.write([1, 2, 3], to: "\(folder)/base")
      for format in [nil, "qcow2", "raw"] {
        try Self.write(Self.image([0: .data([9])], backing: name, format: format), path)
        let error = try complaint(path)
        #expect(error.kind == .permissionDenied)
        #expect(error.message.hasPrefix("names its parent as '\(name)', by QEMU's '"))
        #expect(error.message.contains("Platter opens only files; --parent FILE gives one"))
        #expect(error.message.contains("it was found to be qcow2 by its content"))
      }
      let image = try OpenImage(
        path: path, options: ImageOptions(parents: ["\(folder)/base"]))
      #expect(try image.disk.whole.bytes(at: .start, count: 2) == [9, 0])
    }
  }

  @Test func devicesByDriver() throws {
    try HostTools.withFolder { folder in
      try HostTools.write([1], to: "\(folder)/base")
      try Self.write(
        Self.image([:], backing: "base", format: "host_device"), "\(folder)/top")
      let error = try complaint("\(folder)/top")
      #expect(error.kind == .permissionDenied && error.message.contains("'host_device'"))
      try Self.write(Self.image([:], backing: "base", format: "qcow9"), "\(folder)/top")
      let unknown = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/top") }
      #expect(unknown?.kind == .unsupported && unknown?.message.contains("'qcow9'") == true)
    }
  }

  @Test func longNamesAreShownInShort() throws {
    try HostTools.withFolder { folder in
      let name = "json:" + String(repeating: "x", count: 1018)
      try Self.write(Self.image([:], backing: name), "\(folder)/top")
      let error = try complaint("\(folder)/top")
      #expect(error.message.utf8.count < 300 && error.message.contains("xxx…'"))
    }
  }

  /// Files outside the image's folder, and what is no file.
  @Test func filesThatAnImageMayNotName() throws {
    try HostTools.withFolder { folder in
      let inner = "\(folder)/in/ner"
      try FileManager.default.createDirectory(
        atPath: inner, withIntermediateDirectories: true)
      try HostTools.write(ImageBytes.pattern(40_960, seed: 1), to: "\(folder)/outside")
      try FileManager.default.createSymbolicLink(
        atPath: "\(inner)/link", withDestinationPath: "\(folder)/outside")
      #expect(mkfifo("\(inner)/fifo", 0o600) == 0)
      let top = "\(inner)/top"
      for (name, kind) in [
        ("/etc/passwd", .permissionDenied), ("../../../../../../etc/passwd", .permissionDenied),
        ("../../outside", .permissionDenied), ("\(folder)/outside", .permissionDenied),
        ("link", .permissionDenied), ("file:/etc/passwd", .permissionDenied),
        ("fifo", .invalidRequest), (".", .invalidRequest), ("/dev/null", .permissionDenied),
        ("/dev/zero", .permissionDenied), ("nothing", .notFound), ("sub/nothing", .notFound),
      ] as [(String, DiskError.Kind)] {
        for isDataFile in [false, true] {
          var builder = Self.image([0: .data([1])])
          if isDataFile { builder.dataFile = name } else { builder.backing = name }
          builder.backingFormat = isDataFile ? nil : "raw"
          try Self.write(builder, top)
          let error = try complaint(top)
          #expect(
            error.kind == kind
              || [kind, error.kind].allSatisfy { $0 == .permissionDenied || $0 == .invalidRequest },
            "\(error)")
          #expect(error.message.contains(isDataFile ? "its data file" : "its parent"))
        }
      }
      try Self.write(Self.image([0: .data([1])], backing: "link", format: "raw"), top)
      let image = try OpenImage(path: top, options: ImageOptions(allowedPaths: [folder]))
      #expect(
        try image.disk.whole.bytes(at: DiskOffset(4096), count: 4096)
          == Array(ImageBytes.pattern(40_960, seed: 1)[4096..<8192]))
    }
  }

  @Test func chainsWithoutAnEnd() throws {
    try HostTools.withFolder { folder in
      func write(_ name: String, _ backing: String?) throws {
        try Self.write(Self.image([:], backing: backing, format: "qcow2"), "\(folder)/\(name)")
      }
      try write("self", "self")
      let error = try complaint("\(folder)/self")
      #expect(error.kind == .malformed && error.message.contains("the chain never ends"))
      try write("a", "b")
      try write("b", "./a")
      let loop = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/a") }
      #expect(loop?.path == "\(folder)/b" && loop?.message.contains("never ends") == true)
      for level in 0..<300 { try write("l\(level)", level == 0 ? nil : "l\(level - 1)") }
      let deep = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/l299") }
      #expect(deep?.message == "the chain of images is longer than 64")
      #expect(try OpenImage(path: "\(folder)/l63").disk.layers.count == 64)
    }
  }

  /// `C:\…` is a path of Windows, not a protocol.
  @Test(arguments: ["C:\\images\\base.img", "c:/images/base.img", "\\\\server\\images\\base.img"])
  func pathsOfWindows(_ name: String) throws {
    try HostTools.withFolder { folder in
      try FileManager.default.createDirectory(
        atPath: "\(folder)/images", withIntermediateDirectories: true)
      try HostTools.write(ImageBytes.pattern(40_960, seed: 2), to: "\(folder)/images/base.img")
      try Self.write(Self.image([:], backing: name, format: "raw"), "\(folder)/top")
      #expect(
        try OpenImage(path: "\(folder)/top").disk.whole.bytes(at: .start, count: 40_960)
          == ImageBytes.pattern(40_960, seed: 2))
    }
  }
}
