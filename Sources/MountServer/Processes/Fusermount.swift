internal import CPosix
internal import DiskCore
internal import Glibc

/// libfuse's setuid helper, which is all that mounting as an ordinary user needs.
enum Fusermount {
  private static let program = "fusermount3"

  /// Mounts at `mountPoint` and returns the open /dev/fuse descriptor.
  ///
  /// - Parameter source: what the mount table calls the mounted thing.
  /// - Throws: `unavailable` where the machine lacks something, saying what; otherwise what
  ///   fusermount3 said.
  static func mount(
    _ mountPoint: String, source: String, readOnly: Bool, allowsOthers: Bool
  ) throws(DiskError) -> OwnedDescriptor {
    try requireDevice()
    let (ours, theirs) = try Channel.streamPair()
    let channel = OwnedDescriptor(adopting: ours)
    var options = [
      readOnly ? "ro" : "rw", "nosuid", "nodev", "default_permissions", "subtype=platter",
    ]
    if allowsOthers { options.append("allow_other") }
    options.append("fsname=" + escaped(source))
    let run = try start(["-o", options.joined(separator: ","), "--", mountPoint], passing: theirs)
    close(theirs)
    let words = DescriptorText.readAll(run.errors.number)
    var descriptor: CInt = -1
    var byte: UInt8 = 0
    let count = unsafe platter_receive(channel.number, &byte, 1, &descriptor)
    let status = ChildProcess.wait(for: run.pid)
    guard status == 0, count >= 0, descriptor >= 0 else {
      if descriptor >= 0 { close(descriptor) }
      // It can be killed between mounting and telling.
      if MountTable.isDead(mountPoint) { try? unmount(mountPoint, lazily: true) }
      throw explain(words, mountPoint)
    }
    return OwnedDescriptor(adopting: descriptor)
  }

  /// Unmounts what is at `mountPoint`.
  ///
  /// - Parameter lazily: detach it even while somebody uses it.
  /// - Throws: `busy` where somebody does; otherwise what fusermount3 said.
  static func unmount(_ mountPoint: String, lazily: Bool) throws(DiskError) {
    let run = try start((lazily ? ["-u", "-z"] : ["-u"]) + ["--", mountPoint], passing: nil)
    let words = DescriptorText.readAll(run.errors.number)
    guard ChildProcess.wait(for: run.pid) == 0 else { throw explain(words, mountPoint) }
  }

  private struct Run: ~Copyable {
    let pid: pid_t
    /// What the program writes to its standard error.
    let errors: OwnedDescriptor
  }

  /// Descriptor 3 is where the helper sends the open device, as `_FUSE_COMMFD` tells it.
  private static func start(
    _ arguments: [String], passing socket: CInt?
  ) throws(DiskError) -> Run {
    let pipe = try Pipe()
    var options = ChildProcess.Options(descriptors: [nil, nil, pipe.writer.number])
    if let socket {
      options.descriptors.append(socket)
      options.environment = [("_FUSE_COMMFD", "3")]
    }
    do throws(DiskError) {
      let pid = try ChildProcess.start(program, arguments, options)
      return Run(pid: pid, errors: pipe.reader())
    } catch {
      guard error.kind == .notFound else { throw error }
      throw DiskError(
        .unavailable, "fusermount3 is not installed; on Debian and Ubuntu: apt install fuse3")
    }
  }

  /// The commonest trouble of a machine that never mounted anything, named before fusermount3 does
  /// it in fewer words.
  private static func requireDevice() throws(DiskError) {
    let device = "/dev/fuse"
    guard unsafe access(device, R_OK | W_OK) != 0 else { return }
    throw errno == ENOENT
      ? DiskError(
        .unavailable,
        "there is no /dev/fuse: load the module (modprobe fuse), or in a container "
          + "pass the device in (--device /dev/fuse)")
      : DiskError(
        .permissionDenied,
        "/dev/fuse cannot be opened for reading and writing: its mode should be "
          + "0666 (chmod 0666 /dev/fuse as root)")
  }

  /// A backslash and a comma would end an option early.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      if scalar == "\\" || scalar == "," { result += "\\" }
      result.unicodeScalars.append(scalar)
    }
    return result
  }

  private static func explain(_ words: String, _ mountPoint: String) -> DiskError {
    var line = words.split(separator: "\n").first.map(String.init) ?? "failed without a word"
    if line.hasPrefix("\(program): ") { line.removeFirst(program.count + 2) }
    if line.hasPrefix("option allow_other only allowed") {
      return DiskError(
        .permissionDenied, "--allow-other needs the line 'user_allow_other' in /etc/fuse.conf")
    }
    let isBusy = line.hasSuffix("busy")
    return DiskError(isBusy ? .busy : .inputOutput, "\(program): \(line)", path: mountPoint)
  }
}
