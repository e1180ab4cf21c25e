internal import DiskCore

/// Finds the entry of a file through its ICB (ECMA-167, 4/14.6 and 4/14.7): with strategy 4 the entry is
/// there; with strategy 4096, of write-once discs, each entry is followed by the place of a newer one.
struct UDFInformationControl {
  /// Newer entries of one file.
  static let mostVersions = 1024
  /// The same where a folder is listed, which looks at every file.
  private static let versionsForKind = 4

  let space: UDFSpace

  /// - Parameter mostVersions: that are looked through.
  /// - Throws: `malformed` where none is found.
  func entry(
    at address: UDFAddress, mostVersions: Int = Self.mostVersions
  ) throws(DiskError) -> UDFFileEntry {
    var place = address
    var newest: UDFFileEntry? = nil
    var passed: Set<UDFAddress> = []
    while passed.insert(place).inserted {
      let block = try space.block(at: place)
      guard passed.count <= mostVersions else {
        throw space.volume.failure(
          .malformed, "a file of more than \(mostVersions) versions", block.base)
      }
      let tag = space.volume.tag(block, location: place.block)
      switch tag?.kind {
      case UDFTag.Kind.fileEntry?, UDFTag.Kind.extendedFileEntry?:
        guard let tag else { break }
        let entry = try UDFFileEntry(block, tag, place)
        guard entry.strategy == 4096, let next = newer(than: place) else { return entry }
        newest = entry
        place = next
      case UDFTag.Kind.indirectEntry?:
        place = try UDFExtent(block, at: 36).address
      default:
        // A place for a newer one that nothing was written to.
        if let newest { return newest }
        throw space.volume.failure(.malformed, "there is no file entry here", block.base)
      }
    }
    throw space.volume.failure(
      .malformed, "a file's indirect entries lead in a circle", try space.row(at: address).position)
  }

  /// What the indirect entry behind an entry says; nil where there is none.
  private func newer(than place: UDFAddress) -> UDFAddress? {
    guard place.block < .max else { return nil }
    let next = UDFAddress(block: place.block + 1, partition: place.partition)
    guard let block = try? space.block(at: next), UDFTag(block)?.kind == UDFTag.Kind.indirectEntry,
      let extent = try? UDFExtent(block, at: 36), extent.length > 0
    else { return nil }
    return extent.address
  }

  /// What a file is, for a list of its folder: by the oldest of its entries, because the kind stays. Nil
  /// where that cannot be read.
  func kind(at address: UDFAddress) -> FileKind? {
    guard let position = try? space.row(at: address).position,
      let start = try? space.volume.reader(at: position, count: UDFFileEntry.fileTypeOffset + 1),
      let tag = UDFTag(start),
      [UDFTag.Kind.fileEntry, UDFTag.Kind.extendedFileEntry].contains(tag.kind),
      let type = try? start.u8(at: UDFFileEntry.fileTypeOffset)
    else {
      // Behind an indirect entry, or in the metadata's mirror.
      return (try? entry(at: address, mostVersions: Self.versionsForKind))?.kind
    }
    return FileKind(udfFileType: type)
  }
}
