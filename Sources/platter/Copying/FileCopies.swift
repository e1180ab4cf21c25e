internal import DiskCore
internal import FileSystems
internal import Glibc

/// Files that go into one folder and are copied by one thread, one after the other: to hand over each
/// alone would cost as much as to copy a small one.
struct FileCopies: Sendable {
  /// As many files or bytes as are worth another thread.
  private static let mostFiles = 32
  private static let mostBytes: UInt64 = 1 << 20
  private struct File: Sendable {
    let item: ItemID
    let attributes: FileAttributes
    let name: HostName
  }

  let folder: CopyFolder
  private let files: FileTree
  private let report: CopyReport
  private let scratches: CopyScratches
  private var waiting: [File] = []
  private var bytes: UInt64 = 0

  init(
    into folder: CopyFolder, of files: FileTree, _ scratches: CopyScratches, _ report: CopyReport
  ) {
    self.folder = folder
    self.files = files
    self.scratches = scratches
    self.report = report
  }

  var isFull: Bool { waiting.count >= Self.mostFiles || bytes >= Self.mostBytes }
  var isEmpty: Bool { waiting.isEmpty }

  mutating func add(_ item: ItemID, _ attributes: FileAttributes, as name: HostName) {
    waiting.append(File(item: item, attributes: attributes, name: name))
    bytes &+= attributes.size
  }

  mutating func removeAll() {
    waiting = []
    bytes = 0
  }

  /// Copies them all, and tells what fails.
  func run() {
    var scratch = scratches.take()
    for file in waiting {
      do throws(DiskError) {
        _ = try Self.copy(
          file.item, file.attributes, of: files, to: file.name, report, &scratch)
      } catch {
        report.tell(error)
      }
    }
    scratches.putBack(scratch)
  }

  /// Copies one file.
  ///
  /// - Returns: what the copy is known by.
  static func copy(
    _ item: ItemID, _ attributes: FileAttributes, of files: FileTree, to name: HostName,
    _ report: CopyReport, _ scratch: inout CopyScratch
  ) throws(DiskError) -> FileIdentity? {
    let content = try files.content(of: item)
    let file = try name.makeFile()
    var end: UInt64 = 0
    // Holes of the image are holes of the copy.
    while end < content.size,
      let data = try content.data(from: DiskOffset(end), &scratch.cursor)
    {
      var place = data.lowerBound
      while place < data.upperBound {
        let count = Int(min(UInt64(scratch.buffer.count), data.upperBound - place))
        var elements = scratch.buffer.mutableSpan
        var bytes = unsafe elements.mutableBytes
        var piece = bytes._mutatingExtracting(0..<count)
        try content.read(at: DiskOffset(place), into: &piece)
        try write(piece.bytes, at: place, to: file.number, name)
        place += UInt64(count)
        report.didCopy(count)
      }
      end = data.upperBound
    }
    // Only at the end: a copy that is broken off is as long as what was written.
    if end < content.size {
      guard ftruncate(file.number, off_t(clamping: content.size)) == 0 else {
        throw DiskError(system: errno, "cannot be written", path: name.path)
      }
    }
    try KeptAttributes(attributes).set(on: file.number, name.path)
    var identity: FileIdentity? = nil
    var status = stat()
    if attributes.links > 1, unsafe fstat(file.number, &status) == 0 {
      identity = FileIdentity(status)
    }
    // Some file systems say only now that there is no room.
    guard close(file.relinquish()) == 0 else {
      throw DiskError(system: errno, "cannot be written", path: name.path)
    }
    return identity
  }

  private static func write(
    _ bytes: RawSpan, at offset: UInt64, to descriptor: CInt, _ name: HostName
  ) throws(DiskError) {
    var failure: CInt = 0
    unsafe bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count, failure == 0 {
        let count = unsafe pwrite(
          descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done,
          off_t(offset) + off_t(done))
        if count >= 0 { done += count } else if errno != EINTR { failure = errno }
      }
    }
    if failure != 0 { throw DiskError(system: failure, "cannot be written", path: name.path) }
  }
}
