public import ArgumentParser
public import Digests
internal import DiskCore

struct HashCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hash",
    abstract: "Print a digest of the virtual disk, or of a partition.",
    discussion: """
      The digest is of the disk's content: a raw image and a VHD of the same disk have the same one. \
      The output can be checked with sha256sum --check against mnt/disk.

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
    var progress = Progress(of: window.size, "hash \(printable(image.image))")
    try window.stream { (piece) throws(DiskError) in
      for digest in digests { digest.update(piece) }
      progress.advance(by: UInt64(piece.byteCount))
    }
    progress.end()
    for digest in digests {
      let text = digest.finish().map { hexadecimal($0) }.joined()
      let name = printable(image.image)
      let tag = digest.algorithm.rawValue.uppercased()
      print(digests.count == 1 ? "\(text)  \(name)" : "\(tag) (\(name)) = \(text)")
    }
  }
}

extension Digest.Algorithm: ExpressibleByArgument {}
