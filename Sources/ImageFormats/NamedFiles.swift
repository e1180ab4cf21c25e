public import DiskCore
internal import Glibc

/// The files that an image may name: regular files in the folder of the image that the user typed, in
/// folders below it, and where `--allow-path` says (DESIGN section 6).
///
/// What counts is where the file really is. A link inside the folder that leads out of it is refused,
/// and so is whatever is no regular file, before it is opened.
public struct NamedFiles: Sendable {
  /// Real paths.
  private let roots: [String]
  /// The folders that relative names start from, for the image that the user typed: as typed, and
  /// where a link leads.
  private let homes: [String]
  private let image: String?

  /// For an image that has no folder: every named file is refused.
  public static let none = NamedFiles()

  private init() {
    roots = []
    homes = []
    image = nil
  }

  /// - Parameters:
  ///   - path: of the image that the user typed.
  ///   - allowed: folders that the user allows besides its own.
  /// - Throws: where a folder that the user allows does not exist.
  public init(image path: String, allowed: [String]) throws(DiskError) {
    let typed = PathParts(path).folder
    var homes = [typed]
    var roots: [String] = []
    if let real = try? OwnedDescriptor.open(locating: typed).realPath() { roots.append(real) }
    if let real = try? OwnedDescriptor.open(locating: path).realPath() {
      let folder = PathParts(real).folder
      if !roots.contains(folder) {
        roots.append(folder)
        homes.append(folder)
      }
    }
    for folder in allowed { roots.append(try OwnedDescriptor.open(locating: folder).realPath()) }
    self.roots = roots
    self.homes = homes
    image = path
  }

  /// Opens the file called `name`.
  ///
  /// - Parameters:
  ///   - name: absolute, or from the folder of `image`.
  ///   - image: the path of the image that names it.
  ///   - role: what it is to that image, for messages: `backing file`.
  ///   - ignoringCase: whether a file whose name differs in case will do.
  /// - Throws: `notFound`; `permissionDenied` for a file outside the folders, naming the option that
  ///   allows it; `invalidRequest` for what is no regular file.
  public func open(
    _ name: String, namedBy image: String, as role: String, ignoringCase: Bool = false
  ) throws(DiskError) -> FileStorage {
    var missing: DiskError? = nil
    for path in paths(of: name, namedBy: image) {
      for path in [path] + (ignoringCase ? Self.others(like: path) : []) {
        do throws(DiskError) {
          return try open(path: path, name, namedBy: image, as: role)
        } catch  where error.kind == .notFound {
          missing = missing ?? error
        }
      }
    }
    throw DiskError(
      .notFound, "its \(role) '\(printable(name))' was not found", path: image,
      underlying: missing)
  }

  /// Where `name` is looked for.
  func paths(of name: String, namedBy image: String) -> [String] {
    if name.utf8.first == UInt8(ascii: "/") { return [name] }
    return startingFolders(of: image).map { PathParts.join($0, name) }
  }

  /// Where relative names in `image` start from.
  func startingFolders(of image: String) -> [String] {
    image == self.image ? homes : [PathParts(image).folder]
  }

  /// The folders that hold what `image` may name, without those below them: its own first.
  func folders(of image: String) -> [String] {
    let own = PathParts(image).folder
    let real = try? OwnedDescriptor.open(locating: own).realPath()
    return [own] + roots.filter { $0 != real }
  }

  private func open(
    path: String, _ name: String, namedBy image: String, as role: String
  ) throws(DiskError) -> FileStorage {
    guard !path.utf8.contains(0) else {
      throw DiskError(.malformed, "its \(role) has a name with a NUL byte in it", path: image)
    }
    let found = try OwnedDescriptor.open(locating: path)
    // Before what it may be: no option opens it.
    guard found.isRegularFile else {
      throw DiskError(
        .invalidRequest, "its \(role) '\(printable(name))' is not a regular file", path: image)
    }
    let real = try found.realPath()
    guard roots.contains(where: { Self.isInside($0, real) }) else {
      let folders = roots.isEmpty ? "any folder" : printable(roots.joined(separator: ", "))
      throw DiskError(
        .permissionDenied,
        "its \(role) '\(printable(name))' lies outside \(folders); --allow-path "
          + "\(shellWord(PathParts(real).folder)) opens it", path: image)
    }
    do throws(DiskError) {
      return try FileStorage(
        adopting: OwnedDescriptor.open(reading: found.procPath), path: path)
    } catch {
      throw DiskError(
        error.kind, error.message, path: path, systemError: error.systemError)
    }
  }

  private static func isInside(_ root: String, _ path: String) -> Bool {
    root == "/" || path == root || path.utf8.starts(with: root.utf8 + [UInt8(ascii: "/")])
  }

  /// Files in the same folder whose names differ from this one's in case only.
  private static func others(like path: String) -> [String] {
    let wanted = PathParts(path)
    let name = wanted.name.lowercased()
    return FolderListing.names(in: wanted.folder)
      .filter { $0.lowercased() == name && $0 != wanted.name }.sorted()
      .map { PathParts.join(wanted.folder, $0) }
  }
}
