public import DiskCore

/// The file systems whose files can be shown.
public enum FileSystemRegistry {
  /// Opens the volume if it is of this kind.
  ///
  /// - Returns: nil where it is another kind.
  /// - Throws: what is wrong with a volume that is of this kind.
  typealias Opener = @Sendable (Volume) throws -> (any FileSystem)?

  /// In the order in which they are asked: UDF before the ISO 9660 that it bridges.
  private static let openers: [Opener] = []

  /// The file system in a window; nil where none that is known here.
  ///
  /// - Throws: what is wrong with a file system that is known and cannot be opened.
  public static func open(_ volume: Volume) throws(DiskError) -> (any FileSystem)? {
    for opener in openers {
      do {
        if let found = try opener(volume) { return found }
      } catch let error as DiskError {
        throw error
      } catch {
        throw DiskError(.malformed, "the file system cannot be opened", underlying: error)
      }
    }
    return nil
  }
}
