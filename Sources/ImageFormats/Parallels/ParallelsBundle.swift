internal import DiskCore

/// A bundle's disk: its states on top of each other, each made of parts in a row.
struct ParallelsBundle {
  private let descriptor: ParallelsDescriptor
  private let source: any Storage
  private let files: NamedFiles

  init(_ source: any Storage, _ files: NamedFiles) throws(DiskError) {
    descriptor = try ParallelsDescriptor(source)
    self.source = source
    self.files = files
  }

  /// Top first.
  ///
  /// - Throws: what opening one of the files that the descriptor names throws.
  func layers() throws(DiskError) -> [any ImageLayer] {
    var layers: [any ImageLayer] = []
    for (index, state) in descriptor.states.enumerated() {
      layers.append(
        try layer(state, isLowest: index == descriptor.states.count - 1, isTop: index == 0))
    }
    return layers
  }

  private func layer(
    _ state: String, isLowest: Bool, isTop: Bool
  ) throws(DiskError) -> any ImageLayer {
    var parts: [(layer: any ImageLayer, length: UInt64)] = []
    for part in descriptor.parts {
      let image = try descriptor.image(of: part, in: state)
      let storage = try open(image.file)
      let layer: any ImageLayer
      switch image.type {
      case .plain:
        layer = RawImage(storage)
      case .expanding:
        layer = try ParallelsFormat.image(storage, hasParent: !isLowest)
      }
      parts.append((layer, UInt64(part.sectors.count) * 512))
    }
    var notes = parts.flatMap(\.layer.description.notes)
    let sectors = descriptor.parts[descriptor.parts.count - 1].sectors.upperBound
    if isTop, let said = descriptor.diskSize, said != sectors {
      notes.append("the disk descriptor says \(said) sectors, its parts have \(sectors)")
    }
    var details = [(name: "identifier", value: printable(state))]
    details +=
      parts.count > 1 ? [("parts", "\(parts.count)")] : parts[0].layer.description.details
    return try LayerRow(
      parts,
      description: LayerDescription(
        format: "parallels", subformat: parts.count > 1 ? "split" : kind(state), details: details,
        notes: notes))
  }

  private func kind(_ state: String) -> String {
    descriptor.parts[0].images.first { $0.guid == state }?.type == .plain ? "plain" : "expanding"
  }

  /// By its path if that is allowed, or beside the descriptor: bundles are moved.
  private func open(_ name: String) throws(DiskError) -> any Storage {
    var refusal: DiskError? = nil
    for path in ForeignPath.candidates(name) {
      do throws(DiskError) {
        return try files.open(path, namedBy: source.path, as: "image file")
      } catch {
        if refusal == nil || refusal?.kind == .notFound { refusal = error }
      }
    }
    throw refusal
      ?? DiskError(
        .malformed, "the disk descriptor has an image file without a name", path: source.path)
  }
}
