public import ArgumentParser
public import Digests
internal import DiskCore

struct HashCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hash",
    abstract: "Print a digest of the virtual disk, or of a partition.",
    discussion: """
      The digest is of the disk's content: a raw image and a VHD of the same disk have the same one, \
      and sha256sum of mnt/disk gives it too.

      Example:

        $ platter hash disk.vhd
        9f2c…  disk.vhd
      """)

  @OptionGroup var image: ImageArguments

  @Option(help: "This partition only.")
  var partition: Int?

  @Option(help: "sha256, sha1 or md5; may be given more than once.")
  var algorithm: [Digest.Algorithm] = [.sha256]

  func run() throws {
    let window = try image.window(partition)
    let digests = try algorithm.map { try Digest($0) }
    try read(window) { piece in
      for digest in digests { digest.update(piece) }
    }
    for digest in digests {
      let text = digest.finish().map { hexadecimal($0) }.joined()
      let name = printable(image.image)
      let tag = digest.algorithm.rawValue.uppercased()
      try Terminal.print(
        digests.count == 1 ? "\(text)  \(name)\n" : "\(tag) (\(name)) = \(text)\n")
    }
  }

  /// Shows how far it is, and clears that line again however it ends.
  private func read(
    _ window: Window, _ consume: (RawSpan) -> Void
  ) throws(DiskError) {
    var progress = Progress(of: window.size, "hash \(printable(image.image))")
    defer { progress.end() }
    try window.stream { (piece) throws(DiskError) in
      consume(piece)
      progress.advance(by: UInt64(piece.byteCount))
    }
  }
}

extension Digest.Algorithm: ExpressibleByArgument {}
