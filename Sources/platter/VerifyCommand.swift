internal import ArgumentParser
internal import DiskCore
internal import ImageFormats
internal import MountServer
internal import Partitions
internal import Synchronization

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Read all of an image, check every checksum in it, and list all damage.",
    discussion: """
      Every layer of the chain is read and decoded to its end, whatever the layers above have in its \
      place, and what is around it (gzip, xz, ZIP …). The exit status is 0 where nothing is wrong and 1 \
      where something is. What is listed as "checksum" can be read, but is not what it was, or the \
      checksum is not.

      Example: which parts of the disk cannot be trusted.

        $ platter verify --json disk.dmg | jq -r '.damage[] | "\\(.start) \\(.length)"'
      """)

  @OptionGroup var image: ImageArguments

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let progress = VerifyProgress(image.image)
    defer { progress.end() }
    let verification = try ImageVerification(
      path: image.image, options: image.options, progress: progress)
    let whole = verification.image.disk.whole
    let table = try image.table(of: verification.image)
    let report = VerifyReport(
      verification.image, verification.run(checksums: ("gpt", table.checksums(of: whole))))
    progress.end()
    try Terminal.print(json ? JSON.text(of: report, pretty: true) + "\n" : report.text)
    if !report.clean { throw ExitCode.failure }
  }
}

/// A line for each pass; the next one takes its place.
private final class VerifyProgress: VerificationProgress {
  private let image: String
  private let current = Mutex<Progress?>(nil)

  init(_ image: String) { self.image = printable(image) }

  func begin(_ what: String, of total: UInt64) {
    let progress = Progress(of: total, "verify \(image), \(what)")
    current.withLock { $0 = progress }
  }

  func advance(by count: UInt64) { current.withLock { $0?.advance(by: count) } }

  func end() {
    current.withLock { progress in
      progress?.end()
      progress = nil
    }
  }
}
