internal import Synchronization

/// The decoded bytes of the streams around an image, which were checked before: what is damaged of them,
/// and what that means for the disk.
final class CheckedContent: Sendable {
  private struct Stream: Sendable {
    let name: String
    let path: String
    let faults: [StreamFindings.Fault]
    let unlisted: Int
  }

  private let streams: [ObjectIdentifier: Stream]
  private let order: [ObjectIdentifier]
  /// How many bytes of each fault were found in the disk.
  private let found: Mutex<[ObjectIdentifier: [UInt64]]>

  init(_ checked: [(stream: any VerifiableStream, findings: StreamFindings)]) {
    var streams: [ObjectIdentifier: Stream] = [:]
    for (stream, findings) in checked {
      streams[ObjectIdentifier(stream)] = Stream(
        name: stream.streamName, path: stream.path, faults: findings.faults,
        unlisted: findings.unlisted)
    }
    self.streams = streams
    order = checked.map { ObjectIdentifier($0.stream) }
    found = Mutex(streams.mapValues { [UInt64](repeating: 0, count: $0.faults.count) })
  }

  var unlisted: Int { streams.values.reduce(0) { $0 + $1.unlisted } }

  /// Whether the bytes of `storage` were gone through already.
  func includes(_ storage: any Storage) -> Bool { streams[ObjectIdentifier(storage)] != nil }

  /// What is damaged of bytes of the disk that are stored in a stream.
  ///
  /// - Parameters:
  ///   - range: of the layer's disk.
  ///   - at: where that begins in the stream's decoded bytes.
  func damage(
    of range: Range<UInt64>, layer: Int, in storage: any Storage, at: FileOffset
  ) -> [Damage] {
    let key = ObjectIdentifier(storage)
    guard let stream = streams[key] else { return [] }
    let stored = at.bytes..<at.bytes + UInt64(range.count)
    var result: [Damage] = []
    for (index, fault) in stream.faults.enumerated() where fault.range.overlaps(stored) {
      let part = fault.range.clamped(to: stored)
      found.withLock { $0[key]?[index] += UInt64(part.count) }
      let start = range.lowerBound + (part.lowerBound - stored.lowerBound)
      var damage = Self.damage(fault, in: stream)
      damage.layer = layer
      damage.range = start..<start + UInt64(part.count)
      damage.streamRange = part
      result.append(damage)
    }
    return result
  }

  /// What concerns no byte of the disk, or more than the disk has of it: headers and tables of the image
  /// that is inside, and what containers keep for themselves.
  func notOfTheDisk() -> [Damage] {
    var result: [Damage] = []
    for key in order {
      guard let stream = streams[key], let counts = found.withLock({ $0[key] }) else { continue }
      for (fault, count) in zip(stream.faults, counts)
      where fault.range.isEmpty || count < UInt64(fault.range.count) {
        result.append(Self.damage(fault, in: stream))
      }
    }
    return result
  }

  private static func damage(_ fault: StreamFindings.Fault, in stream: Stream) -> Damage {
    var damage = Damage(fault.kind, reason: fault.error.message)
    damage.path = fault.error.path ?? stream.path
    damage.fileOffset = fault.error.offset
    damage.stream = stream.name
    damage.streamRange = fault.range
    return damage
  }

  /// `error`, which came from reading or decoding what is in `storage`, as damage: where the storage is
  /// decoded, the place that an error of the image inside names is in the decoded bytes.
  func damage(
    _ error: DiskError, layer: Int, range: Range<UInt64>?, in storage: (any Storage)?
  ) -> Damage {
    var damage = Damage(.unreadable, layer: layer, range: range, reason: error.message)
    damage.path = error.path ?? storage?.path
    guard let storage, let stream = streams[ObjectIdentifier(storage)],
      !stream.faults.contains(where: {
        $0.error.message == error.message && $0.error.offset == error.offset
      })
    else {
      damage.fileOffset = error.offset
      return damage
    }
    damage.stream = stream.name
    damage.streamRange = error.offset.map { $0..<$0 }
    return damage
  }

  /// A file's range as the place of damage.
  func place(_ damage: inout Damage, _ storage: any Storage, _ range: Range<UInt64>) {
    damage.path = storage.path
    if let stream = streams[ObjectIdentifier(storage)] {
      damage.stream = stream.name
      damage.streamRange = range
    } else {
      damage.fileOffset = range.lowerBound
      damage.fileLength = UInt64(range.count)
    }
  }
}
