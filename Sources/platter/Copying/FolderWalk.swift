internal import DiskCore
internal import FileSystems

/// Which folders a walk over an image is in: images can have folders inside themselves, and folders in so
/// many places that a walk would never end.
struct FolderWalk {
  /// Folders deeper than this are a loop; a copy holds each that it is in open.
  static let deepest = 512
  /// In as many places a folder is gone into. A file system of folders has each in one; some discs have the
  /// same under several names.
  static let mostPlaces = 64

  private var ancestors: [ItemID] = []
  private var places: [ItemID: Int] = [:]

  /// Goes into a folder. Each call that returns needs one of `leave`.
  ///
  /// - Throws: `malformed` for one that is not gone into.
  mutating func enter(_ folder: ItemID, _ path: String) throws(DiskError) {
    guard !ancestors.contains(folder), ancestors.count < Self.deepest else {
      throw DiskError(.malformed, "the folder is inside itself", path: path)
    }
    let count = places[folder, default: 0] + 1
    guard count <= Self.mostPlaces else {
      throw DiskError(
        .malformed, "the folder is in more than \(Self.mostPlaces) places", path: path)
    }
    places[folder] = count
    ancestors.append(folder)
  }

  mutating func leave() { ancestors.removeLast() }
}
