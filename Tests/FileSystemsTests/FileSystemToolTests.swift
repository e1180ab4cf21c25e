import DiskCore
import FileSystems
import TestSupport
import Testing

/// File systems that the machine's own tools make, against what `blkid` finds in them.
@Suite struct FileSystemToolTests {
  /// One way to make a file system: the program, its package, and its arguments before the file.
  struct Maker: Sendable, CustomTestStringConvertible {
    var type: String
    var tool: String
    var arguments: [String]
    var megabytes: UInt64 = 16
    var input = ""

    var testDescription: String { "\(tool) \(arguments.joined(separator: " "))" }
  }

  static let makers: [Maker] = [
    Maker(type: "ext2", tool: "mke2fs", arguments: ["-q", "-t", "ext2", "-L", "two"]),
    Maker(
      type: "ext3", tool: "mke2fs", arguments: ["-q", "-t", "ext3", "-L", "three with spaces"]),
    Maker(type: "ext4", tool: "mke2fs", arguments: ["-q", "-t", "ext4"]),
    Maker(
      type: "ext4", tool: "mke2fs",
      arguments: ["-q", "-t", "ext4", "-O", "^has_journal", "-b", "4096"]),
    Maker(type: "vfat", tool: "mkfs.fat", arguments: ["-F", "12", "-n", "FLOPPY"], megabytes: 1),
    Maker(type: "vfat", tool: "mkfs.fat", arguments: ["-F", "16", "-n", "SIXTEEN"]),
    Maker(
      type: "vfat", tool: "mkfs.fat", arguments: ["-F", "32", "-n", "THIRTYTWO"], megabytes: 64),
    Maker(type: "vfat", tool: "mkfs.fat", arguments: ["-F", "32", "-S", "4096"], megabytes: 512),
    Maker(type: "vfat", tool: "mkfs.fat", arguments: ["-F", "16"]),
    Maker(type: "exfat", tool: "mkfs.exfat", arguments: ["-L", "Exfät 🐧"]),
    Maker(type: "exfat", tool: "mkfs.exfat", arguments: []),
    Maker(type: "ntfs", tool: "mkfs.ntfs", arguments: ["-q", "-F", "-f", "-L", "Größe"]),
    Maker(type: "ntfs", tool: "mkfs.ntfs", arguments: ["-q", "-F", "-f", "-c", "65536"]),
    Maker(type: "xfs", tool: "mkfs.xfs", arguments: ["-q", "-L", "twelvechars1"], megabytes: 320),
    Maker(type: "xfs", tool: "mkfs.xfs", arguments: ["-q", "-m", "crc=0"], megabytes: 320),
    Maker(type: "btrfs", tool: "mkfs.btrfs", arguments: ["-q", "-L", "butter"], megabytes: 128),
    Maker(type: "swap", tool: "mkswap", arguments: ["-L", "swapped"]),
    Maker(type: "swap", tool: "mkswap", arguments: ["-p", "65536"]),
    Maker(type: "udf", tool: "mkudffs", arguments: ["-l", "Universal", "-b", "2048"]),
    Maker(type: "udf", tool: "mkudffs", arguments: ["-l", "Größe 🐧", "-b", "512"]),
    Maker(type: "udf", tool: "mkudffs", arguments: ["-b", "4096", "-u", "0123456789abcdef"]),
    Maker(
      type: "crypto_LUKS", tool: "cryptsetup",
      arguments: ["luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000"],
      input: "password"),
    Maker(
      type: "crypto_LUKS", tool: "cryptsetup",
      arguments: [
        "luksFormat", "-q", "--type", "luks2", "--label", "vault", "--pbkdf", "pbkdf2",
        "--pbkdf-force-iterations", "1000",
      ], megabytes: 32, input: "password"),
  ]

  private func found(_ file: String) throws -> FileSystemSignature? {
    FileSystemSignature.find(in: try Disk(layers: [FlatLayer(FileStorage(path: file))]).whole)
  }

  private func compare(_ file: String, type: String) throws {
    let blkid = try HostTools.blkid(file)
    let found = try #require(try found(file))
    #expect(blkid["TYPE"] == type)
    #expect(found.type == type)
    #expect(found.label == blkid["LABEL"] ?? blkid["LABEL_FATBOOT"])
    #expect(found.uuid == blkid["UUID"])
  }

  @Test(
    .enabled(if: HostTools.has("blkid"), "blkid is not installed (package util-linux)"),
    arguments: makers)
  func madeByTools(_ maker: Maker) throws {
    guard HostTools.has(maker.tool) else {
      print("skipped: \(maker.tool) is not installed")
      return
    }
    try HostTools.withFolder { folder in
      let file = folder + "/disk.img"
      try HostTools.makeFile(file, size: maker.megabytes << 20)
      try HostTools.run(maker.tool, maker.arguments + [file], input: maker.input)
      try compare(file, type: maker.type)
    }
  }

  @Test(.enabled(if: HostTools.has("blkid"), "blkid is not installed (package util-linux)"))
  func madeFromAFolder() throws {
    try HostTools.withFolder { folder in
      try HostTools.write(Array("hello".utf8), to: folder + "/hello.txt")
      let file = folder + ".img"
      let commands: [(type: String, tool: String, arguments: [String])] = [
        ("squashfs", "mksquashfs", [folder, file, "-quiet", "-no-progress", "-noappend"]),
        ("erofs", "mkfs.erofs", ["--quiet", "-Leros", file, folder]),
        ("erofs", "mkfs.erofs", [file, folder]),
        ("iso9660", "genisoimage", ["-quiet", "-V", "PLAIN", "-o", file, folder]),
        (
          "iso9660", "genisoimage",
          ["-quiet", "-J", "-V", "With Joliet, A Long One", "-o", file, folder]
        ),
        ("udf", "genisoimage", ["-quiet", "-udf", "-V", "BRIDGE", "-o", file, folder]),
        (
          "iso9660", "xorriso",
          ["-as", "mkisofs", "-quiet", "-J", "-V", "XORRISO", "-o", file, folder]
        ),
      ]
      for command in commands where HostTools.has(command.tool) {
        try HostTools.run("rm", ["-f", file])
        do {
          try HostTools.run(command.tool, command.arguments)
        } catch  where command.tool == "mkfs.erofs" {
          // Older ones know no label.
          print("skipped: \(error)")
          continue
        }
        try compare(file, type: command.type)
      }
      try HostTools.run("rm", ["-f", file])
    }
  }

  /// Images that other projects made, as they are and unpacked.
  @Test(
    .enabled(if: SharedImages.exist, "shared/images is not there (see PLATTER_SHARED)"),
    .enabled(if: HostTools.has("blkid"), "blkid is not installed (package util-linux)"),
    arguments: [
      "iso9660.raw", "copying.iso", "copying-rr.iso", "joliet.iso", "multi_extent_8k.iso",
      "udf102.iso", "hfsplus.raw", "ext4.img.xz", "exfat.img.xz", "fat.img.xz", "ntfs.img.xz",
      "iso-joliet.img.xz", "iso-rr-joliet.img.xz", "udf-cd-nero-6.img.xz", "hello-world.img.gz",
      "ext2.splitraw",
    ])
  func sharedImages(_ name: String) throws {
    let folder = try #require(SharedImages.folder)
    try HostTools.withFolder { scratch in
      let file = scratch + "/disk.img"
      let source = folder + "/" + name
      let unpack =
        if name.hasSuffix(".xz") {
          "xz -dc '\(source)'"
        } else if name.hasSuffix(".gz") {
          "gzip -dc '\(source)'"
        } else if name == "ext2.splitraw" {
          "cat '\(source)'.000 '\(source)'.001"
        } else {
          "cat '\(source)'"
        }
      try HostTools.run("sh", ["-c", "\(unpack) > '\(file)'"])
      let blkid = try HostTools.blkid(file)
      let found = try found(file)
      #expect(found?.type == blkid["TYPE"])
      #expect(found?.label == blkid["LABEL"] ?? blkid["LABEL_FATBOOT"])
      #expect(found?.uuid == blkid["UUID"])
      print("\(name): \(found.map { "\($0)" } ?? "nothing")")
    }
  }

  /// What was laid out by hand for the other tests is what `blkid` takes for the same thing.
  @Test(.enabled(if: HostTools.has("blkid"), "blkid is not installed (package util-linux)"))
  func laidOutByHand() throws {
    let images: [[UInt8]] = [
      FileSystemBuilders.fat12(), FileSystemBuilders.ntfs(), FileSystemBuilders.hfs(),
      FileSystemBuilders.hfsPlus(wrapped: false), FileSystemBuilders.hfsPlus(wrapped: true),
      FileSystemBuilders.luks(version: 1), FileSystemBuilders.luks(version: 2),
      FileSystemBuilders.udf(label: "Film", volumeSet: "5F3A00112233ABCDLinuxUDF"),
      FileSystemBuilders.udf(label: "Film", volumeSet: "5F3A0011LinuxUDF"),
      FileSystemBuilders.udf(label: "Film", volumeSet: "LinuxUDF"),
      FileSystemBuilders.placed(
        FileSystemBuilders.isoDescriptors(
          label: "A_LONG_LABEL_THAT_GOES_ON", joliet: Array("A Long Label Tha".utf16)),
        at: 32768, size: 65536),
      FileSystemBuilders.placed(
        FileSystemBuilders.isoDescriptors(label: "_BER", joliet: Array("über".utf16)), at: 32768,
        size: 65536),
      FileSystemBuilders.placed(
        FileSystemBuilders.isoDescriptors(label: "ONE", joliet: Array("Two".utf16)), at: 32768,
        size: 65536),
    ]
    for image in images {
      try HostTools.withFolder { folder in
        let file = folder + "/disk.img"
        try HostTools.write(image, to: file)
        let blkid = try HostTools.blkid(file)
        let found = try found(file)
        #expect(found?.type == blkid["TYPE"])
        #expect(found?.label == blkid["LABEL"])
        #expect(found?.uuid == blkid["UUID"])
      }
    }
  }
}
