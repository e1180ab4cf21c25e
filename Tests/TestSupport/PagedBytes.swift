import Foundation

/// A file's content in memory, of which only what was written takes space. Copies are cheap: they
/// share what none of them changed.
public struct PagedBytes: Sendable {
  private static let page = 4096

  public private(set) var size: UInt64 = 0
  private var pages: [UInt64: [UInt8]] = [:]

  public init() {}

  public init(_ bytes: [UInt8]) { write(bytes[...], at: 0) }

  /// How many bytes are stored.
  public var stored: Int { pages.count * Self.page }

  /// How many bytes would be stored after a write of `count` bytes at `offset`.
  public func stored(withWriteAt offset: UInt64, count: Int) -> Int {
    guard count > 0 else { return stored }
    let last = (offset + UInt64(count) - 1) / UInt64(Self.page)
    let new = (offset / UInt64(Self.page)...last).count { pages[$0] == nil }
    return stored + new * Self.page
  }

  public mutating func write(_ bytes: ArraySlice<UInt8>, at offset: UInt64) {
    bytes.withUnsafeBytes { write($0, at: offset) }
  }

  public mutating func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) {
    var done = 0
    while done < bytes.count {
      let place = offset + UInt64(done)
      let within = Int(place % UInt64(Self.page))
      let count = min(bytes.count - done, Self.page - within)
      let source = UnsafeRawBufferPointer(rebasing: bytes[done..<done + count])
      pages[place / UInt64(Self.page), default: [UInt8](repeating: 0, count: Self.page)]
        .withUnsafeMutableBytes {
          UnsafeMutableRawBufferPointer(rebasing: $0[within..<within + count])
            .copyMemory(from: source)
        }
      done += count
    }
    size = max(size, offset + UInt64(bytes.count))
  }

  /// Fills `buffer` with the bytes from `offset` on; past the end are zeros.
  public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) {
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
    var done = 0
    while done < buffer.count {
      let place = offset + UInt64(done)
      let within = Int(place % UInt64(Self.page))
      let count = min(buffer.count - done, Self.page - within)
      if let page = pages[place / UInt64(Self.page)] {
        page.withUnsafeBytes {
          UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[within..<within + count]))
        }
      }
      done += count
    }
  }

  public func bytes(at offset: UInt64, count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { read(at: offset, into: $0) }
    return bytes
  }

  /// All of it.
  public var all: [UInt8] { bytes(at: 0, count: Int(size)) }

  public mutating func resize(to size: UInt64) {
    if size < self.size {
      let kept = (size + UInt64(Self.page) - 1) / UInt64(Self.page)
      pages = pages.filter { $0.key < kept }
      punch(at: size, length: min(kept * UInt64(Self.page), self.size) - size)
    }
    self.size = size
  }

  public mutating func punch(at offset: UInt64, length: UInt64) {
    var place = offset
    while place < offset + length {
      let index = place / UInt64(Self.page)
      let within = Int(place % UInt64(Self.page))
      let count = Int(min(offset + length - place, UInt64(Self.page - within)))
      if count == Self.page {
        pages[index] = nil
      } else {
        pages[index]?.withUnsafeMutableBytes {
          _ = memset($0.baseAddress! + within, 0, count)
        }
      }
      place += UInt64(count)
    }
  }

  /// Writes a real file, holes where nothing is stored.
  public func save(to path: String) throws {
    try HostTools.makeFile(path, size: size)
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    for (index, page) in pages where index * UInt64(Self.page) < size {
      let start = index * UInt64(Self.page)
      try file.seek(toOffset: start)
      try file.write(contentsOf: Data(page.prefix(Int(min(UInt64(Self.page), size - start)))))
    }
    try file.close()
  }
}
