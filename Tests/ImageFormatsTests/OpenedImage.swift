import DiskCore
import ImageFormats
import TestSupport
import Testing

/// An image opened as the commands open it, but out of memory, and what opening it took.
struct OpenedImage {
  /// Without parents, where it names one.
  let disk: Disk
  let parsed: ParsedImage
  let storage: FaultyStorage
  let notes: [String]

  /// Opens `storage` by its content and checks what holds for any image, good or bad: at most a
  /// second, little of the file read, and an error that names the file in one line.
  ///
  /// - Parameter mostRead: in bytes, what opening an image of the format reads less than.
  init(
    _ inner: any Storage, as format: (any ImageFormat)? = nil, mostRead: Int = 16384
  ) throws(DiskError) {
    storage = FaultyStorage(inner)
    let clock = ThreadClock()
    let start = clock.now
    defer { #expect(start.duration(to: clock.now) < .seconds(1)) }
    do throws(DiskError) {
      let probe = FormatProbe(try ImageSample(of: storage))
      let chosen = if let format { format } else { try probe.choice(path: inner.path) }
      parsed = try chosen.open(storage, .none)
      disk = try Disk(layers: parsed.layers)
      notes = [probe.warning].compactMap(\.self) + parsed.layers.flatMap(\.description.notes)
    } catch {
      #expect(error.path == inner.path)
      #expect(!"\(error)".contains { $0.isNewline })
      throw error
    }
    #expect(storage.reads.reduce(0) { $0 + $1.count } < mostRead, "opening reads no table")
  }

  init(_ builder: VHDBuilder) throws(DiskError) { try self.init(builder.file.storage()) }

  /// `offset+length place` of each entry of the disk's map.
  var map: [String] {
    get throws {
      var map: [String] = []
      try disk.whole.forEachMapEntry { entry in
        let place: String
        switch entry.content {
        case .zero: place = "zero"
        default: place = entry.fileOffset.map { "\($0.bytes)" } ?? "\(entry.content)"
        }
        map.append("\(entry.offset.bytes)+\(entry.length) \(place)")
      }
      return map
    }
  }

  func bytes(_ offset: Int, _ count: Int) throws -> [UInt8] {
    try disk.whole.bytes(at: DiskOffset(UInt64(offset)), count: count)
  }

  var all: [UInt8] { get throws { try bytes(0, Int(disk.size)) } }
}

extension VHDBuilder {
  /// What the virtual disk holds.
  func content(_ range: Range<Int>) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: range.count)
    let unit = Int(blockSize)
    for (index, block) in blocks {
      let held = (index * unit..<index * unit + block.count).clamped(to: range)
      for place in held { result[place - range.lowerBound] = block[place - index * unit] }
    }
    return result
  }
}

/// What is said of an image that was taken for a VHD and has no footer.
let noFooter = "has no VHD footer at its end; '--format raw' shows its bytes as they are stored"

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
