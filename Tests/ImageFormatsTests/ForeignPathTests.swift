import Testing

@testable import ImageFormats

@Suite struct ForeignPathTests {
  @Test(arguments: [
    ("base.vhd", ["base.vhd"]),
    ("C:\\VMs\\a\\base.vhd", ["VMs/a/base.vhd", "a/base.vhd", "base.vhd"]),
    ("c:/VMs/base.vhd", ["VMs/base.vhd", "base.vhd"]),
    ("C:base.vhd", ["base.vhd"]),
    ("..\\base.vhd", ["../base.vhd", "base.vhd"]),
    (".\\base.vhd", ["base.vhd"]), (".\\a\\.\\base.vhd", ["a/base.vhd", "base.vhd"]),
    ("\\\\server\\share\\base.vhd", ["server/share/base.vhd", "share/base.vhd", "base.vhd"]),
    ("\\\\?\\C:\\a\\base.vhd", ["a/base.vhd", "base.vhd"]),
    ("\\\\?\\UNC\\server\\base.vhd", ["server/base.vhd", "base.vhd"]),
    ("/vm/base.vhd", ["/vm/base.vhd", "vm/base.vhd", "base.vhd"]),
    ("/vm/odd\\name", ["/vm/odd\\name", "vm/odd/name", "odd/name", "name"]),
    // A folder's colon is no drive.
    ("backup:/base.qcow2", ["backup:/base.qcow2", "base.qcow2"]),
    // To Swift a slash and a mark behind it are one character.
    ("a/\u{301}b", ["a/\u{301}b", "\u{301}b"]),
    ("", []), ("\\", []), ("/", ["/"]), ("C:\\", []), ("\\\\?\\", []), (".", []),
  ]) func candidates(_ path: String, _ expected: [String]) {
    #expect(ForeignPath.candidates(path) == expected)
  }

  @Test func longPathsAreCutFromTheFront() {
    let path = "C:\\" + (0..<10_000).map { "d\($0)" }.joined(separator: "\\")
    let found = ForeignPath.candidates(path)
    #expect(found.count == ForeignPath.mostParts && found.last == "d9999")
    #expect(found.first == (9968..<10_000).map { "d\($0)" }.joined(separator: "/"))
  }
}
