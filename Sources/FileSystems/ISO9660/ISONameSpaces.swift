internal import DiskCore

/// The sets of names that a disc has, and which of them is shown.
struct ISONameSpaces {
  private struct Found {
    let option: FileSystemOptions.ISONames
    let names: ISONames
    /// Where the root folder that they are under is, in bytes.
    let root: UInt64
  }

  /// The best one first.
  private var found: [Found] = []

  /// - Throws: what is wrong with the primary root folder where there is no other.
  init(_ descriptors: ISODescriptors, _ volume: ISOVolume) throws(DiskError) {
    func root(_ record: ISORootRecord?) -> UInt64? {
      guard let position = record?.position(volume),
        (try? ISODirectoryRecord(ofFolderAt: position, volume)) != nil
      else { return nil }
      return position
    }
    let primary = root(descriptors.primaryRoot)
    if let primary, let area = RockRidge.area(ofTreeAt: primary, volume) {
      found.append(Found(option: .rockRidge, names: .rockRidge(area), root: primary))
    }
    if let joliet = root(descriptors.jolietRoot) {
      found.append(Found(option: .joliet, names: .joliet, root: joliet))
    }
    if let enhanced = root(descriptors.enhancedRoot) {
      found.append(Found(option: .iso, names: .enhanced, root: enhanced))
    }
    if let primary { found.append(Found(option: .iso, names: .plain, root: primary)) }
    if found.isEmpty {
      _ = try ISODirectoryRecord(ofFolderAt: descriptors.primaryRoot.position(volume), volume)
    }
  }

  /// - Throws: `invalidRequest`, naming what there is, where `wanted` is not.
  func best(
    _ wanted: FileSystemOptions.ISONames?
  ) throws(DiskError) -> (names: ISONames, root: UInt64) {
    guard let best = found.first(where: { wanted == nil || $0.option == wanted }) else {
      var options: [String] = []
      for each in found where !options.contains(each.option.rawValue) {
        options.append(each.option.rawValue)
      }
      throw DiskError(
        .invalidRequest,
        "this disc has no \(wanted?.rawValue ?? "") names; it has \(options.joined(separator: ", "))"
      )
    }
    return (best.names, best.root)
  }
}
