/// Something that is wrong with an image, and where.
public struct Damage: Sendable {
  public enum Kind: String, Sendable {
    /// These bytes cannot be had.
    case unreadable
    /// They can be read, but do not have the checksum that is recorded of them.
    case checksum
  }

  public var kind: Kind
  /// Which of the chain's layers it is in, 0 for the top one; nil for what is around the image.
  public var layer: Int?
  /// Of that layer's disk, in bytes; nil where no byte of the disk is known to be concerned.
  public var range: Range<UInt64>?
  /// The stored file, and where in it the damage is, or what a wrong checksum is of begins.
  public var path: String?
  public var fileOffset: UInt64?
  /// How long what the checksum is of is in the file; nil where that is not known.
  public var fileLength: UInt64?
  /// The container in whose decoded bytes `streamRange` is: `gzip`.
  public var stream: String?
  /// Where in the decoded bytes; without an end that is known where it is empty.
  public var streamRange: Range<UInt64>?
  /// One sentence.
  public var reason: String
  /// How many damaged blocks, one after the other, this stands for: the file's place and the reason are
  /// the first one's.
  public var count = 1

  init(_ kind: Kind, layer: Int? = nil, range: Range<UInt64>? = nil, reason: String) {
    self.kind = kind
    self.layer = layer
    self.range = range
    self.reason = reason
  }

  /// Whether `next` goes on where this ends.
  fileprivate func joins(_ next: Damage) -> Bool {
    guard kind == .unreadable, next.kind == .unreadable, layer == next.layer, path == next.path,
      let range, let other = next.range
    else { return false }
    return range.upperBound == other.lowerBound
  }

  /// In the order in which people are told: by layer and place, what is not of the disk last.
  fileprivate static func isBefore(_ a: Damage, _ b: Damage) -> Bool {
    func key(_ damage: Damage) -> (Int, UInt64, UInt64) {
      let place = damage.range ?? damage.streamRange
      return (
        damage.range == nil ? .max : damage.layer ?? 0, place?.lowerBound ?? 0,
        damage.fileOffset ?? 0
      )
    }
    return key(a) < key(b)
  }
}

/// Damage in order, neighbours joined, no more than `Verification.mostListed`.
struct DamageList: Sendable {
  private(set) var all: [Damage] = []
  /// How many more there were.
  private(set) var unlisted = 0

  mutating func add(_ damage: Damage) {
    var low = 0
    var high = all.count
    while low < high {
      let middle = (low + high) / 2
      if Damage.isBefore(damage, all[middle]) { high = middle } else { low = middle + 1 }
    }
    if low > 0, join(low - 1, damage) {
      if low < all.count, join(low - 1, all[low]) { all.remove(at: low) }
    } else if low < all.count, damage.joins(all[low]) {
      var joined = damage
      joined.take(all[low])
      all[low] = joined
    } else if all.count < Verification.mostListed {
      all.insert(damage, at: low)
    } else {
      unlisted += 1
    }
  }

  mutating func addUnlisted(_ count: Int) { unlisted += count }

  private mutating func join(_ index: Int, _ next: Damage) -> Bool {
    guard all[index].joins(next) else { return false }
    all[index].take(next)
    return true
  }
}

extension Damage {
  fileprivate mutating func take(_ next: Damage) {
    guard let range, let other = next.range else { return }
    self.range = range.lowerBound..<other.upperBound
    count += next.count
  }
}
