import DiskCore

/// A hosted sparse or stream-optimized extent laid out field by field from VMware's Virtual Disk
/// Format 5.0, and apart from the code under test.
public struct VMDKBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public enum Grain: Sendable, Equatable {
    /// Up to a grain long.
    case data([UInt8])
    /// The entry 1: "zeroed grain".
    case zero
  }

  /// How a stream-optimized extent says where its directory is.
  public enum Stream: Sendable {
    /// In the header, as VMware writes it when it can seek.
    case directoryInHeader
    /// `GD_AT_END` in the header, and a footer.
    case footer
  }

  /// In sectors.
  public var capacity: UInt64
  public var grainSectors = 8
  public var entriesPerTable = 512
  public var version: UInt32 = 1
  public var grains: [Int: Grain] = [:]
  /// The stored grains in the order in which the file has them; nil: ascending.
  public var order: [Int]?
  /// Embedded in 20 sectors behind the header.
  public var descriptor: String?
  public var hasRedundantDirectory = true
  /// Grains are compressed.
  public var stream: Stream?
  public var isUnclean = false
  public var editHeader: Edit = { _ in }
  public var editFooter: Edit = { _ in }
  public var editDirectory: Edit = { _ in }
  public var editRedundantDirectory: Edit = { _ in }
  /// Applied to all grain tables as they lie one behind the other, and to their copies.
  public var editTables: Edit = { _ in }
  /// Applied to a compressed grain with its marker.
  public var editGrain: @Sendable (Int, inout ImageBytes) -> Void = { _, _ in }

  public init(capacity: UInt64) { self.capacity = capacity }

  public static let descriptorSectors = 20

  private var grainBytes: Int { grainSectors * 512 }
  private var grainCount: Int { (Int(capacity) + grainSectors - 1) / grainSectors }
  private var tableCount: Int { (grainCount + entriesPerTable - 1) / entriesPerTable }
  private var tableSectors: Int { (entriesPerTable * 4 + 511) / 512 }
  private var directorySectors: Int { (tableCount * 4 + 511) / 512 }

  /// Where things are in a file that is not compressed, in sectors.
  public var redundantDirectorySector: Int { 1 + (descriptor == nil ? 0 : Self.descriptorSectors) }
  public var directorySector: Int {
    redundantDirectorySector
      + (hasRedundantDirectory ? directorySectors + tableCount * tableSectors : 0)
  }
  public var tablesSector: Int { directorySector + directorySectors }
  /// Grains start at a multiple of their size.
  public var overheadSectors: Int {
    let end = tablesSector + tableCount * tableSectors
    return (end + grainSectors - 1) / grainSectors * grainSectors
  }

  public var file: VHDBuilder.File { stream == nil ? plainFile : streamFile }

  private var stored: [(index: Int, bytes: [UInt8])] {
    (order ?? grains.keys.sorted()).compactMap { index in
      guard case .data(let bytes)? = grains[index] else { return nil }
      return (index, bytes + [UInt8](repeating: 0, count: grainBytes - bytes.count))
    }
  }

  private var plainFile: VHDBuilder.File {
    var tables = ImageBytes(count: tableCount * tableSectors * 512)
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    var place = overheadSectors
    for (index, bytes) in stored {
      put(UInt32(place), index, in: &tables)
      pieces.append((UInt64(place) * 512, bytes))
      place += grainSectors
    }
    for (index, grain) in grains where grain == .zero { put(1, index, in: &tables) }
    editTables(&tables)
    func add(_ directory: Int, _ edit: Edit) {
      var entries = ImageBytes(count: directorySectors * 512)
      for table in 0..<tableCount {
        entries.putLittle(
          UInt32(directory + directorySectors + table * tableSectors), at: table * 4)
      }
      edit(&entries)
      pieces.append((UInt64(directory) * 512, entries.bytes))
      pieces.append((UInt64(directory + directorySectors) * 512, tables.bytes))
    }
    add(directorySector, editDirectory)
    if hasRedundantDirectory { add(redundantDirectorySector, editRedundantDirectory) }
    var header = header(directory: UInt64(directorySector))
    editHeader(&header)
    pieces += [(0, header.bytes)] + descriptorPieces
    return VHDBuilder.File(size: UInt64(place) * 512, pieces: pieces)
  }

  /// Header, descriptor, grains, each table behind the grains that it is for, directory, footer, end
  /// of stream; each but grains behind a marker of a sector.
  private var streamFile: VHDBuilder.File {
    var pieces = descriptorPieces
    var place = UInt64(redundantDirectorySector)
    var tables = ImageBytes(count: tableCount * tableSectors * 512)
    for (index, bytes) in stored {
      var grain = ImageBytes(count: 12)
      grain.putLittle(UInt64(index * grainSectors), at: 0)
      let packed = Zlib.stored(bytes)
      grain.putLittle(UInt32(packed.count), at: 8)
      grain.put(packed, at: 12)
      editGrain(index, &grain)
      put(UInt32(place), index, in: &tables)
      pieces.append((place * 512, grain.bytes))
      place += UInt64((grain.count + 511) / 512)
    }
    for (index, grain) in grains where grain == .zero { put(1, index, in: &tables) }
    editTables(&tables)
    var directory = ImageBytes(count: directorySectors * 512)
    for table in 0..<tableCount {
      let bytes = Array(
        tables.bytes[table * tableSectors * 512..<(table + 1) * tableSectors * 512])
      // A table without an entry is not written.
      guard bytes.contains(where: { $0 != 0 }) else { continue }
      pieces.append((place * 512, Self.marker(1, UInt64(tableSectors))))
      pieces.append(((place + 1) * 512, bytes))
      directory.putLittle(UInt32(place + 1), at: table * 4)
      place += 1 + UInt64(tableSectors)
    }
    editDirectory(&directory)
    pieces.append((place * 512, Self.marker(2, UInt64(directorySectors))))
    pieces.append(((place + 1) * 512, directory.bytes))
    let directoryPlace = place + 1
    place += 1 + UInt64(directorySectors)
    var header = header(directory: stream == .footer ? .max : directoryPlace)
    editHeader(&header)
    pieces.append((0, header.bytes))
    if stream == .footer {
      var footer = self.header(directory: directoryPlace)
      editFooter(&footer)
      pieces.append((place * 512, Self.marker(3, 1)))
      pieces.append(((place + 1) * 512, footer.bytes))
      place += 2
    }
    // The end-of-stream marker is a sector of zeros.
    return VHDBuilder.File(size: (place + 1) * 512, pieces: pieces)
  }

  private func put(_ entry: UInt32, _ index: Int, in tables: inout ImageBytes) {
    let table = index / entriesPerTable
    tables.putLittle(entry, at: table * tableSectors * 512 + index % entriesPerTable * 4)
  }

  private static func marker(_ type: UInt32, _ sectors: UInt64) -> [UInt8] {
    var marker = ImageBytes(count: 512)
    marker.putLittle(sectors, at: 0)
    marker.putLittle(type, at: 12)
    return marker.bytes
  }

  private var descriptorPieces: [(at: UInt64, bytes: [UInt8])] {
    descriptor.map { [(UInt64(512), Array($0.utf8))] } ?? []
  }

  /// `SparseExtentHeader`.
  private func header(directory: UInt64) -> ImageBytes {
    var header = ImageBytes(count: 512)
    var flags: UInt32 = 1
    if hasRedundantDirectory, stream == nil { flags |= 2 }
    if grains.values.contains(.zero) { flags |= 4 }
    if stream != nil { flags |= 0x30000 }
    header.put("KDMV", at: 0)
    header.putLittle(version, at: 4)
    header.putLittle(flags, at: 8)
    header.putLittle(capacity, at: 12)
    header.putLittle(UInt64(grainSectors), at: 20)
    if descriptor != nil {
      header.putLittle(1 as UInt64, at: 28)
      header.putLittle(UInt64(Self.descriptorSectors), at: 36)
    }
    header.putLittle(UInt32(entriesPerTable), at: 44)
    if hasRedundantDirectory, stream == nil {
      header.putLittle(UInt64(redundantDirectorySector), at: 48)
    }
    header.putLittle(directory, at: 56)
    header.putLittle(UInt64(overheadSectors), at: 64)
    header.put([isUnclean ? 1 : 0, 0x0A, 0x20, 0x0D, 0x0A], at: 72)
    header.putLittle((stream == nil ? 0 : 1) as UInt16, at: 77)
    return header
  }

  /// A descriptor, as the specification's examples have it.
  public static func text(
    _ createType: String, cid: String = "fffffffe", parentCID: String = "ffffffff",
    hint: String? = nil, _ extents: [String], more: [String] = []
  ) -> String {
    let lines =
      [
        "# Disk DescriptorFile", "version=1", "CID=\(cid)", "parentCID=\(parentCID)",
        "createType=\"\(createType)\"",
      ] + (hint.map { ["parentFileNameHint=\"\($0)\""] } ?? []) + ["", "# Extent description"]
      + extents + ["", "# The Disk Data Base", "#DDB", "", "ddb.adapterType = \"ide\""] + more
    return lines.joined(separator: "\n") + "\n"
  }
}

/// RFC 1950 and 1951 without compression.
public enum Zlib {
  /// A zlib stream of stored blocks.
  public static func stored(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = [0x78, 0x01]
    var place = 0
    repeat {
      let count = min(65535, bytes.count - place)
      let isLast: UInt8 = place + count == bytes.count ? 1 : 0
      let length = [UInt8(count & 0xFF), UInt8(count >> 8)]
      result += [isLast] + length + length.map { ~$0 } + bytes[place..<place + count]
      place += count
    } while place < bytes.count
    var (a, b): (UInt32, UInt32) = (1, 0)
    for byte in bytes {
      a = (a + UInt32(byte)) % 65521
      b = (b + a) % 65521
    }
    let sum = b << 16 | a
    return result + [24, 16, 8, 0].map { UInt8(sum >> $0 & 0xFF) }
  }
}
