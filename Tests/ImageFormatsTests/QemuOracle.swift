import DiskCore
import Foundation
import ImageFormats
import TestSupport

/// What qemu-img makes of an image.
enum QemuOracle {
  static func raw(_ path: String, _ format: String) throws -> [UInt8] {
    let raw = path + ".raw"
    try HostTools.run("qemu-img", ["convert", "-f", format, "-O", "raw", path, raw])
    return [UInt8](try Data(contentsOf: URL(fileURLWithPath: raw)))
  }

  /// A raw file of `size` bytes with content in a few places.
  static func makeRaw(_ path: String, size: Int) throws {
    try HostTools.makeFile(path, size: UInt64(size))
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    for (offset, count) in [(0, 5000), (size / 3, 70_000), (size - 700, 700)] {
      try file.seek(toOffset: UInt64(offset))
      try file.write(contentsOf: Data(ImageBytes.pattern(count, seed: UInt64(offset))))
    }
    try file.close()
  }
}

extension OpenImage {
  /// For disks that are small enough.
  var content: [UInt8] {
    get throws {
      var bytes: [UInt8] = []
      try disk.whole.stream { piece in piece.withUnsafeBytes { bytes.append(contentsOf: $0) } }
      return bytes
    }
  }
}

extension OpenedImage {
  /// The disk's map, an entry a word: `offset+length=place`, where the place is in the file, `zero` or
  /// `damaged`.
  var map: [String] {
    get throws {
      var entries: [String] = []
      try disk.whole.forEachMapEntry { entry in
        let place: String
        switch entry.content {
        case .zero: place = "zero"
        default: place = entry.fileOffset.map { "\($0.bytes)" } ?? "other"
        }
        entries.append("\(entry.offset.bytes)+\(entry.length)=\(place)")
      }
      return entries
    }
  }
}
