/// A table of fixed-width integers in a file, read page by page as entries are asked for, so that
/// opening an image costs the same however large its table is.
public final class PagedTable<
  Entry: FixedWidthInteger & UnsignedInteger & BitwiseCopyable & Sendable
>: Sendable {
  public typealias Page = TablePages<Entry>.Page

  public let count: Int
  private let start: FileOffset
  private let pages: TablePages<Entry>

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
    pages = TablePages(in: storage, entriesPerTable: max(1, count), order)
    self.start = start
    self.count = count
  }

  /// In bytes.
  public var byteCount: UInt64 { UInt64(count) * UInt64(Entry.bitWidth / 8) }

  /// Where in the file entry `index` is, which is less than `count`.
  public func place(of index: Int) -> FileOffset {
    start + UInt64(index) * UInt64(Entry.bitWidth / 8)
  }

  /// The page that holds entry `index`, which is less than `count`.
  @_specialize(where Entry == UInt32)
  @_specialize(where Entry == UInt64)
  public func page(holding index: Int) throws(DiskError) -> Page {
    try pages.page(ofTableAt: start, holding: index)
  }

  /// Entry `index`, which is less than `count`.
  @_specialize(where Entry == UInt32)
  @_specialize(where Entry == UInt64)
  public func entry(_ index: Int) throws(DiskError) -> Entry {
    try pages.entry(index, ofTableAt: start)
  }
}
