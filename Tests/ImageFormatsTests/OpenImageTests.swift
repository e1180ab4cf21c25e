import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Images as they are opened from the command line: by a path.
@Suite struct OpenImageTests {
  private func withFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
    try HostTools.withFolder { folder in
      try HostTools.write(bytes, to: "\(folder)/disk")
      try body("\(folder)/disk")
    }
  }

  private func complaint(_ path: String, format: String? = nil) throws -> DiskError {
    let error = #expect(throws: DiskError.self) {
      try OpenImage(path: path, options: ImageOptions(format: format))
    }
    return try #require(error)
  }

  private let vhd: VHDBuilder = {
    var builder = VHDBuilder(.fixed, size: 4096)
    builder.blockSize = 4096
    builder.blocks = [0: ImageBytes.pattern(4096, seed: 14)]
    return builder
  }()

  @Test func rawIsSaidToBeSo() throws {
    let content = ImageBytes.pattern(1000, seed: 15)
    try withFile(content) { path in
      let image = try OpenImage(path: path)
      #expect(image.path == path && image.disk.size == 1000 && image.notes.isEmpty)
      #expect(image.remark == "no format's signature was found: read as raw; --format overrides")
      #expect(try image.disk.whole.bytes(at: .start, count: 1000) == content)
      #expect(image.disk.layers[0].description.format == "raw")
      // Said by the user, it needs no saying.
      #expect(try OpenImage(path: path, options: ImageOptions(format: "raw")).remark == nil)
    }
  }

  @Test func formatOverridesTheContent() throws {
    try withFile(vhd.file.bytes) { path in
      let image = try OpenImage(path: path)
      #expect(image.disk.layers[0].description.format == "vhd" && image.disk.size == 4096)
      #expect(image.notes.isEmpty && image.remark == nil)
      for name in ["raw", "IMG"] {
        let raw = try OpenImage(path: path, options: ImageOptions(format: name))
        #expect(raw.disk.size == 4608 && raw.notes.isEmpty && raw.remark == nil)
      }
      #expect(try OpenImage(path: path, options: ImageOptions(format: "vpc")).disk.size == 4096)
    }
    try withFile(ImageBytes.pattern(1000, seed: 16)) { path in
      let error = try complaint(path, format: "vhd")
      #expect(error.kind == .malformed && error.path == path && error.offset == 488)
      #expect(error.message == noFooter)
    }
  }

  @Test func unknownFormatsAreRefusedWithTheKnownOnes() throws {
    try withFile([1]) { path in
      let error = try complaint(path, format: "qcow3")
      #expect(error.kind == .invalidRequest)
      #expect(error.message == "there is no format 'qcow3'; there are \(FormatRegistry.names)")
    }
  }

  @Test func twoFormatsAreAWarning() throws {
    var builder = vhd
    builder.blocks = [0: Array("MComprHD".utf8)]
    try withFile(builder.file.bytes) { path in
      let image = try OpenImage(path: path)
      #expect(image.notes.count == 1 && image.notes[0].contains("also looks like a CHD image"))
      #expect(image.remark == nil)
      #expect(try OpenImage(path: path, options: ImageOptions(format: "vhd")).notes.isEmpty)
    }
  }

  /// A guest wrote a QCOW2 header with a backing file into its raw disk (CVE-2008-2004).
  @Test func aRawDiskThatBecameSomethingElse() throws {
    var builder = QCOW2Builder(size: 65536)
    builder.backing = "/etc/passwd"
    let bytes = builder.file.bytes
    try withFile(bytes) { path in
      let error = try complaint(path)
      #expect(error.kind == .permissionDenied && error.path == path)
      #expect(error.message.hasPrefix("its parent '/etc/passwd' lies outside"))
      let image = try OpenImage(path: path, options: ImageOptions(format: "raw"))
      #expect(try image.disk.whole.bytes(at: .start, count: bytes.count) == bytes)
      #expect(image.disk.files.map(\.path) == [path])
    }
  }

  @Test func whatIsNoImage() throws {
    try withFile([]) { path in
      let empty = try complaint(path)
      #expect("\(empty)" == "\(path): is empty: 0 bytes hold no disk")
      #expect(try complaint(path, format: "vhd").message.hasPrefix("is empty"))
      let missing = try complaint(path + "2")
      #expect("\(missing)" == "\(path)2: cannot open: No such file or directory")
      #expect(missing.kind == .notFound)
      let folder = String(path.dropLast("/disk".count))
      let directory = try complaint(folder)
      #expect("\(directory)" == "\(folder): is a directory; name the image file inside it")
      #expect(try complaint("/dev/null").kind == .invalidRequest)
      #expect(try complaint("").kind == .notFound)
    }
  }

  @Test func aVHDOfNothing() throws {
    var builder = VHDBuilder(.dynamic, size: 0)
    builder.geometry = (0, 0, 0)
    try withFile(builder.file.bytes) { path in
      let error = try complaint(path)
      #expect(error.kind == .malformed && error.message == "holds a virtual disk of 0 bytes")
    }
  }

  /// What the image's path holds does not reach the terminal as it is.
  @Test func pathsArePrintable() throws {
    let error = try complaint("/no\nsuch\u{1B}[31m.vhd")
    #expect(
      "\(error)" == "/no\\x0asuch\\x1b[31m.vhd: cannot open: No such file or directory")
  }

  @Test func aTruncatedImageIsServedUpToItsEnd() throws {
    let content = ImageBytes.pattern(100_000, seed: 17)
    try withFile(content) { path in
      let image = try OpenImage(path: path)
      #expect(truncate(path, 60_000) == 0)
      let window = image.disk.whole
      #expect(try window.bytes(at: .start, count: 60_000) == Array(content[..<60_000]))
      let error = #expect(throws: DiskError.self) {
        try window.bytes(at: DiskOffset(59_999), count: 2)
      }
      #expect(error?.kind == .truncated && error?.path == path && error?.offset == 60_000)
    }
  }
}
