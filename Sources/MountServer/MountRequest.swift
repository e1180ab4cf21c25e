public import FileSystems
public import ImageFormats

/// What `platter mount` asks for.
public struct MountRequest: Sendable {
  public enum Cache: String, Sendable, CaseIterable {
    /// The kernel's page cache: what emulators and file-system tools need, who read the same blocks
    /// again and map files.
    case kernel
    /// Every read goes to the daemon, in pieces of up to 1 MiB: for those who stream a disk once.
    case none
  }

  /// Where writes go.
  public enum Changes: Sendable, Equatable {
    case refused
    /// Into the image itself.
    case inPlace
    /// Into a file without a name: thrown away with the mount.
    case scratch
    /// Into the qcow2 file at this absolute path, which is made where it does not exist.
    case overlay(String)

    /// As `status.json` says it.
    var name: String {
      switch self {
      case .refused: "refused"
      case .inPlace: "inPlace"
      case .scratch: "scratch"
      case .overlay: "overlay"
      }
    }
  }

  /// Absolute.
  public var image: String
  public var imageOptions: ImageOptions
  /// Absolute: a directory, or a regular file that the disk is shown in place of.
  public var mountPoint: String
  /// Whether that is a regular file.
  public var inPlaceOfFile: Bool
  /// Whether Platter made the mount point and takes it away again.
  public var ownsMountPoint: Bool
  /// In bytes; nil to find out.
  public var sectorSize: UInt64?
  /// Which partition stands in the regular file's place, or whose files are shown; nil for the whole
  /// disk, or the only partition that has any.
  public var partition: Int?
  /// Whether the files inside stand at the root of the mount, in place of disk and partitions.
  public var showsFiles: Bool
  /// How they are read.
  public var fileOptions: FileSystemOptions
  public var cache: Cache
  public var changes: Changes
  /// Whether to read an image that another program writes to.
  public var sharesImage: Bool
  /// Whether to go on with an overlay whose base is not what it was.
  public var forcesBase: Bool
  /// Whether other users, root among them, may look.
  public var allowsOthers: Bool
  /// Whether the supervisor stays with the terminal.
  public var foreground: Bool

  public init(
    image: String, imageOptions: ImageOptions = ImageOptions(), mountPoint: MountPoint,
    sectorSize: UInt64? = nil, partition: Int? = nil, showsFiles: Bool = false,
    fileOptions: FileSystemOptions = FileSystemOptions(),
    cache: Cache = .kernel, changes: Changes = .refused, sharesImage: Bool = false,
    forcesBase: Bool = false,
    allowsOthers: Bool = false, foreground: Bool = false
  ) {
    self.image = image
    self.imageOptions = imageOptions
    self.mountPoint = mountPoint.path
    inPlaceOfFile = mountPoint.kind == .regularFile
    ownsMountPoint = mountPoint.isOwned
    self.sectorSize = sectorSize
    self.partition = partition
    self.showsFiles = showsFiles
    self.fileOptions = fileOptions
    self.cache = cache
    self.changes = changes
    self.sharesImage = sharesImage
    self.forcesBase = forcesBase
    self.allowsOthers = allowsOthers
    self.foreground = foreground
  }
}
