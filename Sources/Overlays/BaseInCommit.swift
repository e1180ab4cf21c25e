internal import Digests
public import DiskCore

// How a base is known again that a commit was writing into when it was interrupted. Of a flat image only
// the bytes that the overlay holds can have changed. In a qcow2 file anything can have: tables, counts,
// where clusters are, its size. So before the first change samples of its *disk* are recorded in place
// of samples of its file, where the overlay holds nothing: there the disk stays as it is.

extension OverlayExtension {
  /// The state's bit 2, with bit 1: the samples of the base's first file are of the base's disk.
  static let diskSamplesMark: UInt64 = 4
}

extension OverlayOnBase {
  /// How the base differs from what was recorded; in the middle of a commit, from what it must still be.
  ///
  /// - Throws: what reading the base throws.
  public func comparison() throws(DiskError) -> BaseComparison {
    var comparison = try recorded.comparison(with: baseFiles)
    if overlay.info.hasDiskSamples, let record = recorded.identity.first {
      comparison.files.removeAll { $0.index == 0 }
      let differences = try record.differences(from: try Disk(layers: baseLayers))
      if !differences.isEmpty, let path = baseFiles.first?.path {
        comparison.files.insert(
          BaseComparison.File(index: 0, path: path, differences: differences), at: 0)
      }
    } else if overlay.info.isMarkedCommitting {
      try forgive(&comparison)
    }
    return comparison
  }
}

// MARK: - Samples of the disk

extension FileIdentityRecord {
  /// As many as a file has of its own, so that they take no more room.
  private static let mostOfDisk: UInt64 = 10
  private static let longestOfDisk: UInt64 = 4096

  /// This record with samples of a disk in place of the file's, evenly from where `overlay` holds
  /// nothing. What cannot be read is left out.
  ///
  /// - Throws: what reading the overlay's tables throws.
  func sampling(
    _ disk: Disk, outside overlay: StoredOverlay
  ) throws(DiskError) -> FileIdentityRecord {
    let all = disk.size - min(disk.size, try overlay.heldBytes().all)
    let step = max(all / Self.mostOfDisk, Self.longestOfDisk)
    var samples: [Sample] = []
    var next: UInt64 = 0
    // How many bytes that are not held lie before.
    var passed: UInt64 = 0
    var end: UInt64 = 0
    func gap(_ range: Range<UInt64>) {
      let length = UInt64(range.count)
      while next < Self.mostOfDisk {
        let place = step * next
        guard place < passed + length else { break }
        let start = range.lowerBound + (place - min(place, passed))
        let count = min(Self.longestOfDisk, range.upperBound - start)
        if let sample = try? Self.sample(of: disk, start, UInt32(count)) { samples.append(sample) }
        next += 1
      }
      passed += length
    }
    try overlay.forEachHeld { (held) throws(DiskError) in
      if end < held.range.lowerBound { gap(end..<held.range.lowerBound) }
      end = held.range.upperBound
    }
    if end < disk.size { gap(end..<disk.size) }
    var record = self
    record.samples = samples
    return record
  }

  /// Where `disk` is not what was sampled.
  func differences(from disk: Disk) throws(DiskError) -> [FileDifference] {
    var found: [FileDifference] = []
    for sample in samples {
      // Past its end there is nothing to compare; its size is looked at elsewhere.
      guard sample.offset <= disk.size, UInt64(sample.length) <= disk.size - sample.offset else {
        continue
      }
      if try Self.sample(of: disk, sample.offset, sample.length) != sample {
        found.append(.content(offset: sample.offset, length: sample.length))
      }
    }
    return found
  }

  private static func sample(
    of disk: Disk, _ offset: UInt64, _ length: UInt32
  ) throws(DiskError) -> Sample {
    guard UInt64(length) <= longestOfDisk else {
      throw DiskError(
        .malformed, "a sample of \(length) bytes of the base's disk; \(longestOfDisk) are the most")
    }
    let bytes = try disk.whole.bytes(at: DiskOffset(offset), count: Int(length))
    return Sample(offset: offset, length: length, digest: try Digest.of(bytes, .sha256))
  }
}

// MARK: - Samples of a flat image

extension OverlayOnBase {
  /// Takes out what an interrupted commit explains: other content where the overlay holds something.
  private func forgive(_ comparison: inout BaseComparison) throws(DiskError) {
    let files = baseFiles
    for index in comparison.files.indices {
      var kept: [FileDifference] = []
      for difference in comparison.files[index].differences {
        if case .content(let offset, let length) = difference,
          try holds(offset..<offset + UInt64(length), of: files[comparison.files[index].index])
        {
          continue
        }
        kept.append(difference)
      }
      comparison.files[index].differences = kept
    }
    comparison.files.removeAll { $0.differences.isEmpty }
  }

  /// Whether the overlay holds a part of the disk that lies in these bytes of the base's file.
  private func holds(_ range: Range<UInt64>, of file: any Storage) throws(DiskError) -> Bool {
    let layer = baseLayers[0]
    var place: UInt64 = 0
    while place < layer.size {
      let extent = try layer.extent(at: DiskOffset(place), limit: layer.size - place)
      let length = min(layer.size - place, max(1, extent.length))
      if case .stored(let storage, let at) = extent.place, storage === file,
        let end = at.adding(length)
      {
        let shared = range.clamped(to: at.bytes..<end.bytes)
        if !shared.isEmpty {
          let start = place + (shared.lowerBound - at.bytes)
          var isHeld = false
          try overlay.forEachHeld(in: start..<start + UInt64(shared.count)) { _ in isHeld = true }
          if isHeld { return true }
        }
      }
      place += length
    }
    return false
  }
}
