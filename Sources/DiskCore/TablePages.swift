/// Tables of fixed-width integers that lie anywhere in a file, read page by page as entries are
/// asked for: second-level tables, grain tables, sector bitmaps.
///
/// At most `Limits.residentTable` bytes stay in memory.
public final class TablePages<
  Entry: FixedWidthInteger & UnsignedInteger & BitwiseCopyable & Sendable
>: Sendable {
  /// A run of entries in the machine's byte order.
  public struct Page: Sendable {
    /// The index of `entries[0]` in its table.
    public let first: Int
    public let entries: [Entry]
  }

  private struct Key: Hashable, Sendable {
    let table: FileOffset
    let page: Int
  }

  /// 64 KiB of table at a time: one readahead of the page cache.
  private static var entriesPerPage: Int { 65536 / (Entry.bitWidth / 8) }

  private let pages: LoadCache<Key, Page>

  /// - Parameter entriesPerTable: how many entries each table has, at least 1.
  public init(in storage: any Storage, entriesPerTable: Int, _ order: ByteReader.ByteOrder) {
    let width = Entry.bitWidth / 8
    pages = LoadCache(
      capacity: Limits.residentTable,
      cost: { _ in min(entriesPerTable, Self.entriesPerPage) * width },
      load: { (key) throws(DiskError) -> Page in
        let first = key.page * Self.entriesPerPage
        let count = min(Self.entriesPerPage, entriesPerTable - first)
        guard let start = key.table.adding(UInt64(first * width)) else {
          throw DiskError(
            .malformed, "a table lies past the end of any file", path: storage.path,
            offset: key.table.bytes)
        }
        let reader = try storage.reader(at: start, count: count * width)
        return Page(first: first, entries: try reader.integers(at: 0, count: count, order))
      })
  }

  /// The page of the table at `table` that holds its entry `index`.
  ///
  /// - Parameter index: less than the number of entries of a table.
  /// - Throws: `truncated` where the page does not lie within the file; what reading throws.
  @_specialize(where Entry == UInt32)
  @_specialize(where Entry == UInt64)
  public func page(ofTableAt table: FileOffset, holding index: Int) throws(DiskError) -> Page {
    try pages.value(of: Key(table: table, page: index / Self.entriesPerPage))
  }

  /// Entry `index` of the table at `table`; as `page(ofTableAt:holding:)`.
  @_specialize(where Entry == UInt32)
  @_specialize(where Entry == UInt64)
  public func entry(_ index: Int, ofTableAt table: FileOffset) throws(DiskError) -> Entry {
    let page = try page(ofTableAt: table, holding: index)
    return page.entries[index - page.first]
  }
}
