public import DiskCore

/// An older state of an open image's disk: a snapshot inside the image, or the disk as one of the
/// images below it has it.
public struct DiskSnapshot: Sendable {
  public enum Kind: String, Sendable {
    /// Kept inside the image.
    case inside
    /// An image further down the chain.
    case parent
  }

  /// What `--snapshot` takes; no two of an image are equal.
  public let name: String
  public let kind: Kind
  /// The format's own number for a snapshot inside the image.
  public let identifier: String?
  /// In seconds since 1970.
  public let created: Int?
  /// As `OpenImage.paths`.
  let paths: [String]
  /// The disk as it was.
  public let open: @Sendable () throws(DiskError) -> Disk

  /// Those inside the image first, then the images below it from the top down.
  ///
  /// - Parameter longestWay: as a disk over the chain wants it.
  static func all(
    of chain: ImageChain, _ blocks: BlockCache, longestWay: (@Sendable () -> UInt64)? = nil
  ) -> [DiskSnapshot] {
    let layers = chain.layers
    let paths = chain.paths
    let below = Array(layers[chain.levels[0].image.layers.count...])
    // The last number that each name was given: an image can have thousands of one name.
    var taken: [String: Int] = [:]
    func unique(_ name: String) -> String {
      var result = name
      var number = taken[name] ?? 0
      if number > 0 {
        repeat {
          number += 1
          result = "\(name)-\(number)"
        } while taken[result] != nil
      }
      taken[name] = max(number, 1)
      taken[result] = taken[result] ?? 1
      return result
    }
    let inside = chain.levels[0].image.snapshots.map { snapshot in
      DiskSnapshot(
        name: unique(snapshot.name.isEmpty ? snapshot.identifier : snapshot.name), kind: .inside,
        identifier: snapshot.identifier, created: snapshot.created,
        paths: [paths[0]] + paths.suffix(below.count),
        open: { () throws(DiskError) in
          try Disk(
            layers: [try snapshot.open()] + below, blocks: blocks, longestWay: longestWay)
        })
    }
    let parents = layers.indices.dropFirst().map { index in
      let rest = Array(layers[index...])
      return DiskSnapshot(
        name: unique(PathParts(paths[index]).name), kind: .parent, identifier: nil, created: nil,
        paths: Array(paths[index...]),
        open: { () throws(DiskError) in
          try Disk(layers: rest, blocks: blocks, longestWay: longestWay)
        })
    }
    return inside + parents
  }

  /// How many are named to somebody who asked for one that is not there.
  private static let mostNamed = 20

  /// The one that the user called `name`, which may also be its number.
  ///
  /// - Throws: `notFound`, naming those that there are.
  static func named(
    _ name: String, in snapshots: [DiskSnapshot], of path: String
  ) throws(DiskError) -> DiskSnapshot {
    if let found = snapshots.first(where: { $0.name == name })
      ?? snapshots.first(where: { $0.identifier == name })
    {
      return found
    }
    let more = snapshots.count - mostNamed
    let names =
      snapshots.prefix(mostNamed).map { printable($0.name) }.joined(separator: ", ")
      + (more > 0 ? " and \(more) more" : "")
    throw DiskError(
      .notFound,
      "has no snapshot '\(printable(name))'; "
        + (names.isEmpty ? "it has none at all" : "there are: \(names)"), path: path)
  }
}
