public import DiskCore

/// The file systems whose files can be shown.
public enum FileSystemRegistry {
  /// One of them.
  struct Driver: Sendable {
    /// What `FileSystemSignature` calls it.
    let type: String
    /// Opens a volume that has its signature. Errors are dropped of their type here (Swift 6.3.1 crashes
    /// on an array of functions with typed throws); they are `DiskError`s.
    let open: @Sendable (Volume) throws -> any FileSystem
  }

  private static let drivers: [Driver] = [
    Driver(type: "iso9660") { volume in
      guard let found = try ISOFileSystem(volume) else {
        throw DiskError(
          .malformed, "there is no ISO 9660 volume descriptor", path: volume.storage.path,
          offset: 0x8000)
      }
      return found
    }
  ]

  /// The types of file systems that can be read.
  public static var types: [String] { drivers.map(\.type) }

  /// Whether there is a file system in the window, by its signature, that can be read.
  public static func reads(_ window: Window) -> Bool {
    FileSystemSignature.find(in: window).map { types.contains($0.type) } ?? false
  }

  /// The file system in a window; nil where there is none that can be read.
  ///
  /// - Throws: what is wrong with one that has the signature of one that can be.
  public static func open(_ volume: Volume) throws(DiskError) -> (any FileSystem)? {
    let type = FileSystemSignature.find(in: volume.window)?.type
    guard let driver = drivers.first(where: { $0.type == type }) else { return nil }
    do {
      return try driver.open(volume)
    } catch let error as DiskError {
      throw error
    } catch {
      throw DiskError(.malformed, "the file system cannot be opened", underlying: error)
    }
  }
}
