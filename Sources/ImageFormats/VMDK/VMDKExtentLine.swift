internal import DiskCore

/// One line of a descriptor's extent description: `RW 4192256 SPARSE "disk-s001.vmdk"` (Virtual Disk
/// Format 5.0, "The Extent Description").
struct VMDKExtentLine: Sendable {
  enum Kind: Sendable, Equatable {
    /// `FLAT` and `VMFS`: the file is the extent, byte for byte.
    case flat
    /// `SPARSE`, `VMFSSPARSE` and `SESPARSE`: the file says itself which it is.
    case sparse
    /// `ZERO`: no file, reads as zeros.
    case zero
    /// `VMFSRDM` and `VMFSRAW`: a device.
    case device
  }

  let kind: Kind
  /// `NOACCESS`: it may not be read.
  let isBarred: Bool
  let sectors: UInt64
  /// As it stands there; empty for `ZERO`.
  let name: String
  /// Where a flat extent starts in its file.
  let firstSector: UInt64
  /// Where the line is in the image.
  let place: FileOffset

  /// Nil for a line that describes no extent.
  ///
  /// - Throws: `malformed` where it starts as one and does not go on so, `unsupported` for a type
  ///   that is not known.
  init?(_ line: ArraySlice<UInt8>, in text: ByteReader) throws(DiskError) {
    // Most lines of a large text are of no interest: no string is made of them.
    guard let first = line.first, Self.initials.contains(first | 0x20) else { return nil }
    var words = VMDKWords(line)
    guard let access = words.next()?.uppercased(), Self.accesses.contains(access) else {
      return nil
    }
    let place = FileOffset(text.base + UInt64(line.startIndex))
    func damage(_ what: String) -> DiskError {
      DiskError(.malformed, "an extent line \(what)", path: text.path, offset: place.bytes)
    }
    guard let count = words.next(), let sectors = UInt64(count) else {
      throw damage("without a number of sectors")
    }
    guard sectors <= Limits.largestDisk / VMDK.sectorBytes else {
      throw damage("with \(sectors) sectors")
    }
    guard let type = words.next()?.uppercased() else { throw damage("without a type") }
    guard let kind = Self.kinds[type] else {
      throw DiskError(
        .unsupported, "an extent of the type '\(printable(type))', which is not known",
        path: text.path, offset: place.bytes)
    }
    var name = ""
    var firstSector: UInt64 = 0
    if kind != .zero {
      guard let word = words.next(), !word.isEmpty else { throw damage("without a file name") }
      name = word
      // Of a flat extent only. What follows it names a partition or a device.
      if kind == .flat, let word = words.next() {
        guard let value = UInt64(word), value <= Limits.largestDisk / VMDK.sectorBytes else {
          throw damage("with an offset of '\(printable(word))'")
        }
        firstSector = value
      }
    }
    self.kind = kind
    isBarred = access == "NOACCESS"
    self.sectors = sectors
    self.name = name
    self.firstSector = firstSector
    self.place = place
  }

  private static let accesses: Set<String> = ["RW", "RDONLY", "NOACCESS"]
  /// Of these, in lower case.
  private static let initials = Array("rn".utf8)

  private static let kinds: [String: Kind] = [
    "FLAT": .flat, "VMFS": .flat, "SPARSE": .sparse, "VMFSSPARSE": .sparse, "SESPARSE": .sparse,
    "ZERO": .zero, "VMFSRDM": .device, "VMFSRAW": .device,
  ]
}

/// The words of a line, one of which may be quoted.
private struct VMDKWords {
  private var rest: ArraySlice<UInt8>

  init(_ line: ArraySlice<UInt8>) { rest = line }

  mutating func next() -> String? {
    rest = VMDKText.trimmed(rest)
    guard let first = rest.first else { return nil }
    let quote = UInt8(ascii: "\"")
    let isQuoted = first == quote
    if isQuoted { rest.removeFirst() }
    let end =
      rest.firstIndex { isQuoted ? $0 == quote : VMDKText.isBlank($0) } ?? rest.endIndex
    let word = VMDKText.decode(rest[rest.startIndex..<end])
    rest = rest[end...]
    if isQuoted, !rest.isEmpty { rest.removeFirst() }
    return word
  }
}
