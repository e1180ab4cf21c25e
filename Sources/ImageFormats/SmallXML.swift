internal import DiskCore

/// Elements and text out of the small XML files that some formats keep beside or inside an image.
///
/// Only what those files use (XML 1.0): elements, text, CDATA, comments, processing instructions, the
/// five predefined entities and character references. Attributes are passed over. A document type is
/// passed over too, since property lists name theirs, but nothing is fetched for it, and one that
/// declares anything itself is refused: so no text can grow beyond the file.
struct SmallXML {
  /// What a parser of untrusted XML stops at.
  struct Limits {
    var bytes: UInt64 = 1 << 20
    var depth = 32
    var elements = 65_536
  }

  struct Element {
    let name: String
    fileprivate(set) var children: [Element] = []
    /// All text directly inside it, without white space at the ends.
    fileprivate(set) var text = ""

    /// The first child of that name.
    func child(_ name: String) -> Element? { children.first { $0.name == name } }

    func children(_ name: String) -> [Element] { children.filter { $0.name == name } }
  }

  private struct Open {
    var element: Element
    var text: [UInt8] = []
    let offset: Int
  }

  private let bytes: [UInt8]
  private let path: String
  private let base: UInt64
  private let limits: Limits
  private var place = 0
  private var open: [Open] = []
  private var root: Element?
  private var count = 0

  /// The root element of the document that is all of `source`.
  ///
  /// - Throws: `malformed` for what is no XML, or larger or deeper than `limits`; `unsupported` for
  ///   other encodings than UTF-8 and for declarations; what reading throws.
  static func document(
    in source: any Storage, limits: Limits = Limits()
  ) throws(DiskError) -> Element {
    guard source.size <= limits.bytes else {
      throw DiskError(
        .malformed, "\(source.size) bytes of XML; no more than \(limits.bytes) are read",
        path: source.path, offset: 0)
    }
    return try document(
      source.reader(at: .start, count: Int(source.size)), limits: limits)
  }

  /// The root element of the document that is all of `reader`.
  static func document(
    _ reader: ByteReader, limits: Limits = Limits()
  ) throws(DiskError) -> Element {
    var parser = SmallXML(reader, limits)
    return try parser.document()
  }

  private init(_ reader: ByteReader, _ limits: Limits) {
    bytes = reader.bytes
    path = reader.path ?? ""
    base = reader.base
    self.limits = limits
  }

  private mutating func document() throws(DiskError) -> Element {
    guard UInt64(bytes.count) <= limits.bytes else {
      throw failure("\(bytes.count) bytes of XML; no more than \(limits.bytes) are read")
    }
    if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) {
      throw failure("XML in UTF-16; only UTF-8 is read", .unsupported)
    }
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { place = 3 }
    while place < bytes.count {
      if bytes[place] == UInt8(ascii: "<") { try markup() } else { try characters() }
    }
    if let unclosed = open.last {
      place = unclosed.offset
      throw failure("the element '\(printable(unclosed.element.name))' has no end")
    }
    guard let root else { throw failure("holds no XML element") }
    return root
  }

  private mutating func markup() throws(DiskError) {
    if takes("<!--") { return try skip(past: "-->", "a comment") }
    if takes("<?") { return try skip(past: "?>", "a processing instruction") }
    if takes("<![CDATA[") {
      let start = place
      try skip(past: "]]>", "a CDATA section")
      return try add(bytes[start..<place - 3])
    }
    if takes("<!") { return try documentType() }
    if takes("</") { return try endTag() }
    try startTag()
  }

  /// `<!DOCTYPE …>` without declarations of its own, which would be in brackets.
  private mutating func documentType() throws(DiskError) {
    let start = place
    try skip(past: ">", "a declaration")
    let declares = bytes[start..<place].contains(UInt8(ascii: "["))
    guard bytes[start...].starts(with: "DOCTYPE".utf8), root == nil, open.isEmpty, !declares else {
      place = start
      throw failure("an XML declaration of entities or elements, which is not read", .unsupported)
    }
  }

  private mutating func startTag() throws(DiskError) {
    let start = place
    place += 1
    let name = try name()
    // Attributes, which can hold '>' and '/' inside their quotes.
    var quote: UInt8? = nil
    var last: UInt8 = 0
    while true {
      guard place < bytes.count else {
        place = start
        throw failure("a tag has no end")
      }
      let byte = bytes[place]
      place += 1
      if let open = quote {
        if byte == open { quote = nil }
      } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
        quote = byte
      } else if byte == UInt8(ascii: ">") {
        break
      }
      last = byte
    }
    count += 1
    guard count <= limits.elements, open.count < limits.depth else {
      place = start
      throw failure(
        "more than \(limits.elements) XML elements, or more than \(limits.depth) inside each other")
    }
    guard root == nil else {
      place = start
      throw failure("a second XML element at the top")
    }
    open.append(Open(element: Element(name: name), offset: start))
    if last == UInt8(ascii: "/") { close() }
  }

  private mutating func endTag() throws(DiskError) {
    let start = place
    let name = try name()
    try skip(past: ">", "a tag")
    guard let last = open.last, last.element.name == name else {
      place = start
      throw failure("an end of '\(printable(name))' where no such XML element is open")
    }
    close()
  }

  private mutating func close() {
    var closed = open.removeLast()
    closed.element.text = Self.trimmed(closed.text)
    if open.isEmpty {
      root = closed.element
    } else {
      open[open.count - 1].element.children.append(closed.element)
    }
  }

  private mutating func name() throws(DiskError) -> String {
    let start = place
    while place < bytes.count, !Self.endsName(bytes[place]) { place += 1 }
    guard place > start, place - start <= 256 else {
      throw failure("an XML tag without a name, or with one of more than 256 bytes")
    }
    return String(decoding: bytes[start..<place], as: UTF8.self)
  }

  /// Text up to the next tag.
  private mutating func characters() throws(DiskError) {
    let start = place
    while place < bytes.count, bytes[place] != UInt8(ascii: "<") {
      if bytes[place] == UInt8(ascii: "&") {
        try reference()
      } else {
        let run = place
        while place < bytes.count, bytes[place] != UInt8(ascii: "<"),
          bytes[place] != UInt8(ascii: "&")
        { place += 1 }
        try add(bytes[run..<place], from: start)
      }
    }
  }

  private mutating func add(_ text: ArraySlice<UInt8>, from start: Int? = nil) throws(DiskError) {
    guard !open.isEmpty else {
      guard text.allSatisfy(Self.isSpace) else {
        place = start ?? place
        throw failure("text outside of all XML elements")
      }
      return
    }
    open[open.count - 1].text += text
  }

  /// `&amp;` and its like (XML 1.0, sections 4.1 and 4.6).
  private mutating func reference() throws(DiskError) {
    let known: [(StaticString, Character)] = [
      ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"), ("&quot;", "\""), ("&apos;", "'"),
    ]
    for (name, character) in known where takes(name) {
      return try add(Array(character.utf8)[...])
    }
    let start = place
    guard takes("&#") else { throw failure("an XML entity that is none of the five") }
    let radix = takes("x") ? 16 : 10
    let digits = bytes[place...].prefix(8).prefix { $0 != UInt8(ascii: ";") }
    place += digits.count
    guard let value = UInt32(String(decoding: digits, as: UTF8.self), radix: radix),
      let scalar = Unicode.Scalar(value), takes(";")
    else {
      place = start
      throw failure("an XML character reference that names no character")
    }
    try add(Array(String(scalar).utf8)[...])
  }

  private mutating func takes(_ text: StaticString) -> Bool {
    let wanted = text.description.utf8
    guard bytes[place...].starts(with: wanted) else { return false }
    place += wanted.count
    return true
  }

  private mutating func skip(past end: StaticString, _ what: String) throws(DiskError) {
    let start = place
    let wanted = Array(end.description.utf8)
    while place <= bytes.count - wanted.count {
      if bytes[place] == wanted[0], bytes[place...].starts(with: wanted) {
        place += wanted.count
        return
      }
      place += 1
    }
    place = start
    throw failure("\(what) of the XML has no end")
  }

  private func failure(_ message: String, _ kind: DiskError.Kind = .malformed) -> DiskError {
    DiskError(kind, message, path: path, offset: base + UInt64(place))
  }

  private static func isSpace(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0a, 0x0d].contains(byte) }

  private static func endsName(_ byte: UInt8) -> Bool {
    isSpace(byte) || byte == UInt8(ascii: ">") || byte == UInt8(ascii: "/")
      || byte == UInt8(ascii: "<") || byte == UInt8(ascii: "=")
  }

  private static func trimmed(_ text: [UInt8]) -> String {
    guard let first = text.firstIndex(where: { !isSpace($0) }),
      let last = text.lastIndex(where: { !isSpace($0) })
    else { return "" }
    return String(decoding: text[first...last], as: UTF8.self)
  }
}
