import DiskCore
import Foundation
import TestSupport
import Testing

@testable import FileSystems

/// FAT volumes that other programs made, filled and read.
@Suite struct FATToolTests {
  private func tree(_ file: String) throws -> FileTree {
    FileTree(Volume(try Disk(layers: [FlatLayer(FileStorage(path: file))]).whole))
  }

  struct Kind: Sendable, CustomTestStringConvertible {
    var bits: Int
    var kilobytes: UInt64
    var files: Int
    var largest: Int
    var sectorsPerCluster = 1
    var testDescription: String { "FAT\(bits), \(kilobytes) KiB" }
  }

  /// Files that mcopy put in, every other one deleted, and one more that takes all that was free: to the
  /// last cluster, and in as many pieces as there were gaps.
  @Test(
    .enabled(
      if: HostTools.has("mkfs.fat", "mcopy", "mdel", "mdir"),
      "mkfs.fat or mtools are not installed"),
    arguments: [
      Kind(bits: 12, kilobytes: 1440, files: 60, largest: 30_000),
      Kind(bits: 16, kilobytes: 4400, files: 100, largest: 50_000),
      Kind(bits: 32, kilobytes: 36_000, files: 120, largest: 400_000),
      Kind(bits: 16, kilobytes: 40_000, files: 120, largest: 400_000, sectorsPerCluster: 8),
    ])
  func fullAndFragmented(_ kind: Kind) throws {
    try HostTools.withFolder { folder in
      let image = folder + "/fat.img"
      try HostTools.makeFile(image, size: kind.kilobytes << 10)
      try HostTools.run(
        "mkfs.fat",
        ["-F", "\(kind.bits)", "-s", "\(kind.sectorsPerCluster)", "-n", "LABEL", image])
      let names = try fill(image, from: folder, kind)
      try HostTools.run(
        "mdel", ["-i", image] + stride(from: 0, to: names.count, by: 2).map { "::/" + names[$0] })
      try HostTools.run(
        "mmd", ["-i", image, "::/A long folder's name", "::/A long folder's name/sub"])
      try HostTools.run("mattrib", ["-i", image, "+r", "::/" + names[1]])
      let inner = folder + "/rest.bin"
      try HostTools.write(ImageBytes.pattern(700, seed: 9), to: inner)
      try HostTools.run("mcopy", ["-i", image, inner, "::/A long folder's name/sub/Inner ü.txt"])
      let free = try free(image)
      try HostTools.write(ImageBytes.pattern(free, seed: 10), to: inner)
      try HostTools.run("mcopy", ["-i", image, inner, "::/rest.bin"])
      #expect(try self.free(image) == 0)

      let files = try ListedFiles(tree(image))
      #expect(files.items.count == kind.files / 2 + 4)
      #expect(files.items["rest.bin"]?.attributes.size == UInt64(free))
      #expect(files.items[names[1]]?.attributes.permissions == 0o444)
      let out = folder + "/out"
      try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: false)
      try HostTools.run("mcopy", ["-i", image, "-s", "-n", "-m", "::/*", out])
      files.compare(try ExtractedFiles(out))
      guard HostTools.has("7zz") else { return print("skipped: 7zz is not installed") }
      try HostTools.run("7zz", ["x", "-tFAT", "-o\(folder)/7z", image])
      files.compare(try ExtractedFiles(folder + "/7z"))
    }
  }

  /// Puts files into the root and gives their names, in the order in which they went in.
  private func fill(_ image: String, from folder: String, _ kind: Kind) throws -> [String] {
    var random = SeededRandom(seed: UInt64(kind.bits))
    var names: [String] = []
    let source = folder + "/source"
    try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: false)
    for index in 0..<kind.files {
      let name =
        switch index % 4 {
        case 0: "SHORT\(index).TXT"
        case 1: "lower\(index).txt"
        case 2: "Größe ☃ \(index).tar.gz"
        default: "a long name that takes several entries, number \(index)"
        }
      let size = index % 10 == 0 ? 0 : Int(random.next() % UInt64(kind.largest))
      try HostTools.write(ImageBytes.pattern(size, seed: UInt64(index)), to: "\(source)/\(name)")
      // Every 3 months from 1990 on; two seconds are what FAT keeps.
      let time = Date(timeIntervalSince1970: 631_152_000 + Double(index) * 7_776_002)
      try FileManager.default.setAttributes(
        [.modificationDate: time], ofItemAtPath: "\(source)/\(name)")
      names.append(name)
    }
    try HostTools.run("mcopy", ["-i", image, "-m"] + names.map { "\(source)/\($0)" } + ["::/"])
    return names
  }

  private func free(_ image: String) throws -> Int {
    let last = try HostTools.run("mdir", ["-i", image, "::/"]).split(separator: "\n")
      .first { $0.hasSuffix("bytes free") }
    return Int(try #require(last).filter(\.isNumber)) ?? -1
  }

  @Test(.enabled(if: SharedImages.exist, "the shared images are not here"))
  func sharedImages() throws {
    let shared = try #require(SharedImages.folder)
    try HostTools.withFolder { folder in
      func unpacked(_ name: String, by tool: String) throws -> FileTree {
        let file = "\(folder)/\(name)"
        try FileManager.default.copyItem(atPath: "\(shared)/\(name)", toPath: file)
        try HostTools.run(tool, ["-df", file])
        return try tree(String(file.prefix(file.count - 3)))
      }
      let hello = try ListedFiles(unpacked("hello-world.img.gz", by: "gzip"))
      #expect(hello.paths == ["files", "files/other_file.txt", "hello.txt"])
      #expect(hello.items["hello.txt"]?.content == Array("Hello world!\n".utf8))
      #expect(hello.items["hello.txt"]?.attributes.modified?.seconds == 1_382_707_806)
      #expect(hello.items["files/other_file.txt"]?.attributes.size == 29)
      // Empty but for a label.
      #expect(try ListedFiles(unpacked("fat.img.xz", by: "xz")).paths == [])
      let volume = try unpacked("exfat.img.xz", by: "xz")
      #expect(try volume.fileSystem().type == "exfat")
      #expect(try volume.fileSystem().notes == [])
      let exfat = try ListedFiles(volume)
      #expect(exfat.paths.prefix(3) == ["test.00", "test.01", "test.02"])
      #expect(exfat.items.values.allSatisfy { $0.content?.count == 8 })
      #expect(exfat.damage.isEmpty)
    }
  }
}
