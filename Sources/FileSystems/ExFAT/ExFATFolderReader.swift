internal import DiskCore

/// Finds the sets of entries in a folder's bytes, which come piece by piece: a set can begin in one and
/// end in another.
struct ExFATFolderReader {
  /// Where the first entry of the set that is being gathered was, in bytes from the volume's start.
  private var start: UInt64 = 0
  private var gathered: [UInt8] = []
  /// In bytes; 0 between sets.
  private var missing = 0
  /// Of the first set that was damaged and passed over.
  private(set) var damage: DiskError?
  private let path: String

  init(path: String) { self.path = path }

  /// Takes a piece and calls `visit` for each set that is whole in it.
  ///
  /// - Returns: false at the folder's end, or where `visit` does not want more.
  mutating func take(
    _ piece: ByteReader, _ visit: (_ place: UInt64, _ set: ByteReader) throws(DiskError) -> Bool
  ) throws(DiskError) -> Bool {
    for at in stride(from: 0, to: piece.count, by: ExFATEntrySet.entryLength) {
      let kind = try piece.u8(at: at)
      if missing > 0, !ExFATEntrySet.Kind.isSecondary(kind) { interrupt() }
      if missing > 0 {
        gathered += try piece.slice(at: at, count: ExFATEntrySet.entryLength)
        missing -= ExFATEntrySet.entryLength
      } else if kind == ExFATEntrySet.Kind.file {
        start = piece.base + UInt64(at)
        do throws(DiskError) {
          missing = try ExFATEntrySet.length(piece, at: at) - ExFATEntrySet.entryLength
          gathered = Array(try piece.slice(at: at, count: ExFATEntrySet.entryLength))
        } catch {
          note(error)
        }
        continue
      } else if kind == ExFATEntrySet.Kind.end {
        return false
      } else {
        continue
      }
      guard missing == 0 else { continue }
      let set = ByteReader(gathered, path: path, base: start)
      do throws(DiskError) {
        guard try visit(start, set) else { return false }
      } catch {
        note(error)
      }
    }
    return true
  }

  /// What the folder ended in.
  mutating func finish() { if missing > 0 { interrupt() } }

  private mutating func interrupt() {
    missing = 0
    note(
      ExFATEntrySet.damaged(
        ByteReader(gathered, path: path, base: start), at: 0, "is not followed by all of its set"))
  }

  private mutating func note(_ error: DiskError) { if damage == nil { damage = error } }
}
