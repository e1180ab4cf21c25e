public import ArgumentParser
internal import DiskCore
public import FileSystems
internal import ImageFormats
internal import Partitions

/// How the files inside an image are read: what every verb takes that shows them.
struct FileArguments: ParsableArguments {
  @Option(
    help: """
      Which names of an ISO 9660 disc: 'rock-ridge', 'joliet' or 'iso'; the best there are where \
      not given.
      """)
  var isoNames: FileSystemOptions.ISONames?

  @Option(help: "The code page of short names on FAT: 437, 850, 866, 932, …")
  var codePage = 437

  var options: FileSystemOptions { FileSystemOptions(isoNames: isoNames, codePage: codePage) }
}

/// Which file system of an image, for the verbs that look into it without a mount.
struct VolumeArguments: ParsableArguments {
  @OptionGroup var reading: ReadingArguments

  @Option(help: "The partition whose files are meant, where there are several.")
  var partition: Int?

  @OptionGroup var inside: FileArguments

  /// The files inside the image at `path`.
  ///
  /// - Throws: as `OpenImage` and `PartitionTable.readableVolume`.
  func files(of path: String) throws(DiskError) -> FileTree {
    var options = reading.options
    // The file system says where its bytes are: a stream need not be decoded to its end for its size.
    options.needsExactSize = false
    let image = try OpenImage(path: path, options: options)
    let volume = try reading.table(of: image)
      .readableVolume(of: image.disk.whole, partition: partition)
    return FileTree(Volume(volume, options: inside.options))
  }
}

extension FileSystemOptions.ISONames: ExpressibleByArgument {}
