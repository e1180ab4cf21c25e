/// What bounds the work that a partition table, however bad, can cause.
enum PartitionLimits {
  /// The highest number of an MBR partition: Linux keeps 256 numbers a disk for the disk and its
  /// partitions (`DISK_MAX_PARTS`).
  static let highestMBRNumber = 255

  /// How many extended boot records in a row may name no partition, as in Linux's msdos.c.
  static let emptyBootRecords = 100

  /// The largest GPT entry array that is read, in bytes: 8,192 entries where disks have 128. A full
  /// one takes 11 ms.
  static let entryArray: UInt64 = 1 << 20

  /// The largest GPT entry, in bytes. UEFI 2.10 section 5.3.2 allows 128 × 2ⁿ; every tool
  /// writes 128.
  static let entrySize: UInt32 = 4096

  /// How many GPT partitions are kept: eight times what any tool writes without being asked, and
  /// few enough that looking for a file system in each stays quick.
  static let partitions = 1024

  /// How many entries are noted one by one; the rest are counted.
  static let notes = 16
}

/// Notes for a person, few enough to read however bad the table is.
struct PartitionNotes {
  private(set) var lines: [String] = []
  private var untold = 0

  mutating func add(_ line: String) {
    if lines.count < PartitionLimits.notes { lines.append(line) } else { untold += 1 }
  }

  /// The notes, with how many more there were.
  var all: [String] { untold == 0 ? lines : lines + ["and \(untold) more such notes"] }
}
