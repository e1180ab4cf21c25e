internal import DiskCore

/// Where an entry of a grain directory or a grain table leads.
enum VMDKPlace: Sendable, Equatable {
  /// Nothing was ever written: the parent's, else zeros.
  case none
  /// Zeros, whatever the parent has.
  case zero
  case at(FileOffset)
  /// It leads nowhere; why.
  case damaged(DiskError.Kind, String)
}

/// How one kind of sparse extent writes the entries of its tables.
protocol VMDKGrainScheme: Sendable {
  associatedtype Entry: FixedWidthInteger & UnsignedInteger & BitwiseCopyable & Sendable

  /// The grain table that an entry of the grain directory leads to.
  func table(_ entry: Entry) -> VMDKPlace

  /// The grain that an entry of a grain table leads to.
  func grain(_ entry: Entry) -> VMDKPlace
}

/// Sector numbers in 32 bits: hosted sparse, stream-optimized and ESX Server sparse extents.
struct VMDKSectorScheme: VMDKGrainScheme {
  /// Whether 1 stands for a grain of zeros (Virtual Disk Format 5.0, "Hosted Sparse Extents",
  /// zeroed-grain entries; flag bit 2).
  let hasZeroGrains: Bool

  func table(_ entry: UInt32) -> VMDKPlace {
    entry == 0 ? .none : .at(FileOffset(UInt64(entry) * VMDK.sectorBytes))
  }

  func grain(_ entry: UInt32) -> VMDKPlace {
    hasZeroGrains && entry == 1 ? .zero : table(entry)
  }
}

/// What a sparse extent's header says of its grains, checked.
struct VMDKGeometry: Sendable {
  /// Of the extent as the disk sees it, in bytes.
  let size: UInt64
  /// At least one sector.
  let grainBytes: UInt64
  /// At least 1.
  let entriesPerTable: Int
  let directory: FileOffset
  /// The redundant grain directory, whose tables are copies.
  var redundantDirectory: FileOffset? = nil
  /// The parts of the file that hold its own structures, where no grain can be.
  var structures: [Range<UInt64>]
  /// In a child, what was never written is the parent's.
  let hasParent: Bool

  /// How many bytes of the disk one grain table is for.
  var tableCoverage: UInt64 { grainBytes * UInt64(entriesPerTable) }

  var tableCount: Int { Int((size + tableCoverage - 1) / tableCoverage) }
}
