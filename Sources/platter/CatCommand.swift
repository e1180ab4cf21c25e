internal import ArgumentParser
internal import DiskCore

struct CatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cat",
    abstract: "Write the raw bytes of a disk or a partition to standard output.",
    discussion: """
      Example: copy the second partition of a VHD into a file.

        $ platter cat disk.vhd --partition 2 > root.img
      """)

  @OptionGroup var image: ImageArguments

  @Option(help: "This partition only.")
  var partition: Int?

  func run() throws {
    guard !Terminal.outputIsSeen else {
      throw DiskError(
        .invalidRequest, "raw bytes would garble the terminal; send the output to a file or a pipe")
    }
    let window = try image.window(partition)
    try window.stream { (piece) throws(DiskError) in try Terminal.write(piece, to: 1) }
  }
}
