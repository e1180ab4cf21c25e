import Foundation
import Glibc

/// Programs of the machine that tests run on, as oracles: tests that need one are skipped, saying
/// so, where it is not installed.
public enum HostTools {
  public static func has(_ names: String...) -> Bool { names.allSatisfy { path(of: $0) != nil } }

  public static func path(of name: String) -> String? {
    ["/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"].map { $0 + name }.first {
      FileManager.default.isExecutableFile(atPath: $0)
    }
  }

  public struct Failure: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
  }

  /// Runs a program and gives its standard output.
  ///
  /// - Throws: where it is missing or its exit status is not in `accepting`.
  @discardableResult
  public static func run(
    _ name: String, _ arguments: [String], input: String = "", accepting: Set<Int32> = [0]
  ) throws -> String {
    guard let path = path(of: name) else { throw Failure(description: "\(name) is not installed") }
    return try withFolder { folder in
      try write(Array(input.utf8), to: "\(folder)/input")
      let status = try spawn(path, [name] + arguments, in: folder)
      let text = try read("\(folder)/output")
      guard accepting.contains(status) else {
        throw Failure(
          description: "\(name) \(arguments.joined(separator: " ")): \(text)"
            + (try read("\(folder)/errors")))
      }
      return text
    }
  }

  /// Runs a program with a folder's `input`, `output` and `errors` as its standard streams and gives its
  /// exit status, or 128 and the number of the signal that ended it.
  ///
  /// By hand and through files: Foundation's `Process` ends the tests where a program does not read its input to
  /// the end, and hangs where both of its outputs are long.
  private static func spawn(_ path: String, _ arguments: [String], in folder: String) throws
    -> Int32
  {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "\(folder)/input", O_RDONLY, 0)
    for (number, name) in [(Int32(1), "output"), (2, "errors")] {
      posix_spawn_file_actions_addopen(
        &actions, number, "\(folder)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    func terminated(_ words: [String]) -> [UnsafeMutablePointer<CChar>?] {
      var copies: [UnsafeMutablePointer<CChar>?] = []
      for word in words { copies.append(strdup(word)) }
      return copies + [nil]
    }
    var words = terminated(arguments)
    var environment = terminated(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"])
    defer { for word in words + environment { free(word) } }
    var process: pid_t = 0
    let failure = posix_spawn(&process, path, &actions, nil, &words, &environment)
    guard failure == 0 else {
      throw Failure(description: "\(path): \(String(cString: strerror(failure)))")
    }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 {
      guard errno == EINTR else {
        throw Failure(description: "\(path): \(String(cString: strerror(errno)))")
      }
    }
    let signal = status & 0x7F
    return signal == 0 ? status >> 8 & 0xFF : 128 + signal
  }

  private static func read(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
  }

  /// What `blkid` finds in a file; empty where it finds nothing or cannot choose.
  public static func blkid(_ file: String) throws -> [String: String] {
    var values: [String: String] = [:]
    for name in ["TYPE", "LABEL", "UUID", "LABEL_FATBOOT"] {
      // 2: nothing found; 8: several found.
      var text = try run(
        "blkid", ["-p", "-o", "value", "-s", name, file], accepting: [0, 2, 8])
      if text.last == "\n" { text.removeLast() }
      if !text.isEmpty { values[name] = text }
    }
    return values
  }

  /// A folder of its own, gone when `body` is done.
  public static func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "platter-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder.path)
  }

  /// A file of `size` bytes, all hole.
  public static func makeFile(_ path: String, size: UInt64) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil) else {
      throw Failure(description: "\(path) cannot be made")
    }
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try file.truncate(atOffset: size)
    try file.close()
  }

  public static func write(_ bytes: [UInt8], to path: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
  }
}

/// Real images that other projects made; not part of this repository.
public enum SharedImages {
  /// `$PLATTER_SHARED/images`, or `shared/images` beside the checkout; nil where there is none.
  public static let folder: String? = {
    var candidates: [String] = []
    if let named = ProcessInfo.processInfo.environment["PLATTER_SHARED"] {
      candidates.append(named + "/images")
    }
    var place = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
    while place.path != "/" {
      place.deleteLastPathComponent()
      candidates.append(place.appendingPathComponent("shared/images").path)
    }
    return candidates.first { FileManager.default.fileExists(atPath: $0 + "/EXPECTED.tsv") }
  }()

  public static var exist: Bool { folder != nil }
}
