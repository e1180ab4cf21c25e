import DiskCore
import FileSystems
import Foundation
import TestSupport
import Testing

/// Discs that genisoimage, mkisofs and xorriso make of a tree, against that tree and against what xorriso
/// extracts from them.
@Suite(
  .enabled(
    if: HostTools.has("xorriso", "genisoimage", "find"),
    "xorriso or genisoimage is not installed (packages xorriso, genisoimage)"))
struct ISO9660ToolTests {
  /// What `find` says of one item.
  private struct Item: Equatable {
    var kind: FileKind
    var size: UInt64
    var permissions: UInt16
    var modified: Int64
    var user: UInt32
    var group: UInt32
    var target: String
  }

  private static let kinds: [String: FileKind] = [
    "f": .file, "d": .folder, "l": .link, "p": .pipe, "c": .characterDevice, "b": .blockDevice,
    "s": .socket,
  ]

  private func items(_ folder: String) throws -> [String: Item] {
    let text = try HostTools.run(
      "find", [folder, "-mindepth", "1", "-printf", "%P\\t%y\\t%s\\t%m\\t%T@\\t%U\\t%G\\t%l\\0"])
    var items: [String: Item] = [:]
    for row in text.split(separator: "\0") {
      let fields = row.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
      items["/" + fields[0]] = Item(
        kind: try #require(Self.kinds[fields[1]]), size: try #require(UInt64(fields[2])),
        permissions: try #require(UInt16(fields[3], radix: 8)),
        modified: try #require(Double(fields[4]).map { Int64($0.rounded(.down)) }),
        user: try #require(UInt32(fields[5])), group: try #require(UInt32(fields[6])),
        target: fields[7])
    }
    return items
  }

  /// - Parameter isCased: false where xorriso shows plain ISO names in upper case.
  private func compare(
    _ volume: ISO9660Volume, with folder: String, isCased: Bool = true
  ) throws {
    // xorriso shows the folder of what was too deep, empty, and cannot make devices that K3b numbered.
    let expected = try items(folder).filter { $0.key != "/rr_moved" }
    let found = try volume.paths()
    let files = try found.filter {
      try ![.blockDevice, .characterDevice].contains(volume.attributes($0).kind)
    }
    let shown = isCased ? files : files.map { $0.uppercased() }
    #expect(Set(shown).symmetricDifference(expected.keys).sorted() == [])
    for path in found {
      guard let item = expected[isCased ? path : path.uppercased()] else { continue }
      let attributes = try volume.attributes(path)
      #expect(attributes.kind == item.kind, "\(path)")
      if item.kind != .folder { #expect(attributes.size == item.size, "\(path)") }
      if let permissions = attributes.permissions, item.kind != .link {
        #expect(permissions == item.permissions, "\(path)")
        #expect(attributes.user == item.user, "\(path)")
        #expect(attributes.group == item.group, "\(path)")
      }
      // Without Rock Ridge xorriso takes a folder's time from its parent's record, as Linux does not.
      if item.kind != .link, item.kind != .folder || attributes.permissions != nil {
        #expect(attributes.modified?.seconds == item.modified, "\(path)")
      }
      if item.kind == .link { #expect(try volume.target(path) == item.target) }
      if item.kind == .file {
        let stored = FileManager.default.contents(
          atPath: folder + (isCased ? path : path.uppercased()))
        #expect(try volume.bytes(path) == stored.map { [UInt8]($0) }, "\(path)")
      }
    }
  }

  /// Deep, wide, with names of every kind and what else a file system can hold.
  ///
  /// - Parameter writer: what the disc is made by: genisoimage cannot write links of more than 250 bytes,
  ///   and Joliet names of more than 16 bits a character only as nothing.
  private func makeTree(_ folder: String, for writer: String) throws {
    let deep = (1...14).map { "level \($0)" }.joined(separator: "/")
    try HostTools.run(
      "sh",
      [
        "-eu", "-c",
        #"""
        umask 022
        mkdir -p "$1/$2/end" "$1/wide" "$1/Ünïcode 日本語" "$1/empty"
        cd "$1"
        echo deep > "$2/end/deepest file.txt"
        echo half > "level 1/level 2/level 3/level 4/level 5/level 6/level 7/level 8/at eight"
        for i in $(seq 1 $4); do echo "content of $i" > "wide/file number $i of many, with a long name.txt"; done
        if [ "$3" = xorriso ]; then echo a > "Ünïcode 日本語/🐧.txt"; fi; echo a > "Ünïcode 日本語/файл.txt"
        long=$(printf 'n%.0s' $(seq 1 251)); echo long > "$long.txt"
        : > nothing
        head -c 100000 /dev/urandom > random.bin
        truncate -s 1M sparse.bin; printf x | dd of=sparse.bin bs=1 seek=700000 conv=notrunc status=none
        ln random.bin "wide/hard link"
        ln -s ../random.bin wide/relative; ln -s /usr/bin/env absolute; ln -s . here
        if [ "$3" = xorriso ]; then count=60; else count=14; fi
        ln -s "$(printf 'long target/%.0s' $(seq 1 $count))end" "far away"
        mkfifo pipe
        chmod 4751 nothing; chmod 600 random.bin; chmod 1777 empty
        touch -d '1999-12-31 23:59:59 UTC' nothing; touch -d '2005-02-01 UTC' sparse.bin
        touch -d '1971-06-01 12:00 UTC' empty wide
        """#, "sh", folder, deep, writer, Soak.isOn ? "20000" : "150",
      ])
  }

  private static let makers: [[String]] = [
    ["genisoimage", "-quiet", "-R", "-input-charset", "utf-8"],
    ["genisoimage", "-quiet", "-R", "-J", "-joliet-long", "-l", "-input-charset", "utf-8"],
    ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-joliet-long"],
    ["xorriso", "-compliance", "new_rr", "-as", "mkisofs", "-quiet", "-R", "--hardlinks"],
    ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-rr_reloc_dir", "/rr_moved"],
  ]

  @Test(arguments: makers)
  func rockRidgeEqualsTheTree(_ command: [String]) throws {
    try HostTools.withFolder { scratch in
      let (source, file) = (scratch + "/tree", scratch + "/disc.iso")
      try makeTree(source, for: command[0])
      try HostTools.run(command[0], Array(command.dropFirst()) + ["-o", file, source])
      let volume = try ISO9660Volume(file: file)
      #expect(try volume.tree.fileSystem().notes == ["names: Rock Ridge"])
      try compare(volume, with: source)
      let (one, other) = (
        try volume.attributes("random.bin"), try volume.attributes("wide/hard link")
      )
      if one.links > 1 {
        #expect(one.serial != nil)
        #expect(one.serial == other.serial)
        #expect(one.links == 2)
      } else {
        #expect(one.serial == nil)
      }
      try extract(file, to: scratch + "/out")
      try compare(volume, with: scratch + "/out")
      try HostTools.run("chmod", ["-R", "u+rwX", scratch])
    }
  }

  /// - Parameter names: which of a disc's names xorriso loads.
  private func extract(_ file: String, to folder: String, names: String = "any", sector: Int? = nil)
    throws
  {
    try HostTools.run(
      "xorriso",
      ["-abort_on", "NEVER", "-return_with", "ABORT", "0", "-osirrox", "on", "-read_fs", names]
        + (sector.map { ["-load", "sbsector", "\($0)"] } ?? [])
        + ["-indev", file, "-extract", "/", folder])
  }

  @Test func otherNames() throws {
    try HostTools.withFolder { scratch in
      let (source, file) = (scratch + "/tree", scratch + "/disc.iso")
      try makeTree(source, for: "genisoimage")
      try HostTools.run(
        "genisoimage",
        ["-quiet", "-R", "-J", "-l", "-D", "-input-charset", "utf-8", "-o", file, source])
      try extract(file, to: scratch + "/out", names: "norock")
      try compare(ISO9660Volume(file: file, names: .joliet), with: scratch + "/out")
      // genisoimage's own lister, the names as they are stored.
      let listed = try HostTools.run("isoinfo", ["-f", "-i", file]).split(separator: "\n").map {
        var name = $0.lowercased()
        if name.hasSuffix(";1") { name.removeLast(2) }
        if name.hasSuffix(".") { name.removeLast() }
        return name
      }
      let plain = try ISO9660Volume(file: file, names: .iso)
      #expect(try Set(plain.paths()).symmetricDifference(listed).sorted() == [])
      try HostTools.run("chmod", ["-R", "u+rwX", scratch])
    }
  }

  @Test func longNamesOfTheEnhancedDescriptor() throws {
    try HostTools.withFolder { scratch in
      let (source, file) = (scratch + "/tree", scratch + "/disc.iso")
      try HostTools.run(
        "sh",
        [
          "-c",
          "mkdir -p \(source)/Folder/Inner; cd \(source)/Folder; seq 9 > 'A Name in Mixed Case.long';"
            + " seq 8 > $(printf 'n%.0s' $(seq 1 190)).txt",
        ])
      try HostTools.run("genisoimage", ["-quiet", "-iso-level", "4", "-o", file, source])
      let volume = try ISO9660Volume(file: file)
      #expect(try volume.tree.fileSystem().notes == ["names: ISO 9660:1999"])
      try compare(volume, with: source)
    }
  }

  @Test func compressedByXorriso() throws {
    try HostTools.withFolder { scratch in
      let (source, file) = (scratch + "/tree", scratch + "/disc.iso")
      try HostTools.run("mkdir", [source])
      try HostTools.run(
        "sh", ["-c", "seq 1 60000 > \(source)/numbers; truncate -s 700k \(source)/zeros"])
      for options in ["level=9:block_size=32k", "version_2=on:block_size_v2=1m", "version_2=on"] {
        try HostTools.run("rm", ["-f", file])
        try HostTools.run(
          "xorriso",
          [
            "-outdev", file, "-zisofs", options, "-map", source, "/", "-set_filter_r", "--zisofs",
            "/",
            "--", "-commit",
          ])
        let volume = try ISO9660Volume(file: file)
        try compare(volume, with: source)
        let numbers = try volume.attributes("numbers")
        #expect(numbers.allocatedBytes < numbers.size)
      }
    }
  }

  @Test(.enabled(if: HostTools.has("mkzftree"), "mkzftree is not installed (package genisoimage)"))
  func compressedByMkzftree() throws {
    try HostTools.withFolder { scratch in
      let (source, file) = (scratch + "/tree", scratch + "/disc.iso")
      try HostTools.run("mkdir", [source])
      try HostTools.run(
        "sh", ["-c", "seq 1 60000 > \(source)/numbers; truncate -s 700k \(source)/zeros"])
      try HostTools.run("mkzftree", [source, scratch + "/packed"])
      try HostTools.run("genisoimage", ["-quiet", "-R", "-z", "-o", file, scratch + "/packed"])
      let volume = try ISO9660Volume(file: file)
      try compare(volume, with: source)
      #expect(try volume.attributes("numbers").allocatedBytes < 200_000)
    }
  }

  /// In sections of 4 GiB, as xorriso cuts it.
  @Test(.enabled(if: Soak.isOn, "it takes 5 GiB: set PLATTER_SOAK=1"))
  func aFileOf5GiB() throws {
    try HostTools.withFolder { scratch in
      let (source, file) = (scratch + "/tree", scratch + "/disc.iso")
      let marks: [UInt64] = [1 << 20, 4 << 30 - 3000, 4 << 30 - 2, 5 << 30 - 4]
      try HostTools.run("mkdir", [source])
      try HostTools.makeFile(source + "/huge", size: 5 << 30)
      let huge = try FileHandle(forWritingTo: URL(fileURLWithPath: source + "/huge"))
      for mark in marks {
        try huge.seek(toOffset: mark)
        try huge.write(contentsOf: Data("mark".utf8))
      }
      try huge.close()
      try HostTools.run(
        "xorriso", ["-as", "mkisofs", "-quiet", "-R", "-iso-level", "3", "-o", file, source])
      let volume = try ISO9660Volume(file: file)
      #expect(try volume.attributes("huge").size == 5 << 30)
      let window = try volume.tree.content(of: try volume.item("huge"))
      var found: [UInt64] = []
      var place: UInt64 = 0
      try window.stream { piece in
        piece.withUnsafeBytes { bytes in
          if let first = bytes.firstIndex(where: { $0 != 0 }) {
            found.append(place + UInt64(first))
          }
        }
        place += UInt64(piece.byteCount)
      }
      // The third begins in the piece that the second is in, and goes on in the next.
      #expect(found == [marks[0], marks[1], 4 << 30, marks[3]])
    }
  }

  /// A CD's second session, 11,400 sectors behind the end of its first.
  @Test func secondSessionOfACD() throws {
    try HostTools.withFolder { scratch in
      let (first, second) = (scratch + "/1.iso", scratch + "/2.iso")
      try HostTools.run(
        "sh",
        [
          "-c",
          "mkdir \(scratch)/a \(scratch)/b; seq 9 > \(scratch)/a/old; seq 8 > \(scratch)/b/new",
        ])
      try HostTools.run("genisoimage", ["-quiet", "-R", "-o", first, scratch + "/a"])
      let size = try #require(FileManager.default.contents(atPath: first)).count / 2048
      let start = size + 11_400
      try HostTools.run(
        "genisoimage",
        ["-quiet", "-R", "-C", "0,\(start)", "-M", first, "-o", second, scratch + "/b"])
      try HostTools.run(
        "dd", ["if=\(second)", "of=\(first)", "bs=2048", "seek=\(start)", "status=none"])
      let volume = try ISO9660Volume(file: first)
      #expect(try Set(volume.names()) == ["old", "new"])
      try extract(first, to: scratch + "/out", sector: start)
      try compare(volume, with: scratch + "/out")
      try HostTools.run("chmod", ["-R", "u+rwX", scratch])
    }
  }

  /// xorriso's own way to add a session to a file, with and without renewing the first descriptors.
  @Test func secondSessionByXorriso() throws {
    try HostTools.withFolder { scratch in
      let file = scratch + "/disc.iso"
      try HostTools.run(
        "sh",
        [
          "-c",
          "mkdir \(scratch)/a \(scratch)/b; seq 9 > \(scratch)/a/old; seq 8 > \(scratch)/b/new",
        ])
      try HostTools.run("xorriso", ["-outdev", file, "-map", scratch + "/a", "/", "-commit"])
      try HostTools.run("xorriso", ["-dev", file, "-map", scratch + "/b/new", "/new", "-commit"])
      #expect(try Set(ISO9660Volume(file: file).names()) == ["old", "new"])
    }
  }

  @Test func extendedAttributesByXorriso() throws {
    try HostTools.withFolder { scratch in
      let file = scratch + "/disc.iso"
      try HostTools.run("sh", ["-c", "mkdir \(scratch)/a; seq 9 > \(scratch)/a/f"])
      let long = String(repeating: "a long value ", count: 400)
      try HostTools.run(
        "xorriso",
        [
          "-xattr", "on", "-outdev", file, "-map", scratch + "/a", "/", "-setfattr", "user.comment",
          "hello",
          "/f", "--", "-setfattr", "user.long", long, "/f", "--", "-commit",
        ])
      let volume = try ISO9660Volume(file: file)
      let found = try volume.tree.extendedAttributes(of: try volume.item("f"))
      #expect(
        found.sorted { $0.name < $1.name } == [
          ExtendedAttribute("user.comment", Array("hello".utf8)),
          ExtendedAttribute("user.long", Array(long.utf8)),
        ])
    }
  }

  @Test func extendedAttributesOfFoldersByXorriso() throws {
    try HostTools.withFolder { scratch in
      let file = scratch + "/disc.iso"
      let deep = (1...8).map { "/\($0)" }.joined()
      try HostTools.run("mkdir", ["-p", scratch + "/a" + deep])
      try HostTools.run(
        "xorriso",
        [
          "-xattr", "on", "-outdev", file, "-compliance", "deep_paths_off", "-rr_reloc_dir",
          "rr_moved",
        ]
          + ["-map", scratch + "/a", "/", "-setfattr", "user.of", "one", "/1", "--"]
          + ["-setfattr", "user.of", "eight", deep, "--", "-commit"])
      let volume = try ISO9660Volume(file: file)
      for (path, value) in [("1", "one"), (deep, "eight")] {
        #expect(
          try volume.tree.extendedAttributes(of: try volume.item(path)) == [
            ExtendedAttribute("user.of", Array(value.utf8))
          ])
      }
      #expect(try volume.tree.extendedAttributes(of: try volume.item("1/2")).isEmpty)
    }
  }

  /// genisoimage's records of folders that are too deep are full before they say where those are.
  @Test func deepFoldersWithLongNames() throws {
    try HostTools.withFolder { scratch in
      let (source, file) = (scratch + "/tree", scratch + "/disc.iso")
      for length in stride(from: 60, through: 250, by: 10) {
        let long = String(repeating: "n", count: length)
        try HostTools.run("mkdir", ["-p", "\(source)/\(length)/2/3/4/5/6/7/\(long)/\(long)/end"])
      }
      try HostTools.run("genisoimage", ["-quiet", "-R", "-o", file, source])
      try compare(ISO9660Volume(file: file), with: source)
    }
  }

  @Test func bootImagesByXorriso() throws {
    try HostTools.withFolder { scratch in
      let file = scratch + "/disc.iso"
      try HostTools.run(
        "sh",
        ["-c", "mkdir -p \(scratch)/a; cd \(scratch)/a; head -c 40000 /dev/urandom > loader.bin"])
      try HostTools.run("sh", ["-c", "cp \(scratch)/a/loader.bin \(scratch)/loader"])
      try HostTools.run(
        "genisoimage",
        [
          "-quiet", "-R", "-b", "loader.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size",
          "4",
          "-boot-info-table", "-o", file, scratch + "/a",
        ])
      let volume = try ISO9660Volume(file: file)
      #expect(try volume.names().contains("boot"))
      let image = try volume.bytes("boot/eltorito-1-bios.img")
      #expect(image == (try volume.bytes("loader.bin")))
    }
  }

  /// Images that other projects made, as they are and unpacked.
  @Test(
    .enabled(if: SharedImages.exist, "shared/images is not there (see PLATTER_SHARED)"),
    arguments: [
      "iso9660.raw", "copying.iso", "copying-rr.iso", "joliet.iso", "multi_extent_8k.iso",
      "iso-joliet.img.xz", "iso-rr-joliet.img.xz",
    ])
  func sharedImages(_ name: String) throws {
    let source = try #require(SharedImages.folder) + "/" + name
    try HostTools.withFolder { scratch in
      let file = scratch + "/disc.iso"
      let unpack = name.hasSuffix(".xz") ? "xz -dc" : "cat"
      try HostTools.run("sh", ["-c", "\(unpack) '\(source)' > '\(file)'"])
      let volume = try ISO9660Volume(file: file)
      try extract(file, to: scratch + "/out")
      let isPlain = try volume.tree.fileSystem().notes.contains("names: ISO 9660")
      try compare(volume, with: scratch + "/out", isCased: !isPlain)
      try HostTools.run("chmod", ["-R", "u+rwX", scratch])
    }
  }
}
