import DiskCore
import TestSupport
import Testing

@Suite struct TextTests {
  @Test func plainWordsAreLeftAlone() {
    for word in ["disk.vhd", "/a/b-c_1.qcow2", "--parent", "./x", "C:y"] {
      #expect(shellWord(word) == word)
    }
    #expect(shellWord("a b") == "'a b'")
    #expect(shellWord("it's") == "'it'\\''s'")
    #expect(shellWord("") == "''")
    #expect(shellWord("a\nb'\\") == "$'a\\012b\\'\\\\'")
  }

  /// Whatever a file is called, the shell takes the word for that name and does nothing else.
  @Test(.enabled(if: HostTools.has("bash"))) func theShellReadsItBack() throws {
    let names = [
      "a b", "it's", "$(touch /tmp/x)", "`id`", "a\"b", "a\\b", "!x", "*?[a]", "~", "#a", "a;b&c|d",
      "tab\there", "line\nfeed", "esc\u{1B}[31m1", "\u{202E}fdp", "größe", "日本", "\u{7F}'\\",
      "{a,b}",
      "-rf", "é\u{301}",
    ]
    let script = "printf '%s\\0' " + names.map(shellWord).joined(separator: " ")
    let output = try HostTools.run("bash", ["-c", script])
    #expect(output.split(separator: "\0").map(String.init) == names)
    #expect(names.map(shellWord).allSatisfy { $0.unicodeScalars.allSatisfy(\.isPrintable) })
  }
}
