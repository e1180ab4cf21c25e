public import DiskCore

/// The file systems whose files can be shown.
public enum FileSystemRegistry {
  /// One of them.
  struct Driver: Sendable {
    /// What `FileSystemSignature` calls it.
    let type: String
    /// Whether it finds what has no signature: a floppy without one, a backup of the boot sector, a disc
    /// whose only anchor is at its end.
    var looksFurther = false
    /// Opens a volume that has its signature, or one that has none; nil where it is another kind, and
    /// where the person wants another that is there too. Errors are dropped of their type here (Swift
    /// 6.3.1 crashes on an array of functions with typed throws); they are `DiskError`s.
    let open: @Sendable (Volume) throws -> (any FileSystem)?
  }

  /// FAT last: old floppies have little to be known by.
  private static let drivers: [Driver] = [
    Driver(type: "udf", looksFurther: true) { try UDFFileSystem($0) },
    Driver(type: "iso9660") { try ISOFileSystem($0) },
    Driver(type: "exfat", looksFurther: true) { try ExFATFileSystem.open($0) },
    Driver(type: "vfat", looksFurther: true) { try FATFileSystem.open($0) },
  ]

  /// The types of file systems that can be read.
  public static var types: [String] { drivers.map(\.type) }

  /// Whether there is a file system in the window that can be read: by its signature, or, where there is
  /// none, because it can be opened.
  public static func reads(_ window: Window) -> Bool {
    if let signature = FileSystemSignature.find(in: window) {
      return types.contains(signature.type)
    }
    return (try? open(Volume(window))) != nil
  }

  /// The file system in a window; nil where there is none that can be read. Of several, which UDF and
  /// ISO 9660 often are, it is the first by `FileSystemSignature` whose driver takes the volume.
  ///
  /// - Throws: what is wrong with one that says that it is one of those that can be.
  public static func open(_ volume: Volume) throws(DiskError) -> (any FileSystem)? {
    let type = FileSystemSignature.find(in: volume.window)?.type
    do {
      for driver in drivers where type == driver.type || type == nil && driver.looksFurther {
        if let found = try driver.open(volume) { return found }
      }
      guard type != nil else { return nil }
      for other in FileSystemSignature.all(in: volume.window).map(\.type) where other != type {
        if let found = try drivers.first(where: { $0.type == other })?.open(volume) { return found }
      }
      return nil
    } catch let error as DiskError {
      throw error
    } catch {
      throw DiskError(.malformed, "the file system cannot be opened", underlying: error)
    }
  }
}
