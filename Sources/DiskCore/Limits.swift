/// The bounds that hold for every format. A format's own limits stand beside its parser.
public enum Limits {
  /// No disk is larger than 4 EiB, so that offset plus length never overflows and every offset fits
  /// the kernel's signed `off_t`.
  public static let largestDisk: UInt64 = 1 << 62

  /// The largest piece of metadata that is read at once, whatever an image claims.
  public static let largestMetadataRead = 16 << 20

  /// Tables up to this size are walked to count allocated bytes exactly (DESIGN section 1,
  /// `st_blocks`); beyond it an upper bound is given that reads no table.
  public static let exactlyCountedTables: UInt64 = 16 << 20

  /// How many extents of one disk are looked at in all counts of allocated bytes together, so that
  /// neither a badly fragmented file nor a thousand overlapping partitions can hold up `ls`. Enough
  /// for the largest VHD, full, and its partitions; about a second.
  public static let countedExtents = 1 << 21

  /// How many bytes of a compressed stream are decoded, on the way to a place, for something that can also wait
  /// until somebody asks: the first partition's file system begins within them.
  public static let shortWay: UInt64 = 2 << 20

  /// The memory one lazily read table may keep, in bytes.
  public static let residentTable = 16 << 20

  /// The largest compressed block that is decoded as one, in bytes.
  public static let largestBlock = 16 << 20

  /// How many bytes of decoded blocks an open image keeps, unless the user says otherwise, and what
  /// the user may say at most.
  public static let decodedBlocks = 64 << 20
  public static let largestBlockCache = 1 << 40
}
