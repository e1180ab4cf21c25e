internal import ArgumentParser
internal import DiskCore
internal import MountServer
internal import Overlays

struct OverlayStatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show an overlay's base, how much is changed, and whether all is well.",
    discussion: """
      Of one that is mounted, all that was written until now is first brought to the disk. The mount \
      point can be named in place of the file.

      Example:

        $ platter overlay status work.qcow2
      """)

  @OptionGroup var arguments: OverlayArguments

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let (stored, mount) = try arguments.stored()
    let report = try OverlayStatusReport(stored, arguments, mount)
    try Terminal.print(json ? JSON.text(of: report, pretty: true) + "\n" : report.text)
  }
}

/// What `overlay status --json` prints. A field never changes its meaning.
private struct OverlayStatusReport: Encodable {
  struct Layer: Encodable {
    let path: String
    let format: String
    /// In bytes.
    let virtualSize: UInt64
  }

  struct Base: Encodable {
    enum State: String, Encodable {
      case same
      /// Its time of modification differs, and nothing that was looked at.
      case touched
      case changed
      /// It cannot be opened.
      case unavailable
    }

    /// As it stands in the overlay.
    let name: String
    let format: String
    let path: String?
    let state: State
    /// What differs, or why it cannot be opened.
    let reason: String?
  }

  enum State: String, Encodable {
    case clean
    /// A mount of this user keeps its changes in it.
    case mounted
    /// Somebody else has it open for writing.
    case inUse
    /// Whoever had it open did not come to close it.
    case leftOpen
    /// A commit did not come to its end.
    case committing
  }

  let version = 1
  let path: String
  let state: State
  /// Where it is mounted.
  let mountPoint: String?
  /// In bytes, as all sizes.
  let virtualSize: UInt64
  /// How much of the disk the overlay holds; of that, what reads as zeros and is not stored.
  let changedBytes: UInt64
  let zeroBytes: UInt64
  /// How many named states it keeps beside the active one.
  let snapshotCount: Int
  /// What the file occupies.
  let storedSize: UInt64
  private(set) var base: Base?
  /// Top first; the overlay alone where its base cannot be opened.
  private(set) var chain: [Layer]

  init(
    _ overlay: StoredOverlay, _ arguments: OverlayArguments, _ mount: LiveMount?
  ) throws(DiskError) {
    let isInUse = try overlay.isInUse()
    let info = overlay.info
    path = overlay.path
    mountPoint = mount?.status.mountPoint
    state =
      mount != nil
      ? .mounted
      : isInUse
        ? .inUse : info.isMarkedCommitting ? .committing : info.isMarkedOpen ? .leftOpen : .clean
    virtualSize = info.size
    (changedBytes, zeroBytes) = try overlay.heldBytes()
    snapshotCount = info.snapshotCount
    storedSize = overlay.file.allocatedBytes
    let own = Layer(path: overlay.path, format: "qcow2", virtualSize: info.size)
    guard let recorded = info.base else {
      (base, chain) = (nil, [own])
      return
    }
    do throws(DiskError) {
      let opened = try arguments.onBase(overlay)
      base = try Base(recorded, opened, size: info.size)
      chain = zip(opened.image.disk.layers, opened.image.paths).map { layer, path in
        Layer(path: path, format: layer.description.format, virtualSize: layer.size)
      }
    } catch {
      base = Base(recorded, error)
      chain = [own]
    }
  }

  /// For a person.
  var text: String {
    var lines = [
      "\(printable(path)): \(sizeText(virtualSize)), \(sizeText(changedBytes)) changed"
        + (zeroBytes > 0 ? " (\(sizeText(zeroBytes)) of it zeros)" : "")
        + ", stored in \(sizeText(storedSize))"
    ]
    lines.append("  " + stateText)
    if snapshotCount > 0 {
      lines.append("  \(snapshotCount) snapshot\(snapshotCount == 1 ? "" : "s")")
    }
    for layer in chain.dropFirst() {
      lines.append("  on \(printable(layer.path)): \(layer.format), \(sizeText(layer.virtualSize))")
    }
    if let base { lines.append("  base '\(printable(base.name))': \(base.text)") }
    return lines.joined(separator: "\n") + "\n"
  }

  private var stateText: String {
    switch state {
    case .clean: "clean"
    case .mounted: "mounted at \(printable(mountPoint ?? ""))"
    case .inUse: "in use: another program has it open for writing"
    case .leftOpen: "left open: the next mount collects what was lost; no change is"
    case .committing:
      "a commit was interrupted: 'platter overlay commit \(shellWord(path))' finishes it"
    }
  }
}

extension OverlayStatusReport.Base {
  fileprivate init(
    _ recorded: OverlayBase, _ opened: OverlayOnBase, size: UInt64
  ) throws(DiskError) {
    name = recorded.name
    format = recorded.format
    path = opened.basePath
    let comparison = try opened.comparison()
    let found = opened.baseLayers[0].size
    reason =
      comparison.change
      ?? (found == size ? nil : "its disk has \(found) bytes, and the overlay's \(size)")
    state = reason != nil ? .changed : comparison.files.isEmpty ? .same : .touched
  }

  fileprivate init(_ recorded: OverlayBase, _ error: DiskError) {
    name = recorded.name
    format = recorded.format
    path = nil
    state = .unavailable
    reason = error.description
  }

  fileprivate var text: String {
    switch state {
    case .same: "as it was"
    case .touched:
      "touched, but what was looked at is as it was; 'platter overlay relink' notes that"
    case .changed: "is not what it was: \(printable(reason ?? ""))"
    case .unavailable: "cannot be opened: \(printable(reason ?? ""))"
    }
  }
}
