internal import DiskCore
internal import Glibc

/// A pipe between this process and a child.
struct Pipe: ~Copyable {
  private let readingEnd: OwnedDescriptor
  /// The end to give to the child.
  let writer: OwnedDescriptor

  init() throws(DiskError) {
    var ends: [CInt] = [-1, -1]
    guard unsafe pipe(&ends) == 0 else {
      throw DiskError(system: errno, "cannot make a pipe")
    }
    // Closed in every child, which gets only what `ChildProcess.Options` lists.
    readingEnd = OwnedDescriptor(adopting: ends[0])
    writer = OwnedDescriptor(adopting: ends[1])
  }

  /// Closes the writing end here, so that reading ends when the child does.
  consuming func reader() -> OwnedDescriptor { readingEnd }
}
