import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// A disk's bytes, and files that tools of the machine compress them to.
struct CompressedFixture {
  let folder: String
  let content: [UInt8]
  var plain: String { folder + "/disk.img" }

  init(_ folder: String, _ content: [UInt8]) throws {
    self.folder = folder
    self.content = content
    try HostTools.write(content, to: plain)
  }

  /// Runs a command line of the shell in the folder.
  func shell(_ line: String) throws {
    try HostTools.run("sh", ["-c", "cd '\(folder)' && \(line)"])
  }

  func path(_ name: String) -> String { folder + "/" + name }

  func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name))))
  }

  func open(
    _ name: String, exact: Bool = true, keepsIndex: Bool = false
  ) throws(DiskError) -> OpenImage {
    var options = ImageOptions()
    options.needsExactSize = exact
    options.indexFolder = keepsIndex ? folder + "/cache" : nil
    return try OpenImage(path: path(name), options: options)
  }

  /// Reads all of it in pieces in random order, then in order, and compares.
  func check(
    _ image: OpenImage, seed: UInt64, reads: Int = 30,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(image.disk.size == UInt64(content.count), sourceLocation: sourceLocation)
    guard image.disk.size == UInt64(content.count) else { return }
    var random = SeededRandom(seed: seed)
    for _ in 0..<reads {
      let start = Int.random(in: 0..<content.count, using: &random)
      let count = min(
        content.count - start,
        Int.random(in: 1...3, using: &random) << Int.random(in: 0...20, using: &random))
      let bytes = try image.disk.whole.bytes(at: DiskOffset(UInt64(start)), count: count)
      let isSame = bytes == Array(content[start..<start + count])
      #expect(isSame, "\(count) bytes at \(start)", sourceLocation: sourceLocation)
    }
    let all = try image.content
    #expect(all == content, sourceLocation: sourceLocation)
  }

  /// Text, zeros, noise and repetitions from far away, in runs of all lengths.
  static func content(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    let words = (0..<64).map { ImageBytes.pattern(4 + $0 % 9, seed: seed &+ UInt64($0)) }
    while bytes.count < count {
      let length = Int.random(in: 1...4, using: &random) << Int.random(in: 4...17, using: &random)
      switch Int.random(in: 0..<8, using: &random) {
      case 0, 1: bytes += [UInt8](repeating: 0, count: length)
      case 2: bytes += ImageBytes.pattern(length, seed: random.next())
      case 3 where bytes.count > length:
        let from = Int.random(in: 0..<bytes.count - length, using: &random)
        bytes += bytes[from..<from + length]
      default:
        let end = bytes.count + min(length, 1 << 16)
        while bytes.count < end { bytes += words[Int.random(in: 0..<64, using: &random)] }
      }
    }
    return Array(bytes.prefix(count))
  }
}

extension OpenImage {
  func facts(_ name: String) -> [String] {
    containers.flatMap(\.facts).filter { $0.name == name }.map(\.value)
  }

  func byte(at offset: Int) throws(DiskError) -> UInt8 {
    try disk.whole.bytes(at: DiskOffset(UInt64(offset)), count: 1)[0]
  }
}
