/// A ZIP archive (PKWARE's APPNOTE.TXT), member by member.
public struct ZIPBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public struct Member: Sendable {
    public var name: String
    public var content: [UInt8]
    /// 0: stored; 8: deflated.
    public var method: UInt16
    /// In place of the data as the method has it.
    public var data: [UInt8]?
    public var flags: UInt16 = 0
    /// Whether sizes and checksum stand behind the data, not before it.
    public var hasDescriptor = false
    /// Whether sizes and offset are in the ZIP64 field.
    public var isZIP64 = false
    /// Of its entry in the directory, and of its local header.
    public var editEntry: Edit = { _ in }
    public var editHeader: Edit = { _ in }

    public init(_ name: String, _ content: [UInt8], method: UInt16 = 8) {
      self.name = name
      self.content = content
      self.method = method
    }
  }

  public var members: [Member]
  public var comment: [UInt8] = []
  public var isZIP64 = false
  /// Of the end record.
  public var editEnd: Edit = { _ in }

  public init(_ members: [Member]) { self.members = members }

  public var bytes: [UInt8] {
    var file = ImageBytes(count: 0)
    var directory = ImageBytes(count: 0)
    for member in members {
      let start = file.count
      let data =
        member.data
        ?? (member.method == 8 ? CompressedBytes.deflate(member.content) : member.content)
      let sum = GPTBuilder.crc32(member.content[...])
      let flags = member.flags | (member.hasDescriptor ? 8 : 0)
      // Version, flags, method, time, date, checksum, sizes, name length, extra length.
      func common(sums: Bool, extra: Int, large: Bool) -> ImageBytes {
        var part = ImageBytes(count: 26)
        part.putLittle(20 as UInt16, at: 0)
        part.putLittle(flags, at: 2)
        part.putLittle(member.method, at: 4)
        if sums {
          part.putLittle(sum, at: 10)
          part.putLittle(large ? .max : UInt32(data.count), at: 14)
          part.putLittle(large ? .max : UInt32(member.content.count), at: 18)
        }
        part.putLittle(UInt16(member.name.utf8.count), at: 22)
        part.putLittle(UInt16(extra), at: 24)
        return part
      }
      var header = ImageBytes([0x50, 0x4B, 3, 4])
      header.put(common(sums: !member.hasDescriptor, extra: 5, large: false).bytes, at: 4)
      // A field that nobody knows: the directory's extra fields are others.
      header.put(Array(member.name.utf8) + [0xFE, 0xCA, 1, 0, 9], at: 30)
      member.editHeader(&header)
      file.put(header.bytes + data, at: start)
      if member.hasDescriptor { file.put([UInt8](repeating: 7, count: 16), at: file.count) }
      var extra = ImageBytes(count: 0)
      if member.isZIP64 {
        extra.put([0xFE, 0xCA, 0, 0, 1, 0, 24, 0], at: 0)
        extra.putLittle(UInt64(member.content.count), at: 8)
        extra.putLittle(UInt64(data.count), at: 16)
        extra.putLittle(UInt64(start), at: 24)
      }
      var entry = ImageBytes([0x50, 0x4B, 1, 2, 20, 0])
      entry.put(common(sums: true, extra: extra.count, large: member.isZIP64).bytes, at: 6)
      entry.grow(to: 46)
      entry.putLittle(member.isZIP64 ? .max : UInt32(start), at: 42)
      entry.put(Array(member.name.utf8) + extra.bytes, at: 46)
      member.editEntry(&entry)
      directory.put(entry.bytes, at: directory.count)
    }
    let start = file.count
    file.put(directory.bytes, at: start)
    if isZIP64 {
      let record = file.count
      file.put([0x50, 0x4B, 6, 6], at: record)
      file.putLittle(44 as UInt64, at: record + 4)
      file.putLittle(UInt64(members.count), at: record + 24)
      file.putLittle(UInt64(members.count), at: record + 32)
      file.putLittle(UInt64(directory.count), at: record + 40)
      file.putLittle(UInt64(start), at: record + 48)
      file.put([0x50, 0x4B, 6, 7, 0, 0, 0, 0], at: record + 56)
      file.putLittle(UInt64(record), at: record + 64)
      file.putLittle(1 as UInt32, at: record + 72)
    }
    var end = ImageBytes([0x50, 0x4B, 5, 6, 0, 0, 0, 0])
    for place in [8, 10] {
      end.putLittle(isZIP64 ? UInt16.max : UInt16(members.count), at: place)
    }
    end.putLittle(isZIP64 ? UInt32.max : UInt32(directory.count), at: 12)
    end.putLittle(isZIP64 ? UInt32.max : UInt32(start), at: 16)
    end.putLittle(UInt16(comment.count), at: 20)
    end.put(comment, at: 22)
    editEnd(&end)
    file.put(end.bytes, at: file.count)
    return file.bytes
  }
}
