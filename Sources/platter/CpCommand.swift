internal import ArgumentParser
internal import DiskCore
internal import FileSystems
internal import Glibc

struct CpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cp",
    abstract: "Copy files and folders out of an image.",
    usage: "platter cp [<options>] <image:path> ... <destination>",
    discussion: """
      Folders are copied with all that is in them; times and modes are kept, owners too where root \
      copies. Links are copied as links. Into a folder that exists things go under their own name.

      Examples:

        $ platter cp debian.iso:/boot/grub .
        $ platter cp dos.img.gz:AUTOEXEC.BAT autoexec.txt
        $ platter cp --partition 1 disk.vhd:/ everything
      """)

  @Argument(
    help: """
      What to copy, each an image, a colon and a path inside it; and at the end where to: a folder \
      that exists, or the copy's own path.
      """)
  var paths: [String]

  @OptionGroup var volume: VolumeArguments

  func run() throws {
    let sources = paths.dropLast()
    guard let destination = paths.last else { return }
    var failures = 0
    for source in sources {
      let (image, path) = try Self.parts(of: source)
      let files = try volume.files(of: image)
      let item = try files.item(at: FileName(path), followsLast: false)
      let isFolder = try files.attributes(of: item).kind == .folder
      let own = files.volume.storage.parts.flatMap(\.parts).compactMap(\.identity)
      let place = try CopyPlace(
        destination, name: PathParts(path).name, isFolder: isFolder,
        mustBeFolder: sources.count > 1, sparing: Set(own))
      var copy = TreeCopy(files, item, title: "cp \(printable(source))")
      failures += copy.run(to: place)
    }
    if failures > 0 { throw ExitCode(1) }
  }

  func validate() throws {
    guard paths.count > 1 else {
      throw ValidationError("say what to copy, as in disk.iso:/boot, and where to")
    }
  }

  /// Image and path. Of several colons the first counts before which there is a file's name.
  private static func parts(of source: String) throws(DiskError) -> (image: String, path: String) {
    let bytes = Array(source.utf8)
    for place in bytes.indices where bytes[place] == UInt8(ascii: ":") {
      let image = String(decoding: bytes[..<place], as: UTF8.self)
      if unsafe access(image, F_OK) == 0 {
        return (image, String(decoding: bytes[(place + 1)...], as: UTF8.self))
      }
    }
    throw DiskError(
      .invalidRequest, "is not an image, a colon and a path inside it, as in disk.iso:/boot",
      path: source)
  }
}
