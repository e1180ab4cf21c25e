import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// QEMU's tools, as makers of images and as the oracle.
enum QEMU {
  /// Runs qemu-io's commands in order.
  static func write(_ path: String, _ commands: [String], format: String = "qcow2") throws {
    let output = try HostTools.run(
      "qemu-io", ["-f", format] + commands.flatMap { ["-c", $0] } + [path])
    guard !output.contains("failed") else { throw DiskError(.inputOutput, output) }
  }

  /// `size` bytes with noise, text and holes.
  static func makeRaw(_ path: String, size: Int) throws {
    try HostTools.makeFile(path, size: UInt64(size))
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    let text = Array(String(repeating: "Where is it? ", count: 20_000).utf8)
    for (offset, bytes) in [
      (0, text), (size / 5, ImageBytes.pattern(50_000, seed: 1)), (size / 2, text),
      (max(0, size - 700), ImageBytes.pattern(700, seed: 2)),
    ] {
      try file.seek(toOffset: UInt64(offset))
      try file.write(contentsOf: Data(bytes.prefix(size - offset)))
    }
    try file.close()
  }

  static func contents(_ path: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
  }

  /// What qemu-img makes of an image.
  static func raw(_ path: String, _ format: String) throws -> [UInt8] {
    let raw = path + ".raw"
    try HostTools.run("qemu-img", ["convert", "-f", format, "-O", "raw", path, raw])
    return [UInt8](try contents(raw))
  }

  static func bytes(_ disk: Disk) throws -> Data {
    var data = Data(capacity: Int(min(disk.size, 1 << 30)))
    try disk.whole.stream { piece in
      piece.withUnsafeBytes { data.append(contentsOf: $0) }
    }
    return data
  }

  /// Expects that Platter and qemu-img read the same disk, without a note.
  ///
  /// - Parameter format: QEMU's name for the top image's.
  static func compare(
    _ path: String, format: String = "qcow2", snapshot: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let raw = path + ".out.raw"
    defer { try? FileManager.default.removeItem(atPath: raw) }
    try HostTools.run(
      "qemu-img",
      ["convert", "-f", format] + (snapshot.map { ["-l", $0] } ?? []) + ["-O", "raw", path, raw])
    let image = try OpenImage(path: path, options: ImageOptions(snapshot: snapshot))
    #expect(image.notes.isEmpty, sourceLocation: sourceLocation)
    let expected = try contents(raw)
    #expect(image.disk.size == UInt64(expected.count), sourceLocation: sourceLocation)
    guard image.disk.size == UInt64(expected.count) else { return }
    var place = 0
    var differs: Int?
    try image.disk.whole.stream { piece in
      piece.withUnsafeBytes { bytes in
        let end = min(expected.count, place + bytes.count)
        if differs == nil, expected[place..<end] != Data(bytes.prefix(end - place)) {
          differs = place
        }
        place += bytes.count
      }
    }
    #expect(differs == nil, "they differ near this byte", sourceLocation: sourceLocation)
  }
}
