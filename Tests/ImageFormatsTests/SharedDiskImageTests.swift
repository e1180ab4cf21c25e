import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Images that other programs made, whose disks are known byte for byte.
@Suite(
  .enabled(if: SharedImages.exist, "the shared images are not here"),
  .enabled(if: HostTools.has("bzip2", "sha256sum"), "bzip2 or sha256sum is not installed"))
struct SharedDiskImageTests {
  @Test(arguments: ["empty.bochs.bz2", "simple-pattern.cloop.bz2", "parallels-v1.bz2"])
  func hashes(_ name: String) throws {
    let shared = try #require(SharedImages.folder)
    let expected = try String(contentsOfFile: shared + "/EXPECTED.tsv", encoding: .utf8)
      .split(separator: "\n").map { $0.split(separator: "\t", omittingEmptySubsequences: false) }
      .first { $0[0] == name }
    let row = try #require(expected)
    try HostTools.withFolder { folder in
      try FileManager.default.copyItem(atPath: "\(shared)/\(name)", toPath: "\(folder)/x.bz2")
      try HostTools.run("bzip2", ["-d", "\(folder)/x.bz2"])
      let image = try OpenImage(path: "\(folder)/x")
      #expect("\(image.disk.size)" == row[2])
      try HostTools.write(image.content, to: "\(folder)/raw")
      #expect(try HostTools.run("sha256sum", ["\(folder)/raw"]).hasPrefix(row[3]))
    }
  }
}
