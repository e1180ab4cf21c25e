import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

@Suite struct InPlaceLayerTests {
  private func write(_ bytes: [UInt8], _ path: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
  }

  private func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  private func disk(_ path: String) throws -> Disk {
    try Disk(layers: [InPlaceLayer(OpenImage(path: path).disk.layers)])
  }

  @Test func aRawImage() throws {
    try HostTools.withFolder { folder in
      let path = "\(folder)/a.img"
      var model = (0..<10_007).map { UInt8(truncatingIfNeeded: $0 * 7) }
      try write(model, path)
      let disk = try disk(path)
      #expect(disk.isWritable && disk.size == 10_007 && disk.changes == 0)
      try disk.write(at: DiskOffset(5), from: ([1, 2, 3] as [UInt8]).span.bytes)
      model.replaceSubrange(5..<8, with: [1, 2, 3])
      try disk.write(at: DiskOffset(10_005), from: ([8, 9] as [UInt8]).span.bytes)
      model.replaceSubrange(10_005..<10_007, with: [8, 9])
      try disk.zero(at: DiskOffset(100), length: 5000)
      model.replaceSubrange(100..<5100, with: [UInt8](repeating: 0, count: 5000))
      try disk.flush()
      #expect(try bytes(path) == model)
      #expect(try disk.whole.bytes(at: .start, count: 10_007) == model)
      #expect(disk.changes > 0)
      do throws(DiskError) {
        try disk.write(at: DiskOffset(10_006), from: ([1, 2] as [UInt8]).span.bytes)
        Issue.record("a write past the end was taken")
      } catch {
        #expect(error.systemError == ENOSPC)
      }
      #expect(try bytes(path) == model, "the file does not grow")
    }
  }

  @Test func aSplitImage() throws {
    try HostTools.withFolder { folder in
      var model = (0..<3000).map { UInt8(truncatingIfNeeded: $0 / 3) }
      for part in 0..<3 {
        try write(Array(model[part * 1000..<part * 1000 + 1000]), "\(folder)/a.00\(part + 1)")
      }
      let disk = try disk("\(folder)/a.001")
      try disk.write(
        at: DiskOffset(990), from: [UInt8](repeating: 0xEE, count: 1020).span.bytes)
      model.replaceSubrange(990..<2010, with: [UInt8](repeating: 0xEE, count: 1020))
      try disk.zero(at: DiskOffset(1990), length: 20)
      model.replaceSubrange(1990..<2010, with: [UInt8](repeating: 0, count: 20))
      #expect(try (1...3).flatMap { try bytes("\(folder)/a.00\($0)") } == model)
    }
  }

  @Test func aFixedVHDKeepsItsFooter() throws {
    try #require(HostTools.has("qemu-img"))
    try HostTools.withFolder { folder in
      let path = "\(folder)/a.vhd"
      try HostTools.run(
        "qemu-img",
        ["create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", path, "1M"])
      let footer = try bytes(path).suffix(512)
      let disk = try disk(path)
      try disk.write(
        at: DiskOffset((1 << 20) - 4), from: ([1, 2, 3, 4] as [UInt8]).span.bytes)
      try disk.zero(at: .start, length: (1 << 20) - 4)
      #expect(try bytes(path).count == (1 << 20) + 512)
      #expect(try bytes(path).suffix(512) == footer)
      #expect(try bytes(path).dropLast(512).suffix(5) == [0, 1, 2, 3, 4])
    }
  }

  /// What has tables would need them changed; what is truncated has no place for all of its bytes.
  @Test func whatIsNotFlatIsRefused() throws {
    try #require(HostTools.has("qemu-img"))
    try HostTools.withFolder { folder in
      let dynamic = "\(folder)/dynamic.vhd"
      try HostTools.run("qemu-img", ["create", "-q", "-f", "vpc", dynamic, "4M"])
      let truncated = "\(folder)/truncated.vhd"
      try HostTools.run(
        "qemu-img",
        ["create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", truncated, "1M"])
      let whole = try bytes(truncated)
      try write(Array(whole.dropFirst(4096)), truncated)
      for path in [dynamic, truncated] {
        do throws(DiskError) {
          _ = try InPlaceLayer(OpenImage(path: path).disk.layers)
          Issue.record("it was taken")
        } catch {
          #expect(error.kind == .unsupported && error.path == path)
          #expect(error.message.contains("--overlay"))
        }
      }
    }
  }
}
