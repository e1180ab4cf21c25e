internal import DiskCore
internal import Partitions

/// A disk drawn as a bar of characters: what each part of it holds, and where the partitions lie.
struct DiskBar {
  /// In bytes; at least 1.
  private let size: UInt64
  /// In columns; at least 1.
  private let width: Int
  /// How much of each column is data, from 0 to 1.
  private var data: [Double]
  private var damaged: Set<Int> = []

  init(size: UInt64, width: Int) {
    self.size = size
    self.width = width
    data = [Double](repeating: 0, count: width)
  }

  /// Takes note of a range of the disk.
  mutating func add(_ entry: MapEntry) {
    switch entry.content {
    case .zero: break
    case .unreadable: damaged.formUnion(columns(entry.offset.bytes, entry.length))
    case .data, .compressed:
      let columnBytes = Double(size) / Double(width)
      let start = Double(entry.offset.bytes)
      let end = start + Double(entry.length)
      for index in columns(entry.offset.bytes, entry.length) {
        let columnStart = Double(index) * columnBytes
        let shared = min(end, columnStart + columnBytes) - max(start, columnStart)
        data[index] += max(0, shared) / columnBytes
      }
    }
  }

  func draw(_ partitions: [Partition]) -> String {
    (partitions.isEmpty ? "" : " \(names(partitions))\n") + " \(content)\n"
      + " █ data  ▒ some data  · zeros  ! unreadable\n"
  }

  /// Which columns a range touches; it has at least one.
  private func columns(_ start: UInt64, _ length: UInt64) -> Range<Int> {
    let first = column(start)
    return first..<max(first + 1, min(width, column(start + length)))
  }

  private func column(_ offset: UInt64) -> Int {
    min(width - 1, Int(Double(offset) / Double(size) * Double(width) + 1e-9))
      + (offset >= size ? 1 : 0)
  }

  /// `├p1───┤├p2──────┤`, as much of each as fits.
  private func names(_ partitions: [Partition]) -> String {
    var line = [Character](repeating: " ", count: width)
    // The larger first, so that logical partitions stand over their extended one.
    for partition in partitions.sorted(by: { $0.size > $1.size }) {
      let range = columns(partition.start.bytes, partition.size)
      for index in range { line[index] = "─" }
      line[range.lowerBound] = "├"
      if range.count > 1 { line[range.upperBound - 1] = "┤" }
      for (index, character) in "p\(partition.number)".enumerated()
      where range.lowerBound + 1 + index < range.upperBound {
        line[range.lowerBound + 1 + index] = character
      }
    }
    return String(line)
  }

  private var content: String {
    String(
      (0..<width).map { index -> Character in
        if damaged.contains(index) { return "!" }
        return data[index] >= 0.99 ? "█" : data[index] > 0 ? "▒" : "·"
      })
  }
}
