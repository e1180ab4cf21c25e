internal import DiskCore
internal import FileSystems
internal import Synchronization

/// A folder of this machine that things are copied into, held open so that nothing in its path can be
/// changed for something else meanwhile.
///
/// It gets its own mode and times when all is in it: what is made in it would change the one, and the
/// other could forbid that.
final class CopyFolder: Sendable {
  /// For messages.
  let path: String
  /// From the folder that everything is copied into; empty for that one.
  let place: [UInt8]
  /// Files that nothing replaces: those of the image.
  let spared: Set<FileIdentity>
  private let descriptor: OwnedDescriptor
  /// Nil for itself.
  private let top: CopyFolder?
  private let attributes: FileAttributes?
  /// Who still puts something in, and who lists what is to come.
  private let busy = Atomic(1)

  /// The folder that everything is copied into, which stays as it is.
  init(_ descriptor: consuming OwnedDescriptor, path: String, sparing spared: Set<FileIdentity>) {
    self.descriptor = descriptor
    self.path = path
    self.spared = spared
    place = []
    top = nil
    attributes = nil
  }

  /// The copy of one of the image's folders.
  ///
  /// - Parameter name: what it is called; it is made where it does not exist.
  init(_ name: HostName, in folder: CopyFolder, _ attributes: FileAttributes) throws(DiskError) {
    descriptor = try name.makeFolder()
    path = name.path
    place = name.place
    spared = folder.spared
    top = folder.top ?? folder
    self.attributes = attributes
  }

  var number: CInt { descriptor.number }

  /// The descriptor of the folder that everything is copied into.
  var root: CInt { top?.number ?? number }

  /// Somebody will put something in. Each call needs one of `leave`.
  func enter() { busy.add(1, ordering: .relaxed) }

  /// - Throws: what kept the folder from getting its mode or times.
  func leave() throws(DiskError) {
    guard busy.subtract(1, ordering: .acquiringAndReleasing).newValue == 0, let attributes else {
      return
    }
    try KeptAttributes(attributes).set(on: number, path)
  }
}
