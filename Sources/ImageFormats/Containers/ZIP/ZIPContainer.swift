internal import DiskCore

/// ZIP archives with one image in them, WinImage's IMZ among them. Source: PKWARE's APPNOTE.TXT 6.3.10.
struct ZIPContainer: ContainerFormat {
  var name: String { "zip" }

  func fits(_ head: ByteReader) -> Bool { head.matches([0x50, 0x4b, 3, 4], at: 0) }

  func open(_ source: any Storage) throws(DiskError) -> ContainedStream {
    let member = try Self.image(in: ZIPDirectory.members(of: source), path: source.path)
    let start = try Self.dataStart(of: member, in: source)
    let data = start..<start + member.storedSize
    let details = [("member", member.name)]
    switch member.method {
    case 0:
      return ContainedStream(
        ZIPStoredCodec(source: source, size: member.size, checksum: member.checksum),
        ZIPStoredCodec.points(data), size: .exact(member.size), details: details)
    case 8:
      return ContainedStream(
        ZIPDeflateCodec(source: source, data: data, size: member.size, checksum: member.checksum),
        EntryPoints([EntryPoint(decoded: 0, stored: start * 8)]), size: .exact(member.size),
        details: details)
    default:
      throw DiskError(
        .unsupported,
        "'\(printable(member.name))' in it is compressed by method \(member.method); only stored and "
          + "deflated files are read", path: source.path, offset: member.header)
    }
  }

  /// What makes a file the image among others, such as a read-me.
  private static let imageSuffixes: Set<String> = [
    "adf", "cso", "dd", "dmg", "dsk", "flp", "hdd", "hds", "ima", "image", "img", "iso", "qcow",
    "qcow2", "qed", "raw", "vdi", "vfd", "vhd", "vhdx", "vmdk",
  ]

  /// The only file, or the only one whose name is an image's.
  private static func image(
    in members: [ZIPDirectory.Member], path: String
  ) throws(DiskError) -> ZIPDirectory.Member {
    // Folders, and what macOS adds for each file.
    let files = members.filter { !$0.name.hasSuffix("/") && !$0.name.hasPrefix("__MACOSX/") }
    let images = files.filter { file in
      guard let dot = file.name.lastIndex(of: ".") else { return false }
      return imageSuffixes.contains(file.name[dot...].dropFirst().lowercased())
    }
    guard let image = files.count == 1 ? files[0] : images.count == 1 ? images[0] : nil else {
      let names = (images.isEmpty ? files : images).prefix(3).map { "'\(printable($0.name))'" }
      throw DiskError(
        .unsupported,
        files.isEmpty
          ? "is a ZIP archive without files"
          : "is a ZIP archive of \(files.count) files, not of one image: "
            + names.joined(separator: ", ")
            + (files.count > names.count ? " and others" : "") + "; unpack it first", path: path)
    }
    // Bit 0: encrypted; bit 6: strongly.
    guard image.flags & 0x41 == 0 else {
      throw DiskError(
        .unsupported, "'\(printable(image.name))' in it is encrypted", path: path,
        offset: image.header)
    }
    return image
  }

  /// Behind the local header (section 4.3.7), whose name and extra field have their own lengths.
  private static func dataStart(
    of member: ZIPDirectory.Member, in source: any Storage
  ) throws(DiskError) -> UInt64 {
    func failure(_ kind: DiskError.Kind, _ message: String) -> DiskError {
      DiskError(
        kind, "'\(printable(member.name))' in it " + message, path: source.path,
        offset: member.header)
    }
    guard member.header <= source.size, source.size - member.header >= 30 else {
      throw failure(.truncated, "starts past the end of the file")
    }
    let header = try source.reader(at: FileOffset(member.header), count: 30)
    guard header.matches([0x50, 0x4b, 3, 4], at: 0) else {
      throw failure(.malformed, "has no local header where the directory says")
    }
    let start =
      member.header + 30 + UInt64(try header.u16(at: 26)) + UInt64(try header.u16(at: 28))
    guard start <= source.size, member.storedSize <= source.size - start else {
      throw failure(.truncated, "reaches past the end of the file")
    }
    // Entry points count in bits.
    guard start <= UInt64.max / 8 else {
      throw failure(.unsupported, "starts at byte \(start), which is too far behind")
    }
    guard member.size <= Limits.largestDisk else {
      throw failure(.malformed, "claims \(member.size) bytes")
    }
    guard member.method != 0 || member.size == member.storedSize else {
      throw failure(
        .malformed, "is stored as it is, in \(member.storedSize) bytes in place of \(member.size)")
    }
    return start
  }
}
