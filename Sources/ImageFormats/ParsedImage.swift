public import DiskCore

/// What a format's driver made of one image: its layers, and what it says of other images.
public struct ParsedImage: Sendable {
  /// Top first, at least one. More than one where a single image holds a chain of its own.
  public var layers: [any ImageLayer]
  /// The image that this one was made on; nil where it stands alone.
  public var parent: ParentReference?
  /// What children of this image know it by: the values for each `ParentReference.Expectation.what`.
  public var identity: [String: [String]]
  /// Older states that are kept inside the image, oldest first.
  public var snapshots: [InternalSnapshot]

  public init(
    _ layers: [any ImageLayer], parent: ParentReference? = nil, identity: [String: [String]] = [:],
    snapshots: [InternalSnapshot] = []
  ) {
    self.layers = layers
    self.parent = parent
    self.identity = identity
    self.snapshots = snapshots
  }

  public init(_ layer: any ImageLayer) { self.init([layer]) }
}

/// How an image names the one that it was made on.
public struct ParentReference: Sendable {
  /// Something that the parent must be, so that no other image is taken for it.
  public struct Expectation: Sendable {
    /// For `what`, in formats that know no more of the parent: the size of its disk in bytes, which
    /// every image has without saying so in `ParsedImage.identity`.
    public static let sizeInBytes = "size in bytes"

    /// Which of the parent's `ParsedImage.identity`, as people call it: `UUID`, `CID`.
    public let what: String
    /// The parent must have one of these.
    public let accepted: [String]
    /// Whether another value means another image; otherwise it only makes one doubt.
    public let isStrict: Bool

    public init(_ what: String, _ accepted: [String], isStrict: Bool = true) {
      self.what = what
      self.accepted = accepted
      self.isStrict = isStrict
    }
  }

  /// As it stands in the image, for messages.
  public var name: String
  /// Where to look, in order; relative paths start from the folder of the image that names them.
  /// Empty where the image knows no path: the one that meets `expectations` is then looked for among
  /// the files beside it and in the folders that the user allows; only files of `format`, where that
  /// is said.
  public var paths: [String]
  /// Whether the image comes from a system where `Base.VHD` and `base.vhd` are one file.
  public var ignoresCase: Bool
  /// The format that the image says its parent has, a name or alias of the registry; nil where it
  /// does not say.
  public var format: String?
  public var expectations: [Expectation]
  /// Whether the name of a split image's first part stands for all of it, as where a user types it.
  public var joinsParts = false
  /// Why what the image names cannot be opened whatever is there: a network address. Then only a
  /// parent that the user names will do.
  public var obstacle: String?

  public init(
    name: String, paths: [String], ignoresCase: Bool = false, format: String? = nil,
    expectations: [Expectation] = []
  ) {
    self.name = name
    self.paths = paths
    self.ignoresCase = ignoresCase
    self.format = format
    self.expectations = expectations
  }
}

/// An older state of a disk, kept inside its image.
public struct InternalSnapshot: Sendable {
  public let name: String
  /// The format's own number for it.
  public let identifier: String
  /// When it was made, in seconds since 1970; nil where the format does not say.
  public let created: Int?
  /// The layer that stands in the place of the image's top layer; what is below stays.
  public let open: @Sendable () throws(DiskError) -> any ImageLayer

  public init(
    name: String, identifier: String, created: Int? = nil,
    open: @escaping @Sendable () throws(DiskError) -> any ImageLayer
  ) {
    self.name = name
    self.identifier = identifier
    self.created = created
    self.open = open
  }
}
