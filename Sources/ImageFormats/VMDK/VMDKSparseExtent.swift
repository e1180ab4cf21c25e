internal import DiskCore

/// An extent whose grains are stored as they are first written: a directory of tables, and tables of
/// grains, both read as they are asked for.
final class VMDKSparseExtent<Scheme: VMDKGrainScheme>: ImageLayer {
  private typealias Directory = PagedTable<Scheme.Entry>

  let size: UInt64
  let description: LayerDescription
  private let source: any Storage
  private let scheme: Scheme
  private let geometry: VMDKGeometry
  private let directory: Directory
  private let redundantDirectory: Directory?
  private let tables: TablePages<Scheme.Entry>
  private let decoder: VMDKGrainDecoder?

  /// - Parameters:
  ///   - decoder: nil where grains are stored as they are.
  ///   - notes: gains what was worked around.
  /// - Throws: `truncated` where no grain directory lies within the file.
  init(
    _ source: any Storage, _ scheme: Scheme, _ geometry: VMDKGeometry, decoder: VMDKGrainDecoder?,
    notes: inout [String]
  ) throws(DiskError) {
    let redundant = geometry.redundantDirectory.flatMap {
      try? Self.directory(at: $0, geometry, source)
    }
    do throws(DiskError) {
      directory = try Self.directory(at: geometry.directory, geometry, source)
      redundantDirectory = redundant
    } catch {
      guard let redundant else { throw error }
      notes.append("the grain directory cannot be read; the redundant one was used")
      directory = redundant
      redundantDirectory = nil
    }
    var geometry = geometry
    for place in [geometry.directory, geometry.redundantDirectory].compactMap(\.self) {
      if let end = place.adding(directory.byteCount) {
        geometry.structures.append(place.bytes..<end.bytes)
      }
    }
    tables = TablePages(in: source, entriesPerTable: geometry.entriesPerTable, .little)
    size = geometry.size
    description = LayerDescription(format: "vmdk")
    self.source = source
    self.scheme = scheme
    self.geometry = geometry
    self.decoder = decoder
  }

  private static func directory(
    at place: FileOffset, _ geometry: VMDKGeometry, _ source: any Storage
  ) throws(DiskError) -> Directory {
    guard let header = geometry.structures.first, !header.contains(place.bytes) else {
      throw DiskError(
        .malformed, "the grain directory lies on the header", path: source.path,
        offset: place.bytes)
    }
    return try Directory(in: source, at: place, count: geometry.tableCount, .little)
  }

  var files: [any Storage] { source.parts }

  private static var entryBytes: UInt64 { UInt64(Scheme.Entry.bitWidth / 8) }
  private var tableBytesEach: UInt64 { UInt64(geometry.entriesPerTable) * Self.entryBytes }

  var tableBytes: UInt64 {
    let most = UInt64(geometry.tableCount).multipliedReportingOverflow(by: tableBytesEach)
    return directory.byteCount
      + (most.overflow ? source.size : min(most.partialValue, source.size))
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let coverage = geometry.tableCoverage
    let number = Int(offset.bytes / coverage)
    let within = offset.bytes % coverage
    let place = try table(number)
    switch place {
    case .at(let table):
      return try grains(of: table, number: number, within: within, limit: limit)
    case .damaged(let kind, let reason):
      return damaged(
        kind, reason, at: entryPlace(geometry.directory, number), length: coverage - within)
    case .none, .zero:
      let run = try emptyRun(from: number, place, within + min(limit, size))
      return empty(place, at: offset, length: run - within)
    }
  }

  /// The table's place, or where the directory's entry is damaged, its copy's.
  private func table(_ number: Int) throws(DiskError) -> VMDKPlace {
    let first = checkedTable(try directory.entry(number))
    guard case .damaged = first, let redundantDirectory else { return first }
    let copy = checkedTable(try redundantDirectory.entry(number))
    if case .at = copy { return copy }
    return first
  }

  private func checkedTable(_ entry: Scheme.Entry) -> VMDKPlace {
    let place = scheme.table(entry)
    guard case .at(let start) = place else { return place }
    guard let end = start.adding(tableBytesEach), end.bytes <= source.size else {
      return .damaged(.truncated, "a grain table lies past the end of the file, at \(start.bytes)")
    }
    let range = start.bytes..<end.bytes
    guard !geometry.structures.contains(where: { $0.overlaps(range) }) else {
      return .damaged(.malformed, "a grain table lies on the image's own header or directory")
    }
    return place
  }

  /// How many bytes the tables from `number` on are for that are all as `place`, as far as the
  /// directory's page and `wanted` reach.
  private func emptyRun(
    from number: Int, _ place: VMDKPlace, _ wanted: UInt64
  ) throws(DiskError) -> UInt64 {
    let page = try directory.page(holding: number)
    let coverage = geometry.tableCoverage
    let first = number - page.first
    let last = min(
      page.entries.count, first + Int(min(wanted / coverage + 1, UInt64(page.entries.count))))
    var end = first + 1
    while end < last, scheme.table(page.entries[end]) == place { end += 1 }
    return UInt64(end - first) * coverage
  }

  private func empty(_ place: VMDKPlace, at offset: DiskOffset, length: UInt64) -> Extent {
    let isBelow = place == .none && geometry.hasParent
    return Extent(isBelow ? .below(offset) : .zero, length: min(length, size - offset.bytes))
  }

  private func grains(
    of table: FileOffset, number: Int, within: UInt64, limit: UInt64
  ) throws(DiskError) -> Extent {
    let grainBytes = geometry.grainBytes
    let index = Int(within / grainBytes)
    let inside = within % grainBytes
    let offset = DiskOffset(UInt64(number) * geometry.tableCoverage + within)
    let page = try tables.page(ofTableAt: table, holding: index)
    let first = index - page.first
    let wanted = min(limit, size) / grainBytes + 2
    let last = min(page.entries.count, first + Int(min(wanted, UInt64(page.entries.count))))
    let place = scheme.grain(page.entries[first])
    switch place {
    case .none, .zero:
      var end = first + 1
      while end < last, scheme.grain(page.entries[end]) == place { end += 1 }
      return empty(place, at: offset, length: UInt64(end - first) * grainBytes - inside)
    case .damaged(let kind, let reason):
      return damaged(kind, reason, at: entryPlace(table, index), length: grainBytes - inside)
    case .at(let start):
      if let decoder {
        return encoded(start, by: decoder, offset, inside, table)
      }
      var end = first + 1
      while end < last, let next = start.adding(UInt64(end - first) * grainBytes),
        scheme.grain(page.entries[end]) == .at(next)
      {
        end += 1
      }
      return stored(start, UInt64(end - first) * grainBytes, inside, table)
    }
  }

  /// A run of grains that lie one behind the other in the file from `start` on.
  private func stored(
    _ start: FileOffset, _ length: UInt64, _ inside: UInt64, _ table: FileOffset
  ) -> Extent {
    let grain = geometry.grainBytes
    if let error = misplaced(start, min(length, grain), table) {
      return Extent(.unreadable(error), length: grain - inside)
    }
    guard let place = start.adding(inside), place.bytes < source.size else {
      return Extent(
        .unreadable(
          DiskError(
            .truncated, "a grain lies past the end of the file", path: source.path,
            offset: start.bytes)), length: grain - inside)
    }
    // As far as the file goes, and up to the first of its own structures.
    var run = min(start.adding(length)?.bytes ?? UInt64.max, source.size)
    func cut(at structure: Range<UInt64>) {
      if structure.lowerBound >= place.bytes, structure.lowerBound < run {
        run = start.bytes + (structure.lowerBound - start.bytes) / grain * grain
      }
    }
    for structure in geometry.structures { cut(at: structure) }
    cut(at: table.bytes..<table.bytes + tableBytesEach)
    return Extent(.stored(source, at: place), length: run - place.bytes)
  }

  private func encoded(
    _ start: FileOffset, by decoder: VMDKGrainDecoder, _ offset: DiskOffset, _ inside: UInt64,
    _ table: FileOffset
  ) -> Extent {
    let length = min(geometry.grainBytes - inside, size - offset.bytes)
    if let error = misplaced(start, 1, table) { return Extent(.unreadable(error), length: length) }
    let index = decoder.index(grain: offset.bytes / geometry.grainBytes, at: start)
    return Extent(.encoded(decoder, index: index, at: Int(inside)), length: length)
  }

  private func misplaced(
    _ start: FileOffset, _ length: UInt64, _ table: FileOffset
  ) -> DiskError? {
    let range = start.bytes..<(start.adding(length)?.bytes ?? UInt64.max)
    guard
      geometry.structures.contains(where: { $0.overlaps(range) })
        || (table.bytes..<table.bytes + tableBytesEach).overlaps(range)
    else { return nil }
    return DiskError(
      .malformed, "a grain lies on the image's own header or tables", path: source.path,
      offset: start.bytes)
  }

  private func entryPlace(_ table: FileOffset, _ index: Int) -> UInt64 {
    table.bytes + UInt64(index) * Self.entryBytes
  }

  private func damaged(
    _ kind: DiskError.Kind, _ reason: String, at place: UInt64, length: UInt64
  ) -> Extent {
    Extent(.unreadable(DiskError(kind, reason, path: source.path, offset: place)), length: length)
  }
}
