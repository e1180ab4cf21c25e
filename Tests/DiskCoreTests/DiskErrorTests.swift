import DiskCore
import Foundation
import Testing

@Suite struct DiskErrorTests {
  @Test func oneLineForAPerson() {
    let inner = DiskError(.truncated, "the file ends here", path: "base.img", offset: 1024)
    let error = DiskError(
      .malformed, "the table is damaged", path: "a.vhd", offset: 512, underlying: inner)
    #expect(
      "\(error)"
        == "a.vhd: the table is damaged (at byte 512): base.img: the file ends here (at byte 1024)")
    #expect("\(DiskError(.busy, "is locked"))" == "is locked")
    #expect("\(DiskError(.busy, "is locked", offset: 0))" == "is locked (at byte 0)")
  }

  @Test func aPathCanNeitherBreakTheLineNorDriveTheTerminal() {
    let error = DiskError(.notFound, "cannot open", path: "a\nb\u{1B}[31m\u{2028}\u{202E}c\u{7F}")
    #expect(
      "\(error)" == "a\\x0ab\\x1b[31m\\xe2\\x80\\xa8\\xe2\\x80\\xaec\\x7f: cannot open")
  }

  @Test func printableLeavesOrdinaryTextAlone() {
    #expect(printable("größe 🐧 /tmp/a b.vhd") == "größe 🐧 /tmp/a b.vhd")
    #expect(printable("") == "")
    #expect(printable("e\u{301}") == "e\u{301}")
    #expect(printable("\t\r\n\0") == "\\x09\\x0d\\x0a\\x00")
    // Joiner, byte-order mark, private use, not assigned.
    #expect(printable("\u{200D}") == "\\xe2\\x80\\x8d")
    #expect(printable("\u{FEFF}\u{E000}") == "\\xef\\xbb\\xbf\\xee\\x80\\x80")
    #expect(printable("\u{10FFFF}") == "\\xf4\\x8f\\xbf\\xbf")
  }

  @Test func noControlCharacterIsLeft() {
    for value in 0...UInt32(0x2FFF) {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let text = printable(String(scalar))
      #expect(!text.unicodeScalars.contains { $0.value < 32 || (127..<160).contains($0.value) })
    }
  }

  @Test(
    arguments: [
      (ENOENT, .notFound), (ENOTDIR, .notFound), (EACCES, .permissionDenied),
      (EPERM, .permissionDenied), (EBUSY, .busy), (EIO, .inputOutput), (ENOSPC, .inputOutput),
    ] as [(CInt, DiskError.Kind)])
  func errorsOfTheSystem(_ number: CInt, _ kind: DiskError.Kind) {
    let error = DiskError(system: number, "cannot read", path: "x", offset: 7)
    #expect(error.kind == kind && error.systemError == number)
    #expect(error.message == "cannot read: \(String(cString: strerror(number)))")
  }

  @Test func twoDigitsOfEveryByte() {
    #expect(hexadecimal(0) == "00" && hexadecimal(10) == "0a" && hexadecimal(255) == "ff")
  }
}
