import Foundation

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
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"]
    let (standardInput, output, errors) = (Pipe(), Pipe(), Pipe())
    process.standardInput = standardInput
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    standardInput.fileHandleForWriting.write(Data(input.utf8))
    try standardInput.fileHandleForWriting.close()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let complaint = String(
      decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard accepting.contains(process.terminationStatus) else {
      throw Failure(
        description: "\(name) \(arguments.joined(separator: " ")): \(text)\(complaint)")
    }
    return text
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
