public import DiskCore
internal import Dispatch
internal import Synchronization

/// The changes of a disk, kept in a qcow2 file with subclusters of 4 KiB (docs/OVERLAYS.md).
///
/// Safe to call from any thread at once, but for `close()`, which comes last.
public final class Overlay: WritableLayer {
  public let size: UInt64
  /// Nil for a disk of its own, which reads as zeros where it was not written.
  public let base: OverlayBase?
  /// The file was left open by whoever wrote it last, and what it had lost was collected.
  public let wasRecovered: Bool
  let storage: any WritableStorage
  let geometry: OverlayGeometry
  let tuning: OverlayTuning
  /// Where the private extension's word of state is; nil where there is none.
  let statePlace: UInt64?
  let state: Mutex<OverlayState>
  /// Held by the flush that is going on; a flush is a few writes and waits between them.
  let flushing = DispatchSemaphore(value: 1)
  /// Held by who gets more clusters. It may flush meanwhile; a flush never needs clusters.
  let growing = DispatchSemaphore(value: 1)

  init(
    _ storage: any WritableStorage, header: OverlayHeader, tuning: OverlayTuning,
    state: OverlayState, wasRecovered: Bool
  ) {
    self.storage = storage
    self.tuning = tuning
    self.wasRecovered = wasRecovered
    geometry = header.geometry
    size = header.size
    base = header.base
    statePlace = header.statePlace
    self.state = Mutex(state)
  }

  public var unit: UInt64 { geometry.unit }
  public var files: [any Storage] { storage.parts }

  public var tableBytes: UInt64 {
    state.withLock { state in
      UInt64(state.l1.count { $0 & L2Entry.hostMask != 0 }) * state.geometry.clusterSize
    }
  }

  public var description: LayerDescription {
    var details = [(name: "subcluster size", value: "\(unit)")]
    if let base {
      details.append((name: "base", value: base.name))
      details.append((name: "base format", value: base.format))
    }
    var notes: [String] = []
    if wasRecovered {
      notes.append("was not closed by the program that wrote it; its lost clusters were collected")
    }
    return LayerDescription(
      format: "qcow2", subformat: "overlay", details: details, notes: notes)
  }

  // MARK: - Reading

  public func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    // Longer answers would only be cut.
    let limit = min(max(1, limit), size - min(size, offset.bytes))
    while true {
      let answer = state.withLock { state in
        state.extent(at: offset.bytes, limit: limit, in: storage)
      }
      if let answer { return answer }
      try load(Int(offset.bytes / geometry.bytesPerTable))
    }
  }

  // MARK: - Writing

  public func reserve(at offset: DiskOffset, length: UInt64) throws(DiskError) -> Reservation {
    try changing { (state) throws(DiskError) in
      try state.reserve(at: offset.bytes, length: length, in: storage)
    }
  }

  public func publish(_ reservation: Reservation) {
    state.withLock { $0.publish(reservation) }
  }

  public func abandon(_ reservation: Reservation) {
    state.withLock { $0.abandon(reservation) }
  }

  public func discard(at offset: DiskOffset, length: UInt64) throws(DiskError) {
    var done: UInt64 = 0
    while done < length {
      done += try changing { (state) throws(DiskError) in
        try state.discard(at: offset.bytes + done, length: length - done)
      }
    }
  }

  /// Makes a change, getting what it needs until it can be made.
  private func changing<Result: Sendable>(
    _ body: (inout OverlayState) throws(DiskError) -> OverlayStep<Result>
  ) throws(DiskError) -> Result {
    while true {
      let step = try state.withLock { (state) throws(DiskError) in try body(&state) }
      switch step {
      case .done(let result): return result
      case .needsTable(let index): try loadToChange(index)
      case .needsClusters: try addClusters()
      case .needsMove(let table, let cluster): try move(cluster, of: table)
      }
    }
  }
}
