internal import Glibc
internal import Synchronization

/// What a disk needs besides its layers to be written to.
final class DiskWriter: Sendable {
  let layer: any WritableLayer
  let writes = RangesInFlight()
  let reads = ReadsInFlight()
  /// Flushes whose space waits for reads to end: the epoch that must be over, and the generation.
  let flushed = Mutex<[(epoch: UInt64, generation: UInt64)]>([])
  /// Writes that have been done.
  let changes = Atomic<UInt64>(0)

  init(_ layer: any WritableLayer) { self.layer = layer }
}

extension Disk {
  /// Whether the top layer takes writes.
  public var isWritable: Bool { writer != nil }

  /// Another number after each write.
  public var changes: UInt64 { writer?.changes.load(ordering: .acquiring) ?? 0 }

  /// Writes `bytes` from `offset` on. When it returns, every read finds them.
  ///
  /// - Throws: ENOSPC as `systemError` where they reach past the end of the disk or where there is no
  ///   room for them; `permissionDenied` for a disk that is not writable. Some of the bytes can have
  ///   been written then.
  public func write(at offset: DiskOffset, from bytes: RawSpan) throws(DiskError) {
    let writer = try requireWriter()
    try checkEnd(offset, UInt64(bytes.byteCount))
    guard bytes.byteCount > 0 else { return }
    try writer.writes.exclusively(units(offset, UInt64(bytes.byteCount), of: writer.layer)) {
      () throws(DiskError) in
      var done = 0
      while done < bytes.byteCount {
        let rest = UInt64(bytes.byteCount - done)
        let place = try writer.layer.reserve(at: offset + UInt64(done), length: rest)
        let count = Int(min(place.length, rest))
        do throws(DiskError) {
          try store(bytes.extracting(done..<done + count), in: place)
        } catch {
          writer.layer.abandon(place)
          throw error
        }
        writer.layer.publish(place)
        writer.changes.add(1, ordering: .releasing)
        done += count
      }
    }
  }

  /// Makes a range read as zeros, giving back the space of what is whole units.
  ///
  /// - Throws: as `write(at:from:)`.
  public func zero(at offset: DiskOffset, length: UInt64) throws(DiskError) {
    let writer = try requireWriter()
    try checkEnd(offset, length)
    guard length > 0 else { return }
    let end = offset.bytes + length
    let unit = writer.layer.unit
    let first = min(end, roundedUp(offset.bytes, unit))
    let last = end == size ? end : max(first, end / unit * unit)
    try writeZeros(offset.bytes..<first)
    if first < last {
      try writer.writes.exclusively(
        units(DiskOffset(first), last - first, of: writer.layer)
      ) { () throws(DiskError) in
        try writer.layer.discard(at: DiskOffset(first), length: last - first)
        writer.changes.add(1, ordering: .releasing)
      }
    }
    try writeZeros(max(first, last)..<end)
  }

  /// Returns when everything written before the call is safe from a power cut.
  public func flush() throws(DiskError) {
    guard let writer else { return }
    let generation = try writer.layer.flush()
    let epoch = writer.reads.nextEpoch()
    let reusable = writer.flushed.withLock { flushed in
      flushed.append((epoch, generation))
      let done = flushed.filter { writer.reads.areDone($0.epoch) }
      flushed.removeAll { writer.reads.areDone($0.epoch) }
      return done.map(\.generation).max()
    }
    if let reusable { writer.layer.reclaim(upTo: reusable) }
  }

  /// Runs `body` while nobody changes the disk: writes and zeros that are going on end first, new ones
  /// wait until it has returned, for as long as that takes. Reads go on, and so do flushes, unless the
  /// layer makes them wait. For one who changes the layer itself: what was counted or kept of the disk's content is not used again.
  ///
  /// The body must not write to the disk or wait for somebody who does.
  ///
  /// - Throws: what `body` throws; `permissionDenied` for a disk that is not writable.
  public func holdingWrites<Result>(
    _ body: () throws(DiskError) -> Result
  ) throws(DiskError) -> Result {
    let writer = try requireWriter()
    return try writer.writes.alone { () throws(DiskError) in
      defer { writer.changes.add(1, ordering: .releasing) }
      return try body()
    }
  }

  /// Writes the bytes where the layer has kept a place for them, with what must come along.
  private func store(_ bytes: RawSpan, in place: Reservation) throws(DiskError) {
    guard place.before > 0 || place.after > 0 else {
      return try place.storage.write(bytes, at: place.at)
    }
    let start = place.offset.bytes - place.before
    let count = Int(place.before) + bytes.byteCount + Int(place.after)
    let whole = try [UInt8](count: count) { (buffer) throws(DiskError) in
      // Past the end of the disk, in its last unit, are zeros.
      let behind = place.offset.bytes + UInt64(bytes.byteCount)
      var head = buffer._mutatingExtracting(0..<Int(place.before))
      try read(at: DiskOffset(start), into: &head)
      let held = Int(min(place.after, size - min(size, behind)))
      let tailStart = Int(place.before) + bytes.byteCount
      var tail = buffer._mutatingExtracting(tailStart..<tailStart + held)
      try read(at: DiskOffset(min(size, behind)), into: &tail)
      unsafe buffer.withUnsafeMutableBytes { target in
        unsafe bytes.withUnsafeBytes { source in
          unsafe UnsafeMutableRawBufferPointer(
            rebasing: target[Int(place.before)..<tailStart]
          ).copyMemory(from: source)
        }
      }
    }
    try unsafe place.storage.write(whole.span.bytes, at: FileOffset(place.at.bytes - place.before))
  }

  private func writeZeros(_ range: Range<UInt64>) throws(DiskError) {
    guard !range.isEmpty else { return }
    // At most one unit: what is longer is discarded.
    let zeros = [UInt8](repeating: 0, count: Int(range.upperBound - range.lowerBound))
    try unsafe write(at: DiskOffset(range.lowerBound), from: zeros.span.bytes)
  }

  private func requireWriter() throws(DiskError) -> DiskWriter {
    guard let writer else {
      throw DiskError(
        .permissionDenied, "the disk is not writable", path: files.first?.path,
        systemError: EROFS)
    }
    return writer
  }

  private func checkEnd(_ offset: DiskOffset, _ length: UInt64) throws(DiskError) {
    guard offset.bytes <= size, length <= size - offset.bytes else {
      throw DiskError(
        .inputOutput, "\(length) bytes reach past the end of the disk", offset: offset.bytes,
        systemError: ENOSPC)
    }
  }

  /// The whole units that a range touches.
  private func units(
    _ offset: DiskOffset, _ length: UInt64, of layer: any WritableLayer
  ) -> Range<UInt64> {
    let start = offset.bytes / layer.unit * layer.unit
    return start..<roundedUp(offset.bytes + length, layer.unit)
  }
}

private func roundedUp(_ value: UInt64, _ unit: UInt64) -> UInt64 {
  (value + unit - 1) / unit * unit
}
