public import DiskCore

/// Every format that Platter reads, in the order in which they are tried: first those that are known by
/// their end, whose beginning can be anybody's data. Raw fits anything and comes last.
public enum FormatRegistry {
  public static let formats: [any ImageFormat] = [
    VHDFormat(), DMGFormat(), VHDXFormat(), VMDKFormat(), VDIFormat(), QCOW2Format(), QCOWFormat(),
    QEDFormat(),
    ParallelsFormat(), BochsFormat(), CloopFormat(), CSOFormat(), DAXFormat(),
    RawFormat(),
  ]

  /// Their names, for people.
  public static let names = formats.map(\.name).joined(separator: ", ")

  /// The format called `name`.
  ///
  /// - Throws: `invalidRequest`, listing the names there are.
  public static func format(named name: String) throws(DiskError) -> any ImageFormat {
    for format in formats where ([format.name] + format.aliases).contains(name.lowercased()) {
      return format
    }
    throw DiskError(.invalidRequest, "there is no format '\(printable(name))'; there are \(names)")
  }
}

/// What an image's content looks like.
public struct FormatProbe: Sendable {
  /// The formats of the registry that fit, other than raw, which always does.
  public let fitting: [any ImageFormat]
  /// The name of a format that Platter knows but does not read yet.
  public let recognised: String?

  /// Whether it is an image, read or not: then it is no container, whatever it begins with.
  let isImage: Bool

  public init(_ sample: ImageSample) {
    fitting = FormatRegistry.formats.filter { !($0 is RawFormat) && $0.fits(sample) }
    let unread = UnreadFormat.name(of: sample)
    isImage = unread != nil || !fitting.isEmpty
    let other =
      unread
      ?? ContainerRegistry.container(fitting: sample.head).map { "\($0.name) data" }
    recognised = fitting.contains { $0.startsWithData } ? nil : other
  }

  /// The format to open the image with.
  ///
  /// - Throws: `unsupported` where the image is of a format that Platter knows but does not read:
  ///   showing its raw bytes instead would look like an empty or broken disk.
  public func choice(path: String) throws(DiskError) -> any ImageFormat {
    if let first = fitting.first { return first }
    if let recognised {
      throw DiskError(
        .unsupported,
        "is \(recognised), which this version of Platter does not read; '--format raw' shows its "
          + "bytes as they are stored", path: path)
    }
    return RawFormat()
  }

  /// How the choice was made where it was not plain: for `info`.
  public var remark: String? {
    fitting.isEmpty
      ? "no format's signature was found: read as raw; --format overrides" : warning
  }

  /// What to say to everybody who opens an image that fits more than one format.
  public var warning: String? {
    let others = fitting.dropFirst().map(\.name) + (recognised.map { [$0] } ?? [])
    guard let first = fitting.first, !others.isEmpty else { return nil }
    return "fits more than one format: read as \(first.name), but it also looks like "
      + others.joined(separator: " and ") + "; --format chooses"
  }
}
