import DiskCore
import FileSystems
import Foundation
import TestSupport
import Testing

/// Volumes that the machine's own tools make, against what 7-Zip extracts from them.
@Suite(.enabled(if: HostTools.has("7zz", "find"), "7zz is not installed (package 7zip)"))
struct UDFToolTests {
  /// What `find` says of a file.
  private struct Item {
    let isFolder: Bool
    let size: UInt64
    let modified: Int64
  }

  private func items(_ folder: String) throws -> [String: Item] {
    let text = try HostTools.run(
      "find", [folder, "-mindepth", "1", "-printf", "%P\\t%y\\t%s\\t%T@\\0"])
    var items: [String: Item] = [:]
    for row in text.split(separator: "\0") {
      let fields = row.split(separator: "\t").map(String.init)
      items["/" + fields[0]] = Item(
        isFolder: fields[1] == "d", size: try #require(UInt64(fields[2])),
        modified: try #require(Double(fields[3]).map { Int64($0.rounded(.down)) }))
    }
    return items
  }

  /// Names, sizes, times and bytes, as 7-Zip has them.
  private func compare(_ file: String, in folder: String) throws {
    let extracted = folder + "/extracted"
    try HostTools.run("rm", ["-rf", extracted])
    try HostTools.run("7zz", ["x", "-y", "-tudf", "-o" + extracted, file])
    let expected = try items(extracted)
    let disc = try UDFDisc(file: file)
    let found = try disc.paths()
    #expect(Set(found.map(\.path)).symmetricDifference(expected.keys).sorted() == [])
    for (path, entry) in found {
      guard let item = expected[path] else { continue }
      let attributes = try disc.tree.attributes(of: entry.item)
      #expect(attributes.kind == (item.isFolder ? .folder : .file), "\(path)")
      #expect(entry.kind == attributes.kind, "\(path)")
      #expect(attributes.modified?.seconds == item.modified, "\(path)")
      guard !item.isFolder else { continue }
      #expect(attributes.size == item.size, "\(path)")
      let stored = FileManager.default.contents(atPath: extracted + path).map { [UInt8]($0) }
      #expect(try disc.bytes(path) == stored, "\(path)")
    }
    #expect(!found.isEmpty)
  }

  @Test(
    .enabled(if: HostTools.has("genisoimage"), "genisoimage is not installed"),
    .timeLimit(.minutes(10)))
  func madeFromAFolder() throws {
    try HostTools.withFolder { folder in
      let deep = (1...7).map { "level \($0)" }.joined(separator: "/")
      try HostTools.run(
        "sh",
        [
          "-eu", "-c",
          #"""
          mkdir -p "$1/$2/end" "$1/wide" "$1/Ünïcode 日本語" "$1/empty"; cd "$1"
          echo deep > "$2/end/deepest file.txt"; echo a > "Ünïcode 日本語/файл.txt"
          for i in $(seq 1 $3); do echo "content of $i" > "wide/file number $i of many, with a long name.txt"; done
          long=$(printf 'n%.0s' $(seq 1 200)); echo long > "$long.txt"
          : > nothing; head -c 1000001 /dev/urandom > random.bin
          touch -d '1999-12-31 23:59:59 UTC' nothing; touch -d '2005-02-01 UTC' random.bin
          """#, "sh", folder + "/tree", deep, Soak.isOn ? "20000" : "150",
        ])
      let file = folder + "/disc.iso"
      try HostTools.run(
        "genisoimage",
        ["-quiet", "-udf", "-R", "-D", "-input-charset", "utf-8", "-o", file, folder + "/tree"])
      try compare(file, in: folder)
      // The tree itself: 7-Zip could be wrong in the same way.
      let (disc, tree) = (try UDFDisc(file: file), try items(folder + "/tree"))
      for (path, item) in tree where !item.isFolder {
        #expect(try disc.attributes(path).modified?.seconds == item.modified, "\(path)")
        let stored = FileManager.default.contents(atPath: folder + "/tree" + path)
        #expect(try disc.bytes(path) == stored.map { [UInt8]($0) }, "\(path)")
      }
      #expect(tree.count == (try disc.paths().count))
    }
  }

  /// Empty volumes of every kind that mkudffs makes, among them those with sparing tables and virtual
  /// allocation tables; it makes none with a metadata partition.
  @Test(
    .enabled(if: HostTools.has("mkudffs"), "mkudffs is not installed (package udftools)"),
    arguments: [
      "hd 1.02", "hd 1.50", "hd 2.01", "dvdram 2.01", "cdrw 1.50", "cdrw 2.01", "cdr 1.50",
      "cdr 2.01",
      "cdr 2.60", "bdr 2.50", "bdr 2.60",
    ])
  func empty(_ kind: String) throws {
    let parts = kind.split(separator: " ")
    try HostTools.withFolder { folder in
      let file = folder + "/disc.img"
      try HostTools.makeFile(file, size: 32 << 20)
      try HostTools.run(
        "mkudffs",
        [
          "--media-type=\(parts[0])", "--udfrev=\(parts[1])", "--uid=1000", "--gid=7",
          "--mode=0750", file,
        ])
      // An image of a write-once disc ends with what was last written.
      if kind.hasPrefix("cdr ") || kind.hasPrefix("bdr") { try cutZeros(file) }
      let disc = try UDFDisc(file: file)
      let root = try disc.attributes("")
      #expect(root.kind == .folder && root.permissions == 0o750)
      #expect(root.user == 1000 && root.group == 7)
      #expect(abs(try #require(root.modified).seconds - Int64(time(nil))) < 120)
      // UDF 1.50 has a file where the disc's last blocks are that have no spare.
      #expect(try disc.names() == (kind == "cdrw 1.50" ? ["Non-Allocatable Space"] : []))
      #expect(try disc.notes.contains("UDF \(parts[1])"))
    }
  }

  private func cutZeros(_ file: String) throws {
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file))
    let bytes = try #require(try handle.readToEnd())
    let end = try #require(bytes.lastIndex { $0 != 0 })
    try handle.truncate(atOffset: UInt64((end / 2048 + 1) * 2048))
    try handle.close()
  }

  /// Discs that other projects made.
  @Test(
    .enabled(if: SharedImages.exist, "shared/images is not there (see PLATTER_SHARED)"),
    arguments: ["udf102.iso", "udf-cd-nero-6.img.xz"])
  func sharedImages(_ name: String) throws {
    let folder = try #require(SharedImages.folder)
    try HostTools.withFolder { scratch in
      let file = scratch + "/disc.img"
      let tool = name.hasSuffix(".xz") ? "xz -dc" : "cat"
      try HostTools.run("sh", ["-c", "\(tool) '\(folder)/\(name)' > '\(file)'"])
      try compare(file, in: scratch)
    }
  }
}
