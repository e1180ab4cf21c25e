public import DiskCore

/// Goes through an image, all that it stands on and all that is around it.
public struct ImageVerification: Sendable {
  public let image: OpenImage
  private let verification: Verification
  private var streams: [StreamFindings] = []

  /// Opens the image at `path`, and goes through the streams around it and its parents: only then is it
  /// certain how large they are.
  ///
  /// - Throws: as `OpenImage`: where an image is too damaged to be opened, that is what is wrong with it.
  public init(
    path: String, options: ImageOptions, progress: any VerificationProgress
  ) throws(DiskError) {
    verification = Verification(progress: progress)
    var options = options
    options.needsExactSize = false
    options.indexFolder = nil
    var image = try OpenImage(path: path, options: options)
    var depths: [String: Int] = [:]
    var isOtherwise = false
    for container in image.containers {
      let findings = verification.verify(container.stream)
      streams.append(findings)
      // Containers around one file come one behind the other, the outermost first.
      let depth = depths[container.path, default: 0]
      depths[container.path] = depth + 1
      if let end = findings.end, end != container.size {
        options.knownSizes[container.path, default: [:]][depth] = end
        isOtherwise = true
      }
    }
    if isOtherwise { image = try OpenImage(path: path, options: options) }
    self.image = image
  }

  /// Goes through every layer.
  ///
  /// - Parameter checksums: what is recorded in the disk itself, and by what.
  public func run(
    checksums: (of: String, all: [RecordedChecksum]) = ("", [])
  ) -> VerificationReport {
    verification.verify(
      image.disk, streams: zip(image.containers.map(\.stream), streams).map { ($0, $1) },
      checksums: checksums)
    return verification.report
  }
}
