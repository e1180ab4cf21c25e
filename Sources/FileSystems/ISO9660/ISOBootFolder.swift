internal import DiskCore

/// A folder that is not on the disc: El Torito's boot images as files.
struct ISOBootFolder {
  /// Directory records are at less than 2⁴³.
  static let folder = ItemID(1 << 44)
  /// In the root, the first that nothing there is called, by letters of either case.
  static let names = ["boot", "el-torito"]

  let images: [ElTorito.Image]
  private let volume: Volume

  /// - Returns: nil for no images.
  init?(_ images: [ElTorito.Image], _ volume: Volume) {
    guard !images.isEmpty else { return nil }
    self.images = images
    self.volume = volume
  }

  /// - Parameter taken: those of `names` that are in use.
  func entry(_ taken: Set<String>) -> FolderEntry {
    let name = Self.names.first { !taken.contains($0) } ?? Self.names[Self.names.count - 1]
    return FolderEntry(FileName(name), Self.folder, .folder)
  }

  var entries: [FolderEntry] {
    images.indices.map { index in
      FolderEntry(images[index].name, ItemID(Self.folder.number + 1 + UInt64(index)), .file)
    }
  }

  func attributes(of item: ItemID) -> FileAttributes? {
    if item == Self.folder { return FileAttributes(.folder, allocatedBytes: 0) }
    return image(item).map { FileAttributes(.file, size: $0.size) }
  }

  func content(of item: ItemID) -> (any FileContent)? {
    image(item).map { ISOContent([ISOSection(start: $0.start, length: $0.size)], volume) }
  }

  private func image(_ item: ItemID) -> ElTorito.Image? {
    guard item.number > Self.folder.number,
      item.number - Self.folder.number <= UInt64(images.count)
    else { return nil }
    return images[Int(item.number - Self.folder.number) - 1]
  }
}
