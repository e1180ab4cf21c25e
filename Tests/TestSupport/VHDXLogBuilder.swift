/// A VHDX's log laid out from [MS-VHDX] 2.3, and apart from the code under test.
public struct VHDXLogBuilder: Sendable {
  public enum Change: Sendable {
    /// 4 KiB that belong at `at` in the file.
    case data(at: UInt64, [UInt8])
    case zeros(at: UInt64, count: UInt64)
  }

  public struct Entry: Sendable {
    public var sequence: UInt64
    public var changes: [Change]
    /// Where the first entry of the sequence is, in the log; nil: where the first of the builder's is.
    public var tail: Int?
    public var guid: String
    public var flushedFileOffset: UInt64 = 0
    public var lastFileOffset: UInt64 = 0
    /// Applied before the checksum is made, and after.
    public var edit: VHDXBuilder.Edit = { _ in }
    public var damage: VHDXBuilder.Edit = { _ in }

    public init(_ sequence: UInt64, _ changes: [Change], guid: String = VHDXLogBuilder.guid) {
      self.sequence = sequence
      self.changes = changes
      self.guid = guid
    }
  }

  public static let guid = "12345678-9ABC-DEF0-1234-56789ABCDEF0"
  public static let sector = 4096

  /// One behind the other.
  public var entries: [Entry]
  /// Where the first one is; what does not fit behind it goes on at the log's start.
  public var start = 0
  public var length = 1 << 20
  /// What the rest of the log holds.
  public var filler: UInt8 = 0

  public init(_ entries: [Entry]) { self.entries = entries }

  public var bytes: [UInt8] {
    var log = [UInt8](repeating: filler, count: length)
    var place = start
    for entry in entries {
      let bytes = encoded(entry)
      for (index, byte) in bytes.enumerated() { log[(place + index) % length] = byte }
      place += bytes.count
    }
    return log
  }

  /// How many bytes the entry takes.
  public static func length(of entry: Entry) -> Int {
    let data = entry.changes.filter { if case .data = $0 { true } else { false } }.count
    return ((64 + 32 * entry.changes.count + sector - 1) / sector + data) * sector
  }

  private func encoded(_ entry: Entry) -> [UInt8] {
    let length = Self.length(of: entry)
    var bytes = ImageBytes(count: length)
    bytes.put("loge", at: 0)
    bytes.putLittle(UInt32(length), at: 8)
    bytes.putLittle(UInt32(entry.tail ?? start), at: 12)
    bytes.putLittle(entry.sequence, at: 16)
    bytes.putLittle(UInt32(entry.changes.count), at: 24)
    bytes.put(VHDXBuilder.guid(entry.guid), at: 32)
    bytes.putLittle(entry.flushedFileOffset, at: 48)
    bytes.putLittle(entry.lastFileOffset, at: 56)
    var sector = (64 + 32 * entry.changes.count + Self.sector - 1) / Self.sector * Self.sector
    for (index, change) in entry.changes.enumerated() {
      let place = 64 + 32 * index
      switch change {
      case .zeros(let at, let count):
        bytes.put("zero", at: place)
        bytes.putLittle(count, at: place + 8)
        bytes.putLittle(at, at: place + 16)
      case .data(let at, let content):
        bytes.put("desc", at: place)
        bytes.put(Array(content[4092...]), at: place + 4)
        bytes.put(Array(content[..<8]), at: place + 8)
        bytes.putLittle(at, at: place + 16)
        bytes.put(content, at: sector)
        bytes.put("data", at: sector)
        bytes.putLittle(UInt32(entry.sequence >> 32), at: sector + 4)
        bytes.putLittle(UInt32(entry.sequence & 0xFFFF_FFFF), at: sector + 4092)
        sector += Self.sector
      }
      bytes.putLittle(entry.sequence, at: place + 24)
    }
    entry.edit(&bytes)
    VHDXBuilder.seal(&bytes)
    entry.damage(&bytes)
    return bytes.bytes
  }
}
