public import ArgumentParser
internal import DiskCore
internal import FileSystems
internal import Glibc
internal import ImageFormats
public import MountServer

struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Show an image's disk and partitions as files.",
    discussion: """
      The mount point is an empty folder, or a regular file that the disk is shown in place of. \
      Without one, a folder is made and its path printed. The image itself is never written to but with --write. What is odd \
      about an image is said on a terminal; 'info' and status.json always have it.

      Examples:

        $ platter mount disk.vhd mnt && ls mnt
        by-label  by-partlabel  by-partuuid  by-uuid  disk  p1  p2  status.json
        $ platter mount --scratch disk.vhd mnt && mkfs.ext4 -F mnt/p2
        $ platter mount --overlay work.qcow2 disk.vhd mnt
        $ platter mount --files debian.iso mnt
        $ touch boot.img && platter mount --partition 1 disk.vhd boot.img
      """)

  @OptionGroup var image: ImageArguments

  @Argument(help: "An empty folder or a regular file; made where not given.")
  var mountPoint: String?

  @Flag(help: "Show the files inside at the root of the mount, in place of disk and partitions.")
  var files = false

  @Option(help: "Show this partition in place of a regular file, or with --files its files.")
  var partition: Int?

  @OptionGroup var inside: FileArguments

  @Option(
    help: """
      'kernel' keeps what was read in the page cache; 'none' hands every read to Platter, which is \
      faster for those who stream a disk once in large pieces.
      """)
  var cache: MountRequest.Cache = .kernel

  @Option(
    help: ArgumentHelp(
      "How many bytes of decoded blocks of a compressed image to keep.", valueName: "bytes"))
  var cacheSize = ByteCount(Limits.decodedBlocks)

  @Option(
    name: .customLong("spill"), defaultAsFlag: ByteCount(Int(SpillSpace.standardSize)),
    help: ArgumentHelp(
      "Keep decoded bytes of gzip, xz, zstd, bzip2, LZ4 or ZIP in a file of at most so many.",
      discussion: """
        Bytes that were decoded once are read from there and not decoded again: for reading at random \
        places of a stream that can only be decoded from its start. The file is in $TMPDIR, has no name \
        and is gone with the mount; when it is full, nothing more goes in.
        """, valueName: "bytes"))
  var spillSize: ByteCount?

  @Flag(help: "Let writes go into the image itself: a raw image, a fixed VHD or a flat VMDK.")
  var write = false

  @Flag(help: "Let writes go into a file of their own, thrown away at unmount.")
  var scratch = false

  @Option(
    help: ArgumentHelp(
      "Let writes go into this qcow2 file, made where it does not exist; the image is not touched.",
      valueName: "file"))
  var overlay: String?

  @Flag(help: "Go on with an overlay although its base is not what it was.")
  var forceBase = false

  @Flag(help: "Show, read-only, an image that another program has open for writing.")
  var forceShare = false

  @Flag(help: "Let other users, root among them, look (needs user_allow_other in /etc/fuse.conf).")
  var allowOther = false

  @Flag(name: .shortAndLong, help: "Stay with the terminal until the mount ends.")
  var foreground = false

  func run() throws {
    if partition != nil, mountPoint == nil, !files {
      throw DiskError(
        .invalidRequest,
        "--partition needs a regular file to stand in the place of; make one with "
          + "'touch' and name it")
    }
    let point = try mountPoint.map { try MountPoint($0) } ?? MountPoint(madeFor: image.image)
    if files, point.kind == .regularFile {
      throw DiskError(
        .invalidRequest, "--files needs a folder to show them in, and this is a file",
        path: point.path)
    }
    if partition != nil, !files, point.kind == .directory {
      throw DiskError(
        .invalidRequest,
        "--partition needs a regular file to stand in the place of, and this is a "
          + "folder", path: point.path)
    }
    // The daemon's folder is not this one.
    var options = image.options
    options.parents = options.parents.map(absolute)
    options.allowedPaths = options.allowedPaths.map(absolute)
    options.cacheSize = cacheSize.bytes
    options.spillSize = spillSize.map { UInt64($0.bytes) }
    // Who only looks need not wait for the end of a compressed stream.
    options.needsExactSize = changes != .refused
    let request = MountRequest(
      image: absolute(image.image), imageOptions: options, mountPoint: point,
      sectorSize: image.sectorSize, partition: partition, showsFiles: files,
      fileOptions: inside.options, cache: cache, changes: changes,
      sharesImage: forceShare, forcesBase: forceBase, allowsOthers: allowOther,
      foreground: foreground)
    if foreground {
      let status = try Launcher.runInForeground(request) { tell($0, point) }
      throw ExitCode(status)
    }
    tell(try Launcher.start(request), point)
  }

  private var changes: MountRequest.Changes {
    if write { return .inPlace }
    if scratch { return .scratch }
    return overlay.map { .overlay(absolute($0)) } ?? .refused
  }

  func validate() throws {
    guard cacheSize.bytes <= Limits.largestBlockCache else {
      throw ValidationError("--cache-size: at most \(Limits.largestBlockCache) bytes")
    }
    guard [write, scratch, overlay != nil].count(where: { $0 }) < 2 else {
      throw ValidationError("--write, --scratch and --overlay are three places: choose one")
    }
    if files, changes != .refused {
      throw ValidationError(
        "--files is for looking only; without it, files/ shows them beside what can be written to")
    }
    if forceShare, changes != .refused {
      throw ValidationError("--force-share is for looking only: it does not go with writing")
    }
    if forceBase, overlay == nil {
      throw ValidationError("--force-base is about the base of an --overlay")
    }
    if image.snapshot != nil, write {
      throw ValidationError("a snapshot cannot be written to; --overlay FILE keeps changes to it")
    }
  }

  private func tell(_ notes: [String], _ point: MountPoint) {
    if Terminal.errorsAreSeen { for note in notes { Terminal.say("note: \(printable(note))") } }
    // The mount is there whether or not its path can be told.
    if point.isOwned { try? Terminal.print(point.path + "\n") }
  }

  private func absolute(_ path: String) -> String {
    guard !path.hasPrefix("/"), let folder = unsafe getcwd(nil, 0) else { return path }
    defer { unsafe free(folder) }
    return unsafe String(cString: folder) + "/" + path
  }
}

extension MountRequest.Cache: ExpressibleByArgument {}
