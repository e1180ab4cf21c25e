import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Parallels bundles: a DiskDescriptor.xml and the image files that it names.
@Suite struct ParallelsBundleTests {
  private typealias Descriptor = ParallelsDescriptorBuilder
  private static let top = Descriptor.top

  private static func expanding(_ sectors: UInt64, seed: UInt64) -> ParallelsBuilder {
    var random = SeededRandom(seed: seed)
    var builder = ParallelsBuilder(extended: Bool.random(using: &random), sectors: sectors)
    builder.clusterSectors = 8
    for index in 0..<Int((sectors + 7) / 8) where Bool.random(using: &random) {
      builder.clusters[index] = ImageBytes.pattern(4096, seed: random.next())
    }
    return builder
  }

  private static func open(
    _ folder: String, _ descriptor: Descriptor, options: ImageOptions = ImageOptions()
  ) throws -> OpenImage {
    try HostTools.write(Array(descriptor.text.utf8), to: "\(folder)/DiskDescriptor.xml")
    return try OpenImage(path: "\(folder)/DiskDescriptor.xml", options: options)
  }

  @Test func oneImage() throws {
    try HostTools.withFolder { folder in
      let builder = Self.expanding(90, seed: 1)
      try HostTools.write(builder.file.bytes, to: "\(folder)/d.hds")
      let image = try Self.open(
        folder, Descriptor(size: 90, [.init(0, 90, [.init(Self.top, "Compressed", "d.hds")])]))
      #expect(try image.content == builder.content())
      #expect(image.disk.layers.count == 1 && image.notes.isEmpty)
      let description = image.disk.layers[0].description
      #expect(description.format == "parallels" && description.subformat == "expanding")
      #expect(
        description.details.map(\.name) == ["identifier", "variant", "cluster size", "geometry"])
      #expect(description.details[0].value == Self.top)
    }
  }

  @Test func plainInParts() throws {
    try HostTools.withFolder { folder in
      let parts = [ImageBytes.pattern(20 * 512, seed: 1), ImageBytes.pattern(14 * 512, seed: 2)]
      try HostTools.write(parts[0], to: "\(folder)/0")
      // Longer than what it takes of the disk.
      try HostTools.write(parts[1] + [1, 2, 3], to: "\(folder)/1")
      let image = try Self.open(
        folder,
        Descriptor(
          size: 34,
          [
            .init(20, 34, [.init(Self.top, "Plain", "1")]),
            .init(0, 20, [.init(Self.top, "Plain", "0")]),
          ]))
      #expect(try image.content == parts[0] + parts[1])
      #expect(image.disk.layers[0].description.subformat == "split")
    }
  }

  /// A plain root and expanding snapshots on it, in one part and in three.
  @Test(arguments: 1...5, [[34], [16, 10, 8]] as [[UInt64]])
  func snapshots(_ depth: Int, _ lengths: [UInt64]) throws {
    try HostTools.withFolder { folder in
      var storages: [Descriptor.Storage] = []
      var expected: [UInt8] = []
      var start: UInt64 = 0
      for (part, length) in lengths.enumerated() {
        var content = ImageBytes.pattern(Int(length) * 512, seed: UInt64(part))
        var images = [Descriptor.Image(Descriptor.guid(0), "Plain", "\(part).plain")]
        try HostTools.write(content, to: "\(folder)/\(part).plain")
        for level in 1...depth {
          let builder = Self.expanding(length, seed: UInt64(part * 10 + level))
          let name = "\(part).{\(level)}.hds"
          try HostTools.write(builder.file.bytes, to: "\(folder)/\(name)")
          images.append(
            .init(level == depth ? Self.top : Descriptor.guid(level), "Compressed", name))
          content = builder.content(over: content)
        }
        storages.append(.init(start, start + length, images.reversed()))
        start += length
        expected += content
      }
      var descriptor = Descriptor(size: start, storages)
      descriptor.shots = (0...depth).map { level in
        (
          level == depth ? Self.top : Descriptor.guid(level),
          level == 0 ? Descriptor.none : Descriptor.guid(level - 1)
        )
      }
      let image = try Self.open(folder, descriptor)
      #expect(image.disk.layers.count == depth + 1)
      #expect(try image.content == expected)
      #expect(image.snapshots.count == depth)
      // Another state on top: what the machine has written since is not shown.
      descriptor.topGUID = Descriptor.guid(0)
      let root = try Self.open(folder, descriptor)
      #expect(root.disk.layers.count == 1)
      // Part of a chain, by itself: said, since what it leaves out is not there.
      let alone = try OpenImage(path: "\(folder)/0.{\(depth)}.hds")
      #expect(
        alone.notes == [
          "is one of several image files of a disk and is shown by itself: DiskDescriptor.xml "
            + "beside it is the whole"
        ])
    }
  }

  @Test func namesInOtherLettersAndPlaces() throws {
    try HostTools.withFolder { folder in
      let builder = Self.expanding(90, seed: 1)
      try HostTools.write(builder.file.bytes, to: "\(folder)/d & é.hds")
      for name in [
        "d &amp; é.hds", "./d &#38; &#xE9;.hds", "/Users/me/Disks/d.hdd/d &amp; é.hds",
        "C:\\Disks\\d &amp; é.hds", "<![CDATA[d & é.hds]]>",
      ] {
        var descriptor = Descriptor(
          size: 90, [.init(0, 90, [.init(Self.top.uppercased(), "Compressed", name)])])
        descriptor.documentType = "<!-- a > comment -->"
        #expect(try Self.open(folder, descriptor).content == builder.content())
      }
    }
  }

  private func refusal(
    _ kind: DiskError.Kind, _ part: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ edit: (inout Descriptor) -> Void
  ) throws {
    try HostTools.withFolder { folder in
      try HostTools.write([UInt8](repeating: 1, count: 90 * 512), to: "\(folder)/d")
      try FileManager.default.createDirectory(
        atPath: "\(folder)/folder", withIntermediateDirectories: false)
      var descriptor = Descriptor(size: 90, [.init(0, 90, [.init(Self.top, "Plain", "d")])])
      edit(&descriptor)
      let error = #expect(throws: DiskError.self, sourceLocation: sourceLocation) {
        try Self.open(folder, descriptor)
      }
      #expect(
        error?.kind == kind && error?.message.contains(part) == true
          && error?.path?.hasPrefix(folder) == true, "\(String(describing: error))",
        sourceLocation: sourceLocation)
    }
  }

  @Test func descriptorsThatContradictThemselves() throws {
    try refusal(.malformed, "starts at sector 10, where the one before it ends at 0") {
      $0.storages[0].start = 10
    }
    try refusal(.malformed, "a storage from sector 0 to 0") { $0.storages[0].end = 0 }
    try refusal(.malformed, "a storage from sector 0 to \(UInt64.max)") {
      $0.storages[0].end = .max
    }
    try refusal(.malformed, "starts at sector 0, where the one before it ends at 90") {
      $0.storages.append($0.storages[0])
    }
    try refusal(.malformed, "names no storage") { $0.storages = [] }
    try refusal(.malformed, "holds 46080 bytes of the disk where 51200 belong") {
      $0.storages[0].end = 100
    }
    try refusal(.malformed, "names no image of the state \(Self.top)") {
      $0.storages[0].images[0].guid = Descriptor.guid(5)
    }
    try refusal(.unsupported, "neither Plain nor Compressed") {
      $0.storages[0].images[0].type = "Squeezed"
    }
    try refusal(.unsupported, "is encrypted") { $0.encryption = Descriptor.guid(1) }
    try refusal(.unsupported, "padded tracks") { $0.padding = 1 }
    try refusal(.malformed, "no Parallels header") {
      $0.storages[0].images[0].type = "Compressed"
    }
    try refusal(.malformed, "more than 1000 images") {
      let image = $0.storages[0].images[0]
      $0.storages[0].images = [Descriptor.Image](repeating: image, count: 1001)
    }
  }

  @Test func snapshotsThatContradictThemselves() throws {
    try refusal(.malformed, "which of its snapshots is the top one") {
      $0.shots = [(Descriptor.guid(1), Descriptor.none)]
    }
    try refusal(.malformed, "what its top snapshot \(Descriptor.guid(7)) is") {
      $0.topGUID = Descriptor.guid(7)
    }
    try refusal(.malformed, "what the snapshot \(Descriptor.guid(3)) is") {
      $0.shots = [(Self.top, Descriptor.guid(3))]
    }
    try refusal(.malformed, "never ends") { $0.shots = [(Self.top, Self.top)] }
    try refusal(.malformed, "never ends") {
      $0.shots = [(Self.top, Descriptor.guid(1)), (Descriptor.guid(1), Self.top)]
    }
    try refusal(.malformed, "two snapshots") {
      $0.shots = [(Self.top, Descriptor.none), (Self.top, Descriptor.none)]
    }
    try refusal(.malformed, "or of more than 64") {
      $0.shots = [(Self.top, Descriptor.guid(1))]
      for number in 1...300 {
        $0.shots.append((Descriptor.guid(number), Descriptor.guid(number + 1)))
      }
    }
  }

  @Test(arguments: ["/etc/passwd", "../../../../../../etc/passwd", "link"])
  func filesOutsideTheFolder(_ name: String) throws {
    try HostTools.withFolder { folder in
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder)/link", withDestinationPath: "/etc/passwd")
      let error = #expect(throws: DiskError.self) {
        try Self.open(
          folder, Descriptor(size: 1, [.init(0, 1, [.init(Self.top, "Plain", name)])]))
      }
      #expect(error?.kind == .permissionDenied)
      #expect(error?.message.contains("--allow-path /etc") == true)
    }
  }

  @Test func filesThatAreMissingOrNone() throws {
    try refusal(.notFound, "its image file 'gone' was not found") {
      $0.storages[0].images[0].file = "gone"
    }
    try refusal(.malformed, "an image file without a name") {
      $0.storages[0].images[0].file = ""
    }
    try refusal(.invalidRequest, "is not a regular file") {
      $0.storages[0].images[0].file = "folder"
    }
  }
}
