import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// VDIs on top of each other, which know each other by UUID only.
@Suite struct VDIChainTests {
  private static let blockSize = 4096

  private static func uuid(_ number: Int, _ kind: UInt8) -> [UInt8] {
    [UInt8](repeating: kind, count: 15) + [UInt8(number)]
  }

  /// Level 0 is the base. Each level stores some blocks, calls some zero and leaves the others.
  private static func chain(depth: Int, seed: UInt64) -> [VDIBuilder] {
    var random = SeededRandom(seed: seed)
    return (0...depth).map { level in
      let blocks = 12 + level % 2
      var builder = VDIBuilder(
        level == 0 ? .dynamic : level % 2 == 0 ? .undo : .differencing,
        size: UInt64(blocks * blockSize - 300))
      builder.blockSize = UInt32(blockSize)
      for index in 0..<blocks {
        switch Int.random(in: 0..<5, using: &random) {
        case 0, 1: builder.blocks[index] = ImageBytes.pattern(blockSize, seed: random.next())
        case 2: builder.zeroBlocks.insert(index)
        default: break
        }
      }
      builder.order = builder.blocks.keys.sorted().shuffled(using: &random)
      builder.uuid = uuid(level, 0x11)
      builder.modificationUUID = uuid(level, 0x22)
      if level > 0 {
        builder.parentUUID = uuid(level - 1, 0x11)
        builder.parentModificationUUID = uuid(level - 1, 0x22)
      }
      return builder
    }
  }

  private static func content(of chain: [VDIBuilder]) -> [UInt8] {
    var content: [UInt8] = []
    for level in chain { content = level.content(over: content) }
    return content
  }

  private static func write(_ chain: [VDIBuilder], to folder: String) throws {
    for (level, builder) in chain.enumerated() {
      try HostTools.write(builder.file.bytes, to: "\(folder)/\(level).vdi")
    }
  }

  @Test(arguments: 1...5) func depths(_ depth: Int) throws {
    for seed in 0..<4 as Range<UInt64> {
      let chain = Self.chain(depth: depth, seed: seed * 10 + UInt64(depth))
      try HostTools.withFolder { folder in
        try Self.write(chain, to: folder)
        try HostTools.write([1, 2, 3], to: "\(folder)/other.vdi")
        let image = try OpenImage(path: "\(folder)/\(depth).vdi")
        #expect(image.disk.layers.count == depth + 1)
        #expect(try image.content == Self.content(of: chain))
        let up = FileManager.default.currentDirectoryPath.split(separator: "/").map { _ in ".." }
        let relative = up.joined(separator: "/") + "\(folder)/\(depth).vdi"
        #expect(try OpenImage(path: relative).content == Self.content(of: chain))
        #expect(image.notes.count == depth + 1, "\(image.notes): the odd size of each")
        // The disk as each image below has it.
        #expect(image.snapshots.count == depth)
        let below = try OpenImage(
          path: "\(folder)/\(depth).vdi", options: ImageOptions(snapshot: "0.vdi"))
        #expect(try below.content == chain[0].content())
      }
    }
  }

  /// By hand: parent P, child C in block 1, zero in block 2, nothing of its own in 0 and 3.
  @Test func byHand() throws {
    let unit = 512
    func full(_ letter: Character) -> [UInt8] {
      [UInt8](repeating: letter.asciiValue ?? 0, count: unit)
    }
    var parent = VDIBuilder(.fixed, size: UInt64(4 * unit))
    parent.blockSize = 512
    parent.blocks = [0: full("P"), 1: full("P"), 2: full("P"), 3: full("P")]
    var child = VDIBuilder(.differencing, size: UInt64(5 * unit))
    child.blockSize = 512
    child.blocks = [1: full("C")]
    child.zeroBlocks = [2]
    child.uuid = Self.uuid(9, 1)
    child.parentUUID = parent.uuid
    child.parentModificationUUID = parent.modificationUUID
    try HostTools.withFolder { folder in
      try Self.write([parent, child], to: folder)
      let image = try OpenImage(path: "\(folder)/1.vdi")
      let zeros = [UInt8](repeating: 0, count: unit)
      #expect(try image.content == full("P") + full("C") + zeros + full("P") + zeros)
      #expect(image.disk.layers[0].description.subformat == "differencing")
      #expect(image.notes.isEmpty)
    }
  }

  /// VirtualBox keeps snapshots in a folder beside the base, each called by its UUID.
  @Test func asVirtualBoxKeepsThem() throws {
    let chain = Self.chain(depth: 2, seed: 77)
    try HostTools.withFolder { folder in
      let snapshots = "\(folder)/Snapshots"
      try FileManager.default.createDirectory(
        atPath: snapshots, withIntermediateDirectories: true)
      // More files than are looked into, all before the right one in order.
      for number in 0..<100 {
        try HostTools.write([0], to: "\(snapshots)/{0-\(number)}.vdi")
      }
      let middle = "{11111111-1111-1111-1111-111111111101}.vdi"
      try HostTools.write(chain[0].file.bytes, to: "\(folder)/disk.vdi")
      try HostTools.write(chain[1].file.bytes, to: "\(snapshots)/\(middle)")
      try HostTools.write(chain[2].file.bytes, to: "\(snapshots)/{top}.vdi")
      let error = #expect(throws: DiskError.self) {
        try OpenImage(path: "\(snapshots)/{top}.vdi")
      }
      #expect(error?.kind == .notFound && error?.path == "\(snapshots)/\(middle)")
      #expect(
        error?.message
          == "its parent 'UUID 11111111-1111-1111-1111-111111111100' was not found among the files "
          + "in \(snapshots); --parent FILE names it, --allow-path DIR looks there too")
      let allowed = try OpenImage(
        path: "\(snapshots)/{top}.vdi", options: ImageOptions(allowedPaths: [folder]))
      #expect(try allowed.content == Self.content(of: chain))
      let named = try OpenImage(
        path: "\(snapshots)/{top}.vdi",
        options: ImageOptions(parents: ["\(snapshots)/\(middle)", "\(folder)/disk.vdi"]))
      #expect(try named.content == Self.content(of: chain))
    }
  }

  @Test func aParentThatWasWrittenToSinceIsRefused() throws {
    var chain = Self.chain(depth: 1, seed: 5)
    chain[0].modificationUUID = Self.uuid(0, 0x33)
    try HostTools.withFolder { folder in
      try Self.write(chain, to: folder)
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/1.vdi") }
      #expect(error?.kind == .invalidRequest && error?.path == "\(folder)/1.vdi")
      let doubt =
        "is not the one that the child was made on, or has changed since: it has the modification "
        + "UUID 33333333-3333-3333-3333-333333333300, not 22222222-2222-2222-2222-222222222200"
      #expect(
        error?.message
          == "its parent '\(folder)/0.vdi' \(doubt); --parent \(folder)/0.vdi reads it all the same"
      )
      let image = try OpenImage(
        path: "\(folder)/1.vdi", options: ImageOptions(parents: ["\(folder)/0.vdi"]))
      #expect(try image.content == Self.content(of: chain))
      #expect(image.notes.contains("\(folder)/0.vdi, given as the parent, \(doubt)"))
      // Beside it is a copy that was not written to.
      chain[0].modificationUUID = Self.uuid(0, 0x22)
      try HostTools.write(chain[0].file.bytes, to: "\(folder)/copy.vdi")
      #expect(try OpenImage(path: "\(folder)/1.vdi").content == Self.content(of: chain))
      // Nothing is expected of the modification where the child does not know it.
      try FileManager.default.removeItem(atPath: "\(folder)/copy.vdi")
      chain[0].modificationUUID = Self.uuid(0, 0x33)
      chain[1].parentModificationUUID = VDIBuilder.noUUID
      try Self.write(chain, to: folder)
      #expect(try OpenImage(path: "\(folder)/1.vdi").content == Self.content(of: chain))
    }
  }

  @Test func anImageThatNamesNoParentAsksForOne() throws {
    var builder = VDIBuilder(.differencing, size: 8192)
    builder.blockSize = 4096
    builder.parentModificationUUID = [UInt8](repeating: 0, count: 16)
    try HostTools.withFolder { folder in
      try HostTools.write(builder.file.bytes, to: "\(folder)/x.vdi")
      try HostTools.write(ImageBytes.pattern(8192, seed: 1), to: "\(folder)/x.img")
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/x.vdi") }
      #expect(error?.kind == .notFound)
      let image = try OpenImage(
        path: "\(folder)/x.vdi", options: ImageOptions(parents: ["\(folder)/x.img"]))
      #expect(try image.content == ImageBytes.pattern(8192, seed: 1))
    }
  }

  /// A parent of another format is found by nobody, and can be named.
  @Test func aParentOfAnotherFormat() throws {
    let chain = Self.chain(depth: 1, seed: 12)
    try HostTools.withFolder { folder in
      try HostTools.write(chain[1].file.bytes, to: "\(folder)/1.vdi")
      var base = ParallelsBuilder(extended: true, sectors: 100)
      base.clusters = [0: ImageBytes.pattern(50_000, seed: 1)]
      try HostTools.write(base.file.bytes, to: "\(folder)/base.hds")
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/1.vdi") }
      #expect(error?.kind == .notFound)
      let image = try OpenImage(
        path: "\(folder)/1.vdi", options: ImageOptions(parents: ["\(folder)/base.hds"]))
      #expect(try image.content == chain[1].content(over: base.content()))
      #expect(image.notes.contains { $0.contains("it has no UUID, not 11111111-") })
    }
  }

  /// Calls itself dynamic: what it leaves out is the parent's all the same.
  @Test func aDynamicImageWithAParent() throws {
    var chain = Self.chain(depth: 1, seed: 8)
    chain[1].type = .dynamic
    try HostTools.withFolder { folder in
      try Self.write(chain, to: folder)
      let image = try OpenImage(path: "\(folder)/1.vdi")
      #expect(try image.content == Self.content(of: chain))
      #expect(image.notes.contains("names a parent although its header calls it dynamic"))
    }
  }

  @Test func loops() throws {
    try HostTools.withFolder { folder in
      // On itself: it is not looked at among the others.
      var own = Self.chain(depth: 1, seed: 6)
      own[1].parentUUID = own[1].uuid
      own[1].parentModificationUUID = own[1].modificationUUID
      try HostTools.write(own[1].file.bytes, to: "\(folder)/1.vdi")
      #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/1.vdi") }
      // A on B on A.
      var chain = Self.chain(depth: 2, seed: 6)
      chain[1].parentUUID = chain[2].uuid
      chain[1].parentModificationUUID = chain[2].modificationUUID
      try Self.write(chain, to: folder)
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/2.vdi") }
      #expect(error?.kind == .malformed)
      #expect(error?.message.contains("already in the chain") == true)
    }
  }

  /// Only files of the folder, and not what links in it lead to.
  @Test func parentsOutsideTheFolderAreNotTaken() throws {
    let chain = Self.chain(depth: 1, seed: 9)
    try HostTools.withFolder { folder in
      let inside = "\(folder)/inside"
      try FileManager.default.createDirectory(atPath: inside, withIntermediateDirectories: true)
      try HostTools.write(chain[0].file.bytes, to: "\(folder)/0.vdi")
      try HostTools.write(chain[1].file.bytes, to: "\(inside)/1.vdi")
      try FileManager.default.createSymbolicLink(
        atPath: "\(inside)/0.vdi", withDestinationPath: "\(folder)/0.vdi")
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(inside)/1.vdi") }
      #expect(error?.kind == .notFound)
    }
  }
}
