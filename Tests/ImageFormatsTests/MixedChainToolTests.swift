import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// QCOW2, QCOW and QED overlays over images of other formats, all of them by qemu-img and qemu-io.
@Suite(.enabled(if: HostTools.has("qemu-img", "qemu-io"), "qemu-img is not installed"))
struct MixedChainToolTests {
  /// QEMU's names of the formats below, of which those count that this version reads.
  static let below = ["raw", "vpc", "vmdk", "vdi", "qed", "qcow", "qcow2", "parallels", "vhdx"]
    .filter { name in (try? FormatRegistry.format(named: name)) != nil }

  /// The overlay is shorter, as long and longer than what is below it.
  @Test(arguments: below, ["qcow2", "qcow", "qed"]) func overlays(
    _ format: String, _ overlay: String
  ) throws {
    try HostTools.withFolder { folder in
      let base = "\(folder)/base.\(format)"
      try QEMU.makeRaw("\(folder)/in.raw", size: 2_097_152)
      try HostTools.run(
        "qemu-img",
        ["convert", "-q", "-f", "raw", "-O", format]
          + (format == "vpc" ? ["-o", "force_size=on"] : []) + ["\(folder)/in.raw", base])
      for size in [1_500_160, 2_097_152, 3_000_320] {
        let (middle, top) = ("\(folder)/middle", "\(folder)/top")
        try HostTools.run(
          "qemu-img",
          [
            "create", "-q", "-u", "-f", overlay, "-b", "base.\(format)", "-F", format, middle,
            "\(size)",
          ])
        try QEMU.write(
          middle, ["write -P 1 1000 3000", "write -P 2 1000000 70000"], format: overlay)
        try HostTools.run(
          "qemu-img",
          [
            "create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "-b", "middle", "-F", overlay,
            top,
          ])
        try QEMU.write(
          top, ["write -P 3 2048 1024", "write -z 1048576 8192", "write -P 4 1400000 512"])
        let image = try OpenImage(path: top)
        let raw = "\(folder)/out.raw"
        try HostTools.run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", top, raw])
        let (found, expected) = (try QEMU.bytes(image.disk), try QEMU.contents(raw))
        #expect(found.count == expected.count && image.disk.layers.count == 3)
        #expect(found == expected)
      }
    }
  }
}
