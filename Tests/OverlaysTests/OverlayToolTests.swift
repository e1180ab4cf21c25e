import Digests
import DiskCore
import Foundation
import TestSupport
import Testing

@testable import Overlays

/// What QEMU makes of an overlay, and what Platter makes of one that QEMU wrote to.
@Suite(.enabled(if: HostTools.has("qemu-img", "qemu-io"), "qemu-utils is not installed"))
struct OverlayToolTests {
  private static let base = OverlayBase(name: "base.img", format: "raw", identity: [])

  private func read(_ path: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  private func json(_ text: String) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
  }

  /// The disk as QEMU reads it.
  private func converted(_ folder: String) throws -> [UInt8] {
    try HostTools.run(
      "qemu-img", ["convert", "-O", "raw", folder + "/o.qcow2", folder + "/out.raw"])
    return try read(folder + "/out.raw")
  }

  @Test(arguments: [7_340_032, 7_000_123, 300])
  func qemuReadsWhatPlatterWrote(_ size: Int) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(size))
      let base = ImageBytes.pattern(size, seed: 2)
      try HostTools.write(base, to: folder + "/base.img")
      let overlay = try Overlay.create(
        in: WritableFileStorage(creating: folder + "/o.qcow2"), size: UInt64(size),
        base: Self.base)
      let disk = try OverlaidDisk(overlay, try FileStorage(path: folder + "/base.img")).disk
      var model = base
      for _ in 0..<60 {
        let at = Int.random(in: 0..<size, using: &random)
        let count = Int.random(in: 1...min(200_000, size - at), using: &random)
        if Int.random(in: 0..<3, using: &random) > 0 {
          let bytes = ImageBytes.pattern(count, seed: random.next())
          try disk.put(bytes, at: UInt64(at))
          model.replaceSubrange(at..<at + count, with: bytes)
        } else {
          try disk.zero(at: DiskOffset(UInt64(at)), length: UInt64(count))
          model.replaceSubrange(at..<at + count, with: [UInt8](repeating: 0, count: count))
        }
      }
      try disk.flush()
      let padded = model + [UInt8](repeating: 0, count: (512 - size % 512) % 512)
      // While it is open, too: leaks perhaps (3), no errors.
      try HostTools.run("qemu-img", ["check", folder + "/o.qcow2"], accepting: [0, 3])
      #expect(same(try converted(folder), padded))
      try overlay.close()
      try HostTools.run("qemu-img", ["check", folder + "/o.qcow2"])
      #expect(same(try converted(folder), padded))
      try HostTools.write(padded, to: folder + "/model.raw")
      try HostTools.run(
        "qemu-img",
        ["compare", "-F", "raw", folder + "/o.qcow2", folder + "/model.raw"])

      let info = try json(
        try HostTools.run("qemu-img", ["info", "--output=json", folder + "/o.qcow2"]))
      #expect(info["virtual-size"] as? Int == padded.count)
      #expect(info["cluster-size"] as? Int == 131072)
      #expect(info["backing-filename"] as? String == "base.img")
      #expect(info["backing-filename-format"] as? String == "raw")
      #expect(info["dirty-flag"] as? Bool == false)
      let specific = (info["format-specific"] as? [String: Any])?["data"] as? [String: Any]
      #expect(specific?["extended-l2"] as? Bool == true)
      #expect(specific?["lazy-refcounts"] as? Bool == false)
    }
  }

  @Test func qemuMapsWhatPlatterWrote() throws {
    try HostTools.withFolder { folder in
      try HostTools.write(ImageBytes.pattern(1 << 20, seed: 2), to: folder + "/base.img")
      let overlay = try Overlay.create(
        in: WritableFileStorage(creating: folder + "/o.qcow2"), size: 1 << 20, base: Self.base)
      let disk = try OverlaidDisk(overlay, try FileStorage(path: folder + "/base.img")).disk
      try disk.put([UInt8](repeating: 1, count: 8192), at: 4096)
      try disk.zero(at: DiskOffset(262144), length: 131072)
      try overlay.close()
      let text = try HostTools.run("qemu-img", ["map", "--output=json", folder + "/o.qcow2"])
      let rows = try #require(
        try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
      let found = rows.map { row in
        [row["start"] as? Int, row["length"] as? Int, row["depth"] as? Int]
          + [(row["zero"] as? Bool) == true ? 1 : 0]
      }
      #expect(
        found == [
          [0, 4096, 1, 0], [4096, 8192, 0, 0], [12288, 249856, 1, 0], [262144, 131072, 0, 1],
          [393216, 655360, 1, 0],
        ])
    }
  }

  @Test func platterGoesOnWhereQemuWrote() throws {
    try HostTools.withFolder { folder in
      let path = folder + "/o.qcow2"
      var model = ImageBytes.pattern((4 << 20) + 100, seed: 2)
      let size = model.count
      try HostTools.write(model, to: folder + "/base.img")
      let record = try FileIdentityRecord.of(try FileStorage(path: folder + "/base.img"))
      var base = Self.base
      base.identity = [record]
      let first = try Overlay.create(
        in: WritableFileStorage(creating: path), size: UInt64(size), base: base)
      try OverlaidDisk(first, try FileStorage(path: folder + "/base.img")).disk.put(
        [UInt8](repeating: 3, count: 300_000), at: 5000)
      model.replaceSubrange(5000..<305_000, with: [UInt8](repeating: 3, count: 300_000))
      try first.close()
      func change(_ command: String, _ at: Int, _ count: Int, _ byte: UInt8) throws {
        try HostTools.run("qemu-io", ["-f", "qcow2", "-c", "\(command) \(at) \(count)", path])
        model.replaceSubrange(at..<at + count, with: [UInt8](repeating: byte, count: count))
      }
      try change("write -P 9", 200_000, 5000, 9)
      try change("write -P 8", 2 << 20, 300 << 10, 8)
      try change("write -z", 2100 << 10, 64 << 10, 0)
      try change("discard", 128 << 10, 128 << 10, 0)
      // Another header: QEMU keeps what it does not know.
      try HostTools.run(
        "qemu-img", ["rebase", "-u", "-F", "raw", "-b", folder + "/base.img", path])
      let info = try Overlay.info(of: try FileStorage(path: path))
      #expect(info.size == UInt64(size))
      #expect(info.base?.name == folder + "/base.img")
      #expect(info.base?.identity == [record])

      base.name = "base.img"
      try Overlay.relink(WritableFileStorage(path: path), to: base)
      let text = try HostTools.run("qemu-img", ["info", "--output=json", path])
      #expect(try json(text)["backing-filename"] as? String == "base.img")

      let second = try Overlay.open(WritableFileStorage(path: path))
      let disk = try OverlaidDisk(second, try FileStorage(path: folder + "/base.img")).disk
      #expect(same(try disk.bytes(at: 0, count: size), model))
      try disk.put([UInt8](repeating: 4, count: 900_000), at: 150_000)
      model.replaceSubrange(150_000..<1_050_000, with: [UInt8](repeating: 4, count: 900_000))
      try second.close()
      try HostTools.run("qemu-img", ["check", path])
      #expect(same(Array(try converted(folder).prefix(size)), model))
    }
  }

  /// A base that QEMU cannot read is refused rather than misread, and the overlay can be checked.
  @Test func aBaseThatQemuCannotRead() throws {
    try HostTools.withFolder { folder in
      let path = folder + "/o.qcow2"
      let base = ImageBytes.pattern(1 << 20, seed: 2)
      let overlay = try Overlay.create(
        in: WritableFileStorage(creating: path), size: 1 << 20,
        base: OverlayBase(name: "disk.vhd", format: "platter-vhd", identity: []))
      try OverlaidDisk(overlay, base).disk.put([1], at: 1)
      try overlay.close()
      #expect(throws: HostTools.Failure.self) {
        try HostTools.run("qemu-img", ["compare", path, path])
      }
      let image =
        "json:{\"driver\":\"qcow2\",\"backing\":null,\"file\":{\"driver\":\"file\",\"filename\":\"\(path)\"}}"
      try HostTools.run("qemu-img", ["check", image])
    }
  }

  @Test func aTableOfCountsThatGrew() throws {
    try HostTools.withFolder { folder in
      for border: UInt64 in [8192, 8192 * 2048] {
        let path = folder + "/\(border).qcow2"
        var tuning = OverlayTuning.small
        tuning.firstCluster = border - 7
        let overlay = try Overlay.create(
          in: WritableFileStorage(creating: path), size: 2 << 20, base: nil, tuning)
        let disk = try OverlaidDisk(overlay, []).disk
        try disk.put(ImageBytes.pattern(1 << 20, seed: 3), at: 77)
        try disk.flush()
        try HostTools.run("qemu-img", ["check", path], accepting: [0, 3])
        try overlay.close()
        try HostTools.run("qemu-img", ["check", path])
      }
    }
  }
}
