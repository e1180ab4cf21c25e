internal import ArgumentParser
internal import DiskCore
internal import ImageFormats
internal import Partitions

/// The image and how to read it: what every verb that opens one takes.
struct ImageArguments: ParsableArguments {
  @Argument(help: "The disk image, a block device, or the first part of a split image.")
  var image: String

  @OptionGroup var reading: ReadingArguments

  var snapshot: String? { reading.snapshot }
  var sectorSize: UInt64? { reading.sectorSize }
  var options: ImageOptions { reading.options }

  func open() throws(DiskError) -> OpenImage { try reading.open(image) }

  func table(of image: OpenImage) throws(DiskError) -> PartitionTable {
    try reading.table(of: image)
  }

  /// The whole disk, or one partition of it.
  ///
  /// - Throws: `notFound` for a partition that does not exist, naming those that do.
  func window(_ partition: Int?) throws(DiskError) -> Window {
    let image = try open()
    guard let partition else { return image.disk.whole }
    return try image.disk.whole.window(of: try table(of: image).partition(partition))
  }
}

/// How an image is read.
struct ReadingArguments: ParsableArguments {
  @Option(help: "The image's format (\(FormatRegistry.names)); found by content where not given.")
  var format: String?

  @Option(help: "Show this snapshot, or this image of the chain, in place of the disk.")
  var snapshot: String?

  @Option(
    name: .customLong("parent"),
    help: ArgumentHelp(
      "Use this image in place of the parent that the image names; again for that one's parent.",
      valueName: "file"))
  var parents: [String] = []

  @OptionGroup var folders: FolderArguments

  @Option(
    name: .customLong("sector-size"),
    help: "Bytes in a sector, 512 to 4096; found by looking where not given.")
  var sectorSize: UInt64?

  var options: ImageOptions {
    ImageOptions(
      format: format, parents: parents, allowedPaths: folders.allowed, snapshot: snapshot)
  }

  func open(_ image: String) throws(DiskError) -> OpenImage {
    try OpenImage(path: image, options: options)
  }

  func table(of image: OpenImage) throws(DiskError) -> PartitionTable {
    try PartitionTable.read(from: image.disk.whole, sectorSize: sectorSize)
  }
}

/// Where images may name files: what every verb takes that opens an image by another's word.
struct FolderArguments: ParsableArguments {
  @Option(
    name: .customLong("allow-path"),
    help: ArgumentHelp(
      "Let images name files in this folder too, besides their own folder and those below it.",
      valueName: "dir"))
  var allowed: [String] = []
}
