import DiskCore
import TestSupport
import Testing

@testable import ImageFormats

@Suite struct SmallXMLTests {
  private func parsed(_ text: String) throws -> SmallXML.Element {
    try SmallXML.document(ByteReader(Array(text.utf8), path: "x.xml", base: 100))
  }

  /// The elements as a Lisp would write them.
  private func shape(_ element: SmallXML.Element) -> String {
    var parts = [element.name]
    if !element.text.isEmpty { parts.append("'\(element.text)'") }
    return "(" + (parts + element.children.map(shape)).joined(separator: " ") + ")"
  }

  @Test(arguments: [
    ("<a/>", "(a)"), ("<a></a>", "(a)"), ("\u{FEFF}<?xml version='1.0'?>\n<a >\n</a >\n", "(a)"),
    ("<a>  b c\n</a>", "(a 'b c')"), ("<a><b>1</b><c/><b>2</b></a>", "(a (b '1') (c) (b '2'))"),
    ("<a x='>' y=\"/>\" z='\"'>1</a>", "(a '1')"), ("<a x='1'/>", "(a)"),
    ("<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;</a>", "(a '<>&\"'A\u{1F600}')"),
    ("<a>1<!-- <b> & -- -->2<?x <c> ?>3<![CDATA[<d>&amp;]]></a>", "(a '123<d>&amp;')"),
    (
      "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://x/y.dtd\"><plist/>",
      "(plist)"
    ),
    ("<a>x<b>y</b>z</a>", "(a 'xz' (b 'y'))"), ("<é/>", "(é)"),
  ]) func documents(_ text: String, _ expected: String) throws {
    #expect(try shape(parsed(text)) == expected)
  }

  @Test(arguments: [
    ("", 0), ("   ", 3), ("<a>", 0), ("<a", 0), ("<a b='>", 0), ("<a></b>", 5), ("</a>", 2),
    ("<a/><b/>", 4), ("<a/>x", 4), ("x<a/>", 0), ("<>", 1), ("<a>&nbsp;</a>", 3),
    ("<a>&#xD800;</a>", 3), ("<a>&#1114112;</a>", 3), ("<a>&#;</a>", 3), ("<a>&#65</a>", 3),
    ("<a>&</a>", 3), ("<a><!-- </a>", 7), ("<a><![CDATA[</a>", 12), ("<?xml", 2),
    ("<a><b></a></b>", 8),
  ]) func damage(_ text: String, _ place: UInt64) throws {
    let error = #expect(throws: DiskError.self) { try parsed(text) }
    #expect(error?.kind == .malformed && error?.path == "x.xml")
    #expect(error?.offset == 100 + place, "\(String(describing: error))")
  }

  /// Entities of its own can make a few bytes a gigabyte.
  @Test(arguments: [
    "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<!ENTITY b 'c'><a/>", "<a><!DOCTYPE b></a>",
  ]) func declarationsAreRefused(_ text: String) throws {
    let error = #expect(throws: DiskError.self) { try parsed(text) }
    #expect(error?.kind == .unsupported)
  }

  @Test func otherEncodings() throws {
    for mark in [[0xFF, 0xFE], [0xFE, 0xFF]] as [[UInt8]] {
      let error = #expect(throws: DiskError.self) {
        try SmallXML.document(ByteReader(mark + [60, 0]))
      }
      #expect(error?.kind == .unsupported)
    }
    // Bytes that are no UTF-8 become U+FFFD.
    let text = try SmallXML.document(ByteReader([60, 97, 62, 0xFF, 60, 47, 97, 62])).text
    #expect(text == "\u{FFFD}")
  }

  @Test func depth() throws {
    func nested(_ count: Int) -> String {
      String(repeating: "<a>", count: count) + String(repeating: "</a>", count: count)
    }
    _ = try parsed(nested(32))
    for count in [33, 100_000] {
      let error = #expect(throws: DiskError.self) { try parsed(nested(count)) }
      #expect(error?.offset == 100 + 32 * 3)
    }
  }

  @Test func sizes() throws {
    let many = "<a>" + String(repeating: "<b/>", count: 65_535) + "</a>"
    #expect(try parsed(many).children.count == 65_535)
    #expect(throws: DiskError.self) {
      try parsed("<a>" + String(repeating: "<b/>", count: 65_536) + "</a>")
    }
    // A file of 1 GiB is not read at all.
    let storage = FaultyStorage(MemoryStorage(size: 1 << 30, pieces: [(0, [60])], path: "x.xml"))
    let error = #expect(throws: DiskError.self) { try SmallXML.document(in: storage) }
    #expect(error?.kind == .malformed && storage.reads.isEmpty)
    let long = "<a>" + String(repeating: "x", count: 1 << 20 - 7) + "</a>"
    #expect(try parsed(long).text.utf8.count == 1 << 20 - 7)
    #expect(throws: DiskError.self) { try parsed(long + " ") }
  }

  @Test func children() throws {
    let root = try parsed("<a><b>1</b><c/><b>2</b></a>")
    #expect(root.child("b")?.text == "1" && root.child("d") == nil)
    #expect(root.children("b").map(\.text) == ["1", "2"])
  }
}
