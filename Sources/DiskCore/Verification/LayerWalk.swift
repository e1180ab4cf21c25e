/// Reads and decodes everything that one layer keeps, whatever the layers above have in its place.
struct LayerWalk {
  /// What one thread is given at once, in bytes of the disk and in blocks.
  private static let batchBytes: UInt64 = 1 << 20
  private static let batchBlocks = 512
  /// Where a table cannot be read, it is asked again this many bytes further on: less than one page of
  /// any table stands for, and a whole number of blocks.
  private static let step: UInt64 = 64 << 10

  private let verification: Verification
  private let layer: any ImageLayer
  private let number: Int
  private let content: CheckedContent
  /// What was read before, in order.
  private let alreadyRead: [Range<UInt64>]

  init(
    _ verification: Verification, _ layer: any ImageLayer, _ number: Int,
    _ content: CheckedContent, alreadyRead: [Range<UInt64>]
  ) {
    self.verification = verification
    self.layer = layer
    self.number = number
    self.content = content
    self.alreadyRead = alreadyRead
  }

  func run() {
    var place: UInt64 = 0
    var cursor = RegionCursor()
    var batch = newBatch
    while place < layer.size {
      var length: UInt64
      do throws(DiskError) {
        let extent = try layer.extent(at: DiskOffset(place), limit: layer.size - place)
        length = min(max(1, extent.length), layer.size - place)
        take(extent.place, &length, at: place, &cursor, &batch)
      } catch {
        length = min(Self.step - place % Self.step, layer.size - place)
        verification.add(
          content.damage(
            error, layer: number, range: place..<place + length, in: layer.files.first))
        verification.progress.advance(by: length)
      }
      place += length
    }
    hand(&batch)
  }

  private var newBatch: ReadingBatch {
    ReadingBatch(verification, content, layer: number, format: layer.description.format)
  }

  private func hand(_ batch: inout ReadingBatch) {
    guard !batch.isEmpty else { return }
    let full = batch
    batch = newBatch
    verification.workers.add { full.run() }
  }

  /// - Parameter length: becomes less where only a part is seen to.
  private func take(
    _ place: Extent.Place, _ length: inout UInt64, at start: UInt64, _ cursor: inout RegionCursor,
    _ batch: inout ReadingBatch
  ) {
    var range = start..<start + length
    switch place {
    case .zero, .below:
      verification.progress.advance(by: isRead(range) ? 0 : length)
    case .unreadable(let error):
      verification.add(
        content.damage(error, layer: number, range: range, in: layer.files.first))
      verification.progress.advance(by: length)
    case .encoded(let decoder, let index, _):
      guard !isRead(range) else { return }
      batch.add(decoder, index, range)
    case .stored(let storage, let at):
      guard !content.includes(storage) else {
        for damage in content.damage(of: range, layer: number, in: storage, at: at) {
          verification.add(damage)
        }
        return verification.progress.advance(by: length)
      }
      if isRead(range) { return }
      length = min(length, Self.batchBytes)
      if let region = try? cursor.region(of: storage, at: at, limit: range.upperBound - start),
        region.isHole
      {
        length = max(1, region.length)
        return verification.progress.advance(by: length)
      }
      range = start..<start + length
      batch.add(storage, at, range)
    }
    if batch.bytes >= Self.batchBytes || batch.count >= Self.batchBlocks { hand(&batch) }
  }

  private func isRead(_ range: Range<UInt64>) -> Bool {
    var low = 0
    var high = alreadyRead.count
    while low < high {
      let middle = (low + high) / 2
      if alreadyRead[middle].upperBound < range.upperBound {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low < alreadyRead.count && alreadyRead[low].lowerBound <= range.lowerBound
  }
}
