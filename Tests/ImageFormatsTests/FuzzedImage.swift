import DiskCore
import ImageFormats
import TestSupport
import Testing

/// A valid image with bytes overwritten at random: whatever comes of it, it is bytes or a
/// `DiskError`. A trap ends the test run.
enum FuzzedImage {
  static let values: [UInt8] = [0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF]

  /// Overwrites one to four fields of `image` that start at one of `fields`.
  static func overwrite(
    _ image: inout ImageBytes, fields: [Int], _ random: inout SeededRandom
  ) {
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let place = fields.randomElement(using: &random) ?? 0
      // Whole fields too: 2³² − 1 is not reached a byte at a time.
      let width = [1, 1, 2, 4, 8].randomElement(using: &random) ?? 1
      let value = values.randomElement(using: &random) ?? 0
      let byte = Bool.random(using: &random) ? value : UInt8.random(in: 0...255, using: &random)
      image.put([UInt8](repeating: byte, count: min(width, image.count - place)), at: place)
    }
  }

  /// Opens the image and looks at all of it that time allows; whether it could be opened.
  static func survives(
    _ bytes: [UInt8], as format: any ImageFormat, _ random: inout SeededRandom
  ) throws -> Bool {
    let storage = MemoryStorage(bytes, path: "fuzzed.img")
    do throws(DiskError) {
      let probe = FormatProbe(try ImageSample(of: storage))
      _ = probe.warning
      let parsed = try format.open(storage, .none)
      _ = parsed.layers.map(\.description)
      try look(at: Disk(layers: parsed.layers).whole)
      for snapshot in parsed.snapshots.prefix(3) {
        if let layer = try? snapshot.open() { try look(at: Disk(layers: [layer]).whole) }
      }
      return true
    } catch {
      #expect(error.path == "fuzzed.img", "\(error)")
      #expect(!"\(error)".contains { $0.isNewline })
      return false
    }
  }

  private static func look(at window: Window) throws(DiskError) {
    guard window.size > 0 else { return }
    var places = [DiskOffset.start, DiskOffset(window.size - min(window.size, 4096))]
    var place = DiskOffset.start
    while place.bytes < window.size, places.count < 40 {
      // A table that cannot be read ends the walk, not the test.
      guard let entry = try? window.mapEntry(at: place) else { break }
      #expect(entry.length > 0 && entry.length <= window.size - place.bytes)
      places.append(place)
      place = place + entry.length
    }
    for place in places {
      let count = Int(min(window.size - place.bytes, 4096))
      _ = try? window.bytes(at: place, count: count)
    }
  }
}
