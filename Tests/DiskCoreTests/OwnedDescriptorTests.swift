import DiskCore
import Foundation
import TestSupport
import Testing

@Suite struct OwnedDescriptorTests {
  private func realPath(_ path: String) throws -> String {
    try OwnedDescriptor.open(locating: path).realPath()
  }

  private func isRegular(_ path: String) throws -> Bool {
    try OwnedDescriptor.open(locating: path).isRegularFile
  }

  private func complaint(_ path: String) throws -> DiskError {
    let error = #expect(throws: DiskError.self) {
      _ = try OwnedDescriptor.open(locating: path)
    }
    return try #require(error)
  }

  @Test func realPath() throws {
    try HostTools.withFolder { (folder: String) throws in
      let real = URL(fileURLWithPath: folder).resolvingSymlinksInPath().path
      let files = FileManager.default
      try files.createDirectory(atPath: "\(folder)/sub dir", withIntermediateDirectories: true)
      try HostTools.write([1], to: "\(folder)/sub dir/file")
      try files.createSymbolicLink(atPath: "\(folder)/link", withDestinationPath: "sub dir")
      for path in [
        "sub dir/file", "link/file", "link/../sub dir/./file", "sub dir//file",
      ] {
        let found = try OwnedDescriptor.open(locating: "\(folder)/\(path)")
        #expect(try realPath("\(folder)/\(path)") == "\(real)/sub dir/file")
        #expect(try isRegular("\(folder)/\(path)"))
        let again = try FileStorage(adopting: .open(reading: found.procPath), path: path)
        #expect(try again.bytes(at: .start, count: 1) == [1])
      }
      #expect(try realPath("\(folder)/link") == "\(real)/sub dir")
      #expect(try !isRegular("\(folder)/link"))
    }
    #expect(try realPath("/") == "/")
  }

  /// Finding a FIFO or a device does nothing to it: opening this FIFO for reading would wait, and
  /// opening it for writing fails without a reader.
  @Test func findingIsNotOpening() throws {
    try HostTools.withFolder { (folder: String) throws in
      #expect(mkfifo("\(folder)/fifo", 0o600) == 0)
      #expect(try !isRegular("\(folder)/fifo"))
      #expect(open("\(folder)/fifo", O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO)
      #expect(try !isRegular("/dev/null"))
    }
  }

  @Test func whatIsNotThere() throws {
    try HostTools.withFolder { (folder: String) throws in
      try HostTools.write([1], to: "\(folder)/file")
      #expect(symlink("nowhere", "\(folder)/dangling") == 0)
      #expect(symlink("loop", "\(folder)/loop") == 0)
      for path in ["absent", "file/inside", "dangling", String(repeating: "x", count: 300)] {
        #expect(try complaint("\(folder)/\(path)").kind == .notFound, "\(path)")
      }
      #expect(try complaint("\(folder)/\(String(repeating: "x/", count: 3000))").kind == .notFound)
      #expect(try complaint("\(folder)/loop").kind == .inputOutput)
      #expect(try complaint("").kind == .notFound)
    }
  }

  /// Two such folders would have one name in Swift.
  @Test func aFolderThatIsNotUTF8() throws {
    try HostTools.withFolder { (folder: String) throws in
      let path = Array("\(folder)/bad".utf8) + [0xFF, 0]
      let made = path.withUnsafeBytes {
        mkdir($0.baseAddress!.assumingMemoryBound(to: CChar.self), 0o700)
      }
      try #require(made == 0)
      let linked = path.withUnsafeBytes {
        symlink($0.baseAddress!.assumingMemoryBound(to: CChar.self), "\(folder)/link")
      }
      try #require(linked == 0)
      let error = #expect(throws: DiskError.self) { try realPath("\(folder)/link") }
      #expect(error?.kind == .unsupported)
    }
  }

  @Test func identity() throws {
    try HostTools.withFolder { (folder: String) throws in
      try HostTools.write([1], to: "\(folder)/file")
      try HostTools.write([1], to: "\(folder)/other")
      #expect(
        symlink("file", "\(folder)/soft") == 0 && link("\(folder)/file", "\(folder)/hard") == 0)
      func identity(_ name: String) throws -> FileIdentity {
        let file = try FileStorage(path: "\(folder)/\(name)")
        return try #require(file.identity)
      }
      for name in ["file", "soft", "hard"] { #expect(try identity(name) == identity("file")) }
      #expect(try identity("other") != identity("file"))
    }
    #expect(MemoryStorage([1]).identity == nil)
  }
}
