public import ArgumentParser
public import FileSystems

/// How the files inside an image are read: what every verb takes that shows them.
struct FileArguments: ParsableArguments {
  @Option(
    help: """
      Which names of an ISO 9660 disc: 'rock-ridge', 'joliet' or 'iso'; the best there are where \
      not given.
      """)
  var isoNames: FileSystemOptions.ISONames?

  @Option(help: "The code page of short names on FAT: 437, 850, 866, …")
  var codePage = 437

  var options: FileSystemOptions { FileSystemOptions(isoNames: isoNames, codePage: codePage) }
}

extension FileSystemOptions.ISONames: ExpressibleByArgument {}
