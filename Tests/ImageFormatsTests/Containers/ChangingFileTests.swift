import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// A stored file that is written over while it is open: errors while it is so, the right bytes once it is
/// as it was.
@Suite(
  .serialized,
  .enabled(if: HostTools.has("gzip", "zstd", "lz4"), "a tool is missing"))
struct ChangingFileTests {
  /// Members or frames of 1.5 MB: where they begin is an entry point.
  @Test(arguments: ["gzip -1c", "zstd -qc --no-check", "lz4 -qc"])
  func anEntryPointThatIsGoneIsNotTheEnd(_ tool: String) throws {
    try HostTools.withFolder { folder in
      let content = CompressedFixture.content(6_000_000, seed: 41)
      let fixture = try CompressedFixture(folder, content)
      // From a pipe, so that the sizes of zstd's frames are not known.
      try fixture.shell(
        "for i in 0 1 2 3; do tail -c +$((i * 1500000 + 1)) disk.img | head -c 1500000 | \(tool); done"
          + " > packed")
      // Entry points are kept.
      _ = try fixture.open("packed", keepsIndex: true).content
      let good = try fixture.bytes("packed")
      // Its first and last bytes are looked at and kept.
      let image = try fixture.open("packed", keepsIndex: true)
      let file = try #require(FileHandle(forUpdatingAtPath: fixture.path("packed")))
      try file.write(contentsOf: [UInt8](repeating: 0x55, count: good.count))
      let error = #expect(throws: DiskError.self) { try image.byte(at: 3_500_000) }
      #expect(error?.message.contains("were expected") == false, "\(String(describing: error))")
      #expect(image.containers.flatMap(\.notes) == [])
      try file.seek(toOffset: 0)
      try file.write(contentsOf: good)
      #expect(try image.byte(at: 2_500_000) == content[2_500_000])
      #expect(image.facts("size exact") == ["yes"])
    }
  }
}
