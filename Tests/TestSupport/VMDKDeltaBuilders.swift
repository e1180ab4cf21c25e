import DiskCore

/// An ESX Server sparse extent (Virtual Disk Format 5.0, `COWDisk_Header`).
public struct VMDKCopyOnWriteBuilder: Sendable {
  /// In sectors.
  public var capacity: UInt32
  public var grainSectors = 1
  /// Each a grain long.
  public var grains: [Int: [UInt8]] = [:]
  public var order: [Int]?
  public var editHeader: VMDKBuilder.Edit = { _ in }
  public var editDirectory: VMDKBuilder.Edit = { _ in }
  public var editTables: VMDKBuilder.Edit = { _ in }

  public init(capacity: UInt32) { self.capacity = capacity }

  /// The header's four sectors, the directory, then tables of 4,096 entries for what has grains.
  public var file: VHDBuilder.File {
    let coverage = 4096 * grainSectors
    let tableCount = (Int(capacity) + coverage - 1) / coverage
    let directorySectors = (tableCount * 4 + 511) / 512
    let used = Set(grains.keys.map { $0 / 4096 }).sorted()
    var directory = ImageBytes(count: directorySectors * 512)
    let tablesSector = 4 + directorySectors
    for (number, table) in used.enumerated() {
      directory.putLittle(UInt32(tablesSector + number * 32), at: table * 4)
    }
    var tables = ImageBytes(count: used.count * 16384)
    var place = tablesSector + used.count * 32
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    for index in order ?? grains.keys.sorted() {
      guard let number = used.firstIndex(of: index / 4096), let bytes = grains[index] else {
        continue
      }
      tables.putLittle(UInt32(place), at: number * 16384 + index % 4096 * 4)
      pieces.append((UInt64(place) * 512, bytes))
      place += grainSectors
    }
    var header = ImageBytes(count: 2048)
    header.put("COWD", at: 0)
    for (field, value) in [
      (4, 1), (8, 3), (12, capacity), (16, UInt32(grainSectors)), (20, 4),
      (24, UInt32(tableCount)), (28, UInt32(place)),
    ] {
      header.putLittle(value, at: field)
    }
    editHeader(&header)
    editDirectory(&directory)
    editTables(&tables)
    pieces += [
      (0, header.bytes), (2048, directory.bytes), (UInt64(tablesSector) * 512, tables.bytes),
    ]
    return VHDBuilder.File(size: UInt64(place) * 512, pieces: pieces)
  }
}

/// A space-efficient sparse extent: fields as QEMU's `block/vmdk.c` names them, each section in a
/// place of its own.
public struct VMDKSpaceEfficientBuilder: Sendable {
  public enum Grain: Sendable, Equatable {
    /// 4,096 bytes.
    case data([UInt8])
    case zero
    case unmapped
  }

  /// In sectors.
  public var capacity: UInt64
  public var grains: [Int: Grain] = [:]
  /// The number that each stored grain gets, which tells where it is; others get the lowest free.
  public var numbers: [Int: UInt64] = [:]
  public var editHeader: VMDKBuilder.Edit = { _ in }
  public var editVolatile: VMDKBuilder.Edit = { _ in }
  public var editDirectory: VMDKBuilder.Edit = { _ in }
  public var editTables: VMDKBuilder.Edit = { _ in }

  public init(capacity: UInt64) { self.capacity = capacity }

  /// In sectors.
  public static let (volatile, journalHeader, journal, directory) = (1, 2, 3, 2048)

  private var tableCount: Int { (Int(capacity) + 32767) / 32768 }
  private var directorySectors: Int { (tableCount * 8 + 511) / 512 }
  public var tablesSector: Int { Self.directory + directorySectors }
  /// Tables have room for as many as the disk can need.
  public var grainsSector: Int { (tablesSector + tableCount * 64 + 7) / 8 * 8 + 16 }

  public var file: VHDBuilder.File {
    // Tables stand in the order in which they were first needed: here the last one first.
    let used = Set(grains.keys.map { $0 / 4096 }).sorted(by: >)
    var entries = ImageBytes(count: directorySectors * 512)
    for (number, table) in used.enumerated() {
      entries.putLittle(0x1000_0000_0000_0000 | UInt64(number), at: table * 8)
    }
    var tables = ImageBytes(count: used.count * 32768)
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    var next: UInt64 = 0
    var end = UInt64(grainsSector) * 512
    for index in grains.keys.sorted() {
      guard let number = used.firstIndex(of: index / 4096), let grain = grains[index] else {
        continue
      }
      let entry: UInt64
      switch grain {
      case .zero: entry = 0x2000_0000_0000_0000
      case .unmapped: entry = 0x1000_0000_0000_0000
      case .data(let bytes):
        while numbers[index] == nil, numbers.values.contains(next) { next += 1 }
        let own = numbers[index] ?? next
        if numbers[index] == nil { next += 1 }
        // Bits 0 to 11 of the number stand at bit 48, the others at bit 0.
        entry = 0x3000_0000_0000_0000 | (own & 0xFFF) << 48 | own >> 12
        let place = UInt64(grainsSector) * 512 + own * 4096
        pieces.append((place, bytes))
        end = max(end, place + 4096)
      }
      tables.putLittle(entry, at: number * 32768 + index % 4096 * 8)
    }
    var header = ImageBytes(count: 512)
    for (field, value) in [
      (0, 0xCAFE_BABE), (8, 0x2_0000_0001), (16, capacity), (24, 8), (32, 64),
      (80, UInt64(Self.volatile)), (88, 1), (96, UInt64(Self.journalHeader)), (104, 1),
      (112, UInt64(Self.journal)), (120, 2045), (128, UInt64(Self.directory)),
      (136, UInt64(directorySectors)), (144, UInt64(tablesSector)),
      (152, UInt64(tableCount * 64)), (160, UInt64(grainsSector - 16)), (168, 8),
      (176, UInt64(grainsSector - 8)), (184, 8), (192, UInt64(grainsSector)),
      (200, capacity),
    ] as [(Int, UInt64)] {
      header.putLittle(value, at: field)
    }
    var volatile = ImageBytes(count: 512)
    volatile.putLittle(0xCAFE_CAFE as UInt64, at: 0)
    editHeader(&header)
    editVolatile(&volatile)
    editDirectory(&entries)
    editTables(&tables)
    pieces += [
      (0, header.bytes), (UInt64(Self.volatile) * 512, volatile.bytes),
      (UInt64(Self.directory) * 512, entries.bytes), (UInt64(tablesSector) * 512, tables.bytes),
    ]
    return VHDBuilder.File(size: end, pieces: pieces)
  }
}
