/// What a window holds, as told by its superblock: nothing is mounted and no file is read.
public struct FileSystemSignature: Sendable, Hashable {
  /// The name that `blkid` uses: `ext4`, `vfat`, `iso9660`, `ntfs`, `crypto_LUKS`, …
  public var type: String
  /// As stored, without padding; nil where there is none.
  public var label: String?
  /// In the notation that `blkid` uses for this type; nil where there is none.
  public var uuid: String?

  public init(type: String, label: String? = nil, uuid: String? = nil) {
    self.type = type
    self.label = label
    self.uuid = uuid
  }
}
