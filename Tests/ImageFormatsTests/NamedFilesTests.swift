import DiskCore
import Foundation
import TestSupport
import Testing

@testable import ImageFormats

/// Which files an image may name, and what is said of the others.
@Suite struct NamedFilesTests {
  /// A folder with an image in `vm`, files around it, and all ways out of it.
  private func withTree(_ body: (String) throws -> Void) throws {
    try HostTools.withFolder { folder in
      let files = FileManager.default
      let root = URL(fileURLWithPath: folder).resolvingSymlinksInPath().path
      for name in ["vm/sub/deeper", "vm2", "elsewhere"] {
        try files.createDirectory(atPath: "\(root)/\(name)", withIntermediateDirectories: true)
      }
      for name in ["vm/top", "vm/base", "vm/sub/low", "vm2/near", "elsewhere/secret", "outer"] {
        try HostTools.write(Array(name.utf8), to: "\(root)/\(name)")
      }
      for (name, target) in [
        ("vm/out", "../elsewhere/secret"), ("vm/outFolder", "../elsewhere"),
        ("vm/inside", "sub/low"), ("vm/dangling", "nowhere"), ("vm/round", "round"),
        ("vm/device", "/dev/null"), ("elsewhere/image", "../vm/top"), ("vmLink", "vm"),
      ] {
        try files.createSymbolicLink(atPath: "\(root)/\(name)", withDestinationPath: target)
      }
      try #require(mkfifo("\(root)/vm/fifo", 0o600) == 0)
      try body(root)
    }
  }

  private func content(
    _ name: String, image: String, by namer: String? = nil, allowed: [String] = [],
    ignoringCase: Bool = false
  ) throws -> String {
    let file = try NamedFiles(image: image, allowed: allowed).open(
      name, namedBy: namer ?? image, as: "extent", ignoringCase: ignoringCase)
    return String(decoding: try file.bytes(at: .start, count: Int(file.size)), as: UTF8.self)
  }

  private func complaint(
    _ name: String, image: String, by namer: String? = nil, allowed: [String] = []
  ) throws -> DiskError {
    let error = #expect(throws: DiskError.self, "\(name)") {
      try content(name, image: image, by: namer, allowed: allowed)
    }
    #expect(error?.path == namer ?? image, "\(name)")
    return try #require(error)
  }

  @Test func theImagesOwnFolderAndThoseBelow() throws {
    try withTree { root in
      for (name, expected) in [
        ("base", "vm/base"), ("./base", "vm/base"), ("sub/low", "vm/sub/low"),
        ("sub/../base", "vm/base"), ("sub/deeper/../low", "vm/sub/low"), ("inside", "vm/sub/low"),
        ("../vm/base", "vm/base"), ("\(root)/vm/base", "vm/base"),
        ("\(root)/vm/sub//low", "vm/sub/low"), ("\(root)/vmLink/base", "vm/base"),
      ] {
        let found = try content(name, image: "\(root)/vm/top")
        #expect(found == expected, "\(name)")
      }
    }
  }

  @Test func namesStartFromTheFolderOfTheImageThatNames() throws {
    try withTree { root in
      let top = "\(root)/vm/top"
      #expect(try content("low", image: top, by: "\(root)/vm/sub/low") == "vm/sub/low")
      #expect(try content("../base", image: top, by: "\(root)/vm/sub/low") == "vm/base")
      let missing = try complaint("base", image: top, by: "\(root)/vm/sub/low")
      #expect(missing.kind == .notFound)
      // What is allowed is a matter of the image that the user typed.
      let out = try complaint("../../outer", image: top, by: "\(root)/vm/sub/low")
      #expect(out.kind == .permissionDenied)
    }
  }

  @Test func whatLiesOutsideIsRefused() throws {
    try withTree { root in
      for (name, folder) in [
        ("../outer", root), ("../elsewhere/secret", "\(root)/elsewhere"),
        ("\(root)/elsewhere/secret", "\(root)/elsewhere"), ("out", "\(root)/elsewhere"),
        ("outFolder/secret", "\(root)/elsewhere"), ("sub/../../outer", root),
        // A folder whose name starts like the image's is another folder.
        ("../vm2/near", "\(root)/vm2"), ("/etc/passwd", "/etc"),
        ("../../../../../../../../../../etc/passwd", "/etc"),
        ("/proc/self/status", "/proc/\(getpid())"),
      ] {
        let error = try complaint(name, image: "\(root)/vm/top")
        #expect(error.kind == .permissionDenied, "\(name)")
        let expected =
          "its extent '\(name)' lies outside \(root)/vm; --allow-path \(folder) opens it"
        #expect(error.message == expected)
      }
    }
  }

  @Test func whatIsAllowed() throws {
    try withTree { root in
      let top = "\(root)/vm/top"
      #expect(
        try content("out", image: top, allowed: ["\(root)/elsewhere"]) == "elsewhere/secret")
      #expect(try content("../outer", image: top, allowed: [root]) == "outer")
      #expect(try content("../outer", image: top, allowed: ["/"]) == "outer")
      #expect(try content("../vm2/near", image: top, allowed: ["/usr/../etc", root]) == "vm2/near")
      // By a link, its end is what is allowed.
      #expect(
        try content("out", image: top, allowed: ["\(root)/vm/outFolder"]) == "elsewhere/secret")
      let still = try complaint("../outer", image: top, allowed: ["\(root)/elsewhere"])
      #expect(still.kind == .permissionDenied)
      #expect(still.message.contains("lies outside \(root)/vm, \(root)/elsewhere; "))
      let missing = #expect(throws: DiskError.self) {
        try NamedFiles(image: top, allowed: ["\(root)/absent"])
      }
      #expect(missing?.kind == .notFound && missing?.path == "\(root)/absent")
    }
  }

  /// The suggestion can be copied into a shell, whatever the folder is called.
  @Test func theOptionIsAShellsWords() throws {
    try withTree { root in
      try FileManager.default.createDirectory(
        atPath: "\(root)/a $(b)", withIntermediateDirectories: true)
      try HostTools.write([1], to: "\(root)/a $(b)/file")
      let error = try complaint("../a $(b)/file", image: "\(root)/vm/top")
      #expect(error.message.hasSuffix("; --allow-path '\(root)/a $(b)' opens it"))
    }
  }

  /// Through a link to the image, what is beside the link and what is beside the image.
  @Test func aLinkToTheImage() throws {
    try withTree { root in
      let image = "\(root)/elsewhere/image"
      #expect(try content("base", image: image) == "vm/base")
      #expect(try content("secret", image: image) == "elsewhere/secret")
      #expect(try content("\(root)/vm/sub/low", image: image) == "vm/sub/low")
      let error = try complaint("../outer", image: image)
      #expect(error.message.contains("lies outside \(root)/elsewhere, \(root)/vm; "))
      #expect(try content("base", image: "\(root)/vmLink/top") == "vm/base")
    }
  }

  @Test func whatIsNoRegularFile() throws {
    try withTree { root in
      for name in ["fifo", "sub", ".", "", "../vm"] {
        let error = try complaint(name, image: "\(root)/vm/top")
        #expect(error.kind == .invalidRequest)
        #expect(error.message == "its extent '\(name)' is not a regular file")
      }
      // Allowed or not, a device is none, and no option is named that would open it.
      for allowed in [[], ["/dev"]] {
        let device = try complaint("device", image: "\(root)/vm/top", allowed: allowed)
        #expect(device.message == "its extent 'device' is not a regular file")
      }
    }
  }

  @Test func whatIsNotThere() throws {
    try withTree { root in
      for name in [
        "absent", "dangling", "base/inside", "json:{\"driver\":\"file\",\"filename\":\"base\"}",
        "nbd://localhost:10809", "nbd:unix:/x", "http://localhost/", "file:base",
        String(repeating: "x", count: 1000),
      ] {
        let error = try complaint(name, image: "\(root)/vm/top")
        #expect(error.kind == .notFound, "\(name)")
        #expect(!"\(error)".contains { $0.isNewline })
      }
      #expect(try complaint("a\0b", image: "\(root)/vm/top").kind == .malformed)
      let ugly = try complaint("a\nb\u{1B}[31m", image: "\(root)/vm/top")
      #expect(ugly.message.contains("a\\x0ab\\x1b[31m"))
      #expect(try complaint("base", image: "\(root)/vm/absent/top").kind == .notFound)
    }
  }

  @Test func lettersOfAnotherSystem() throws {
    try withTree { root in
      let top = "\(root)/vm/top"
      #expect(try content("BASE", image: top, ignoringCase: true) == "vm/base")
      #expect(try content("sub/LOW", image: top, ignoringCase: true) == "vm/sub/low")
      #expect(try complaint("BASE", image: top).kind == .notFound)
      // The same letters come first.
      try HostTools.write(Array("capitals".utf8), to: "\(root)/vm/BASE")
      #expect(try content("BASE", image: top, ignoringCase: true) == "capitals")
      #expect(try content("base", image: top, ignoringCase: true) == "vm/base")
      // Nor do other letters lead out.
      let error = #expect(throws: DiskError.self) {
        try content("OUT", image: top, ignoringCase: true)
      }
      #expect(error?.kind == .permissionDenied)
    }
  }

  @Test func anImageWithoutAFolderNamesNothing() throws {
    try withTree { root in
      let error = #expect(throws: DiskError.self) {
        try NamedFiles.none.open("\(root)/vm/base", namedBy: "disk", as: "extent")
      }
      #expect(error?.kind == .permissionDenied && error?.path == "disk")
      #expect(error?.message.contains("lies outside any folder") == true)
    }
  }
}
