import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Disks made on disks: each child of one kind or another, what it holds counted by the test.
@Suite struct VMDKChainTests {
  enum Kind: String, CaseIterable {
    case flat, monolithic, stream, split, vmfsSparse, seSparse
    /// Those that can have a parent.
    static let children: [Kind] = [.monolithic, .split, .vmfsSparse, .seSparse, .stream]
  }

  /// 13 grains of 4 KiB, of the last of which 4 sectors are there.
  static let sectors = 100
  static let bytes = sectors * 512

  struct Level {
    let kind: Kind
    let name: String
    let cid: String
    var parent: (cid: String, hint: String)?
    /// By number, of 4 KiB or less.
    let grains: [Int: VMDKBuilder.Grain]

    /// Each 4 KiB long.
    private var stored: [(index: Int, bytes: [UInt8]?)] {
      grains.map { index, grain in
        guard case .data(let bytes) = grain else { return (index, nil) }
        return (index, bytes + [UInt8](repeating: 0, count: 4096 - bytes.count))
      }
    }

    func write(to folder: String) throws {
      let put = { (file: VHDBuilder.File, name: String) in
        try HostTools.write(file.bytes, to: "\(folder)/\(name)")
      }
      let text = { (type: String, extents: [String]) in
        VMDKBuilder.text(
          type, cid: cid, parentCID: parent?.cid ?? "ffffffff", hint: parent?.hint, extents)
      }
      switch kind {
      case .flat:
        var content = [UInt8](repeating: 0, count: bytes)
        VMDKChainTests.apply(grains, to: &content)
        try HostTools.write(content, to: "\(folder)/\(name)-flat.vmdk")
        try HostTools.write(
          Array(text("vmfs", ["RW \(sectors) VMFS \"\(name)-flat.vmdk\""]).utf8),
          to: "\(folder)/\(name).vmdk")
      case .monolithic, .stream:
        var builder = VMDKBuilder(capacity: UInt64(sectors))
        builder.descriptor = text(
          kind == .stream ? "streamOptimized" : "monolithicSparse",
          ["RW \(sectors) SPARSE \"\(name).vmdk\""])
        if kind == .stream { builder.stream = .footer }
        builder.grains = grains
        try put(builder.file, "\(name).vmdk")
      case .split:
        // 48 sectors and 52.
        for (number, range) in [0..<6, 6..<13].enumerated() {
          var builder = VMDKBuilder(capacity: number == 0 ? 48 : 52)
          for (index, grain) in grains where range.contains(index) {
            builder.grains[index - range.lowerBound] = grain
          }
          try put(builder.file, "\(name)-s00\(number + 1).vmdk")
        }
        try HostTools.write(
          Array(
            text(
              "twoGbMaxExtentSparse",
              ["RW 48 SPARSE \"\(name)-s001.vmdk\"", "RW 52 SPARSE \"\(name)-s002.vmdk\""]
            ).utf8), to: "\(folder)/\(name).vmdk")
      case .vmfsSparse:
        // Grains of one sector, where there is no word for zeros: they are stored.
        var builder = VMDKCopyOnWriteBuilder(capacity: UInt32(sectors))
        for (index, grain) in stored {
          let bytes = grain ?? [UInt8](repeating: 0, count: 4096)
          for sector in 0..<8 where index * 8 + sector < sectors {
            builder.grains[index * 8 + sector] = Array(
              bytes[sector * 512..<(sector + 1) * 512])
          }
        }
        try put(builder.file, "\(name)-delta.vmdk")
        try HostTools.write(
          Array(text("vmfsSparse", ["RW \(sectors) VMFSSPARSE \"\(name)-delta.vmdk\""]).utf8),
          to: "\(folder)/\(name).vmdk")
      case .seSparse:
        var builder = VMDKSpaceEfficientBuilder(capacity: UInt64(sectors))
        for (index, grain) in stored {
          builder.grains[index] =
            grain.map { .data($0) } ?? (index % 2 == 0 ? .zero : .unmapped)
        }
        try put(builder.file, "\(name)-sesparse.vmdk")
        try HostTools.write(
          Array(text("seSparse", ["RW \(sectors) SESPARSE \"\(name)-sesparse.vmdk\""]).utf8),
          to: "\(folder)/\(name).vmdk")
      }
    }
  }

  static func apply(_ grains: [Int: VMDKBuilder.Grain], to content: inout [UInt8]) {
    for (index, grain) in grains {
      let range = index * 4096..<min(content.count, (index + 1) * 4096)
      content.replaceSubrange(range, with: repeatElement(0, count: range.count))
      guard case .data(let bytes) = grain else { continue }
      let held = range.prefix(bytes.count)
      content.replaceSubrange(held, with: bytes.prefix(held.count))
    }
  }

  /// A chain of these kinds, base first, and what its top holds.
  static func make(
    _ kinds: [Kind], in folder: String, _ random: inout SeededRandom
  ) throws -> (top: String, content: [UInt8]) {
    var content = [UInt8](repeating: 0, count: bytes)
    var below: (cid: String, hint: String)? = nil
    for (level, kind) in kinds.enumerated() {
      var grains: [Int: VMDKBuilder.Grain] = [:]
      for index in 0..<13 where Int.random(in: 0..<3, using: &random) == 0 {
        grains[index] =
          Int.random(in: 0..<4, using: &random) == 0
          ? .zero : .data(ImageBytes.pattern(4096, seed: UInt64(level * 100 + index)))
      }
      let name = level == kinds.count - 1 ? "top" : "level \(level)"
      let cid = String(0xABCD_0000 + level, radix: 16)
      let made = Level(kind: kind, name: name, cid: cid, parent: below, grains: grains)
      try made.write(to: folder)
      apply(grains, to: &content)
      below = (cid, "\(name).vmdk")
    }
    return ("\(folder)/top.vmdk", content)
  }

  @Test(arguments: 1...5, [Kind.flat, .monolithic, .stream, .split])
  func chains(_ depth: Int, _ base: Kind) throws {
    var random = SeededRandom(seed: UInt64(depth))
    for _ in 0..<Soak.rounds(5) {
      let kinds =
        [base] + (0..<depth).map { _ in Kind.children.randomElement(using: &random) ?? .split }
      try HostTools.withFolder { folder in
        let (top, content) = try Self.make(kinds, in: folder, &random)
        let image = try OpenImage(path: top)
        #expect(image.notes.isEmpty && image.disk.layers.count == depth + 1)
        #expect(image.snapshots.count == depth)
        #expect(try image.disk.whole.bytes(at: .start, count: Self.bytes) == content, "\(kinds)")
        for _ in 0..<20 {
          let start = Int.random(in: 0..<Self.bytes, using: &random)
          let count = Int.random(in: 1...min(9000, Self.bytes - start), using: &random)
          #expect(
            try image.disk.whole.bytes(at: DiskOffset(UInt64(start)), count: count)
              == Array(content[start..<start + count]))
        }
      }
    }
  }

  /// Parent P, child C in grain 1: PCPP…, in each kind of child.
  @Test(arguments: Kind.children) func byHand(_ kind: Kind) throws {
    try HostTools.withFolder { folder in
      let grain = { (byte: UInt8) in [UInt8](repeating: byte, count: 4096) }
      var grains: [Int: VMDKBuilder.Grain] = [:]
      for index in 0..<13 { grains[index] = .data(grain(0x50)) }
      try Level(kind: .flat, name: "base", cid: "1", parent: nil, grains: grains).write(to: folder)
      try Level(
        kind: kind, name: "child", cid: "2", parent: ("00000001", "base.vmdk"),
        grains: [1: .data(grain(0x43)), 3: .zero]
      ).write(to: folder)
      let image = try OpenImage(path: "\(folder)/child.vmdk")
      let found = try (0..<13).map {
        try image.disk.whole.bytes(at: DiskOffset(UInt64($0 * 4096 + 2047)), count: 1)[0]
      }
      #expect(found == [0x50, 0x43, 0x50, 0] + [UInt8](repeating: 0x50, count: 9))
    }
  }

  private static func pair(
    in folder: String, hint: String, parentCID: String = "1", child: String = "child.vmdk"
  ) throws {
    try Level(kind: .monolithic, name: "base", cid: "1", parent: nil, grains: [0: .data([1])])
      .write(to: folder)
    try Level(
      kind: .monolithic, name: "child", cid: "2", parent: (parentCID, hint), grains: [:]
    ).write(to: folder)
  }

  /// As VMware writes it on Windows and elsewhere; a moved one is looked for beside the child.
  @Test(
    arguments: [
      "base.vmdk", "BASE.VMDK", #"C:\VMs\old\base.vmdk"#, #"..\somewhere\base.vmdk"#,
      "/vmfs/volumes/5f1b-22/vm/base.vmdk", "./base.vmdk", #"\\server\share\base.vmdk"#,
    ])
  func hints(_ hint: String) throws {
    try HostTools.withFolder { folder in
      try Self.pair(in: folder, hint: hint)
      let image = try OpenImage(path: "\(folder)/child.vmdk")
      #expect(image.disk.layers.count == 2)
      #expect(try image.disk.whole.bytes(at: .start, count: 2) == [1, 0])
    }
  }

  @Test func anotherParentIsRefused() throws {
    try HostTools.withFolder { folder in
      try Self.pair(in: folder, hint: "base.vmdk", parentCID: "12ab")
      let error = #expect(throws: DiskError.self) {
        try OpenImage(path: "\(folder)/child.vmdk")
      }
      #expect(error?.kind == .invalidRequest)
      #expect(error?.message.contains("it has the CID 00000001, not 000012ab") == true)
      // The user may know better.
      let options = ImageOptions(parents: ["\(folder)/base.vmdk"])
      let image = try OpenImage(path: "\(folder)/child.vmdk", options: options)
      #expect(image.notes.count == 1 && image.disk.layers.count == 2)
    }
  }

  /// Where no hint names it, it is found by its CID.
  @Test func parentWithoutAHint() throws {
    try HostTools.withFolder { folder in
      try Self.pair(in: folder, hint: "")
      #expect(try OpenImage(path: "\(folder)/child.vmdk").disk.layers.count == 2)
    }
  }

  /// A hint that leads nowhere: the file beside the child that has its CID is named.
  @Test func missingParent() throws {
    try HostTools.withFolder { folder in
      try Self.pair(in: folder, hint: "gone.vmdk")
      let error = #expect(throws: DiskError.self) {
        try OpenImage(path: "\(folder)/child.vmdk")
      }
      #expect(error?.kind == .notFound)
      #expect(error?.message.contains("--parent \(folder)/base.vmdk") == true)
    }
  }

  @Test func parentIsItself() throws {
    try HostTools.withFolder { folder in
      for kind in Kind.children {
        try Level(
          kind: kind, name: "x", cid: "7", parent: ("7", "x.vmdk"), grains: [0: .data([1])]
        ).write(to: folder)
        let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/x.vmdk") }
        #expect(error?.kind == .malformed)
        #expect(error?.message.contains("already in the chain") == true)
      }
    }
  }

  /// VirtualBox says that there is no parent and gives its UUID.
  @Test func virtualBox() throws {
    try HostTools.withFolder { folder in
      let uuid = "0a1b2c3d-0000-4000-8000-0123456789ab"
      var base = VMDKBuilder.monolithic(capacity: 16)
      base.grains = [0: .data([1])]
      base.descriptor = VMDKBuilder.text(
        "monolithicSparse", ["RW 16 SPARSE \"b.vmdk\""],
        more: ["ddb.uuid.image=\"\(uuid)\"", "ddb.uuid.parent=\"\(Self.nilUUID)\""])
      try HostTools.write(base.file.bytes, to: "\(folder)/b.vmdk")
      var child = VMDKBuilder.monolithic(capacity: 16)
      child.descriptor = VMDKBuilder.text(
        "monolithicSparse", ["RW 16 SPARSE \"c.vmdk\""],
        more: ["ddb.uuid.parent=\"\(uuid.uppercased())\""])
      try HostTools.write(child.file.bytes, to: "\(folder)/c.vmdk")
      #expect(try OpenImage(path: "\(folder)/b.vmdk").disk.layers.count == 1)
      #expect(try OpenImage(path: "\(folder)/c.vmdk").disk.layers.count == 2)
      let options = ImageOptions(parents: ["\(folder)/b.vmdk"])
      let image = try OpenImage(path: "\(folder)/c.vmdk", options: options)
      #expect(image.notes.isEmpty)
      #expect(try image.disk.whole.bytes(at: .start, count: 2) == [1, 0])
    }
  }

  private static let nilUUID = "00000000-0000-0000-0000-000000000000"
}
