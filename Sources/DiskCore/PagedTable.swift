internal import Synchronization

/// A table of fixed-width integers in a file, read page by page as entries are asked for, so that
/// opening an image costs the same however large its table is.
///
/// At most `Limits.residentTable` bytes stay in memory; beyond that the page that was loaded first
/// goes first.
public final class PagedTable<
  Entry: FixedWidthInteger & UnsignedInteger & BitwiseCopyable & Sendable
>: Sendable {
  /// A run of entries in the machine's byte order.
  public struct Page: Sendable {
    /// The index of `entries[0]` in the table.
    public let first: Int
    public let entries: [Entry]
  }

  private struct Resident: Sendable {
    var pages: [Int: Lazy<Page>] = [:]
    var order: [Int] = []
    var oldest = 0
  }

  /// Where the pages come from; apart from the table, so that a page's maker does not hold it.
  private struct Source: Sendable {
    let storage: any Storage
    let start: FileOffset
    let count: Int
    let order: ByteReader.ByteOrder

    func load(_ number: Int) throws(DiskError) -> Page {
      let width = Entry.bitWidth / 8
      let first = number * PagedTable.entriesPerPage
      let entries = min(PagedTable.entriesPerPage, count - first)
      let reader = try storage.reader(
        at: start + UInt64(first) * UInt64(width), count: entries * width)
      return Page(first: first, entries: try reader.integers(at: 0, count: entries, order))
    }
  }

  public let count: Int
  private let source: Source
  private let resident = Mutex(Resident())

  /// 64 KiB of table at a time: one readahead of the page cache.
  private static var entriesPerPage: Int { 65536 / (Entry.bitWidth / 8) }
  private static var residentPages: Int { Limits.residentTable / 65536 }

  /// - Parameters:
  ///   - start: where the table starts; its end is checked here, so that no later sum overflows.
  ///   - count: the number of entries.
  /// - Throws: `truncated` where the table does not lie within the file.
  public init(
    in storage: any Storage, at start: FileOffset, count: Int, _ order: ByteReader.ByteOrder
  ) throws(DiskError) {
    let (bytes, overflow) = UInt64(count).multipliedReportingOverflow(
      by: UInt64(Entry.bitWidth / 8))
    guard !overflow, let end = start.adding(bytes), end.bytes <= storage.size else {
      throw DiskError(
        .truncated, "a table of \(count) entries reaches past the end of the file",
        path: storage.path, offset: start.bytes)
    }
    source = Source(storage: storage, start: start, count: count, order: order)
    self.count = count
  }

  /// In bytes.
  public var byteCount: UInt64 { UInt64(count) * UInt64(Entry.bitWidth / 8) }

  /// The page that holds entry `index`, which is less than `count`.
  public func page(holding index: Int) throws(DiskError) -> Page {
    let number = index / Self.entriesPerPage
    return try slot(number).get()
  }

  private func slot(_ number: Int) -> Lazy<Page> {
    resident.withLock { resident in
      if let slot = resident.pages[number] { return slot }
      let slot = Lazy { [source] () throws(DiskError) -> Page in try source.load(number) }
      if resident.order.count < Self.residentPages {
        resident.order.append(number)
      } else {
        resident.pages[resident.order[resident.oldest]] = nil
        resident.order[resident.oldest] = number
        resident.oldest = (resident.oldest + 1) % Self.residentPages
      }
      resident.pages[number] = slot
      return slot
    }
  }
}
