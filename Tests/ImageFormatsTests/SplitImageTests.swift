import DiskCore
import Glibc
import ImageFormats
import TestSupport
import Testing

@Suite struct SplitImageTests {
  private let content = ImageBytes.pattern(5000, seed: 11)

  /// Writes `content` in parts of 1,000 bytes into files of these names, and gives the folder to
  /// `body`.
  private func withParts(_ names: [String], _ body: (String) throws -> Void) throws {
    try HostTools.withFolder { folder in
      for (index, name) in names.enumerated() {
        let part = content[index * 1000..<(index + 1) * 1000]
        try HostTools.write(Array(part), to: "\(folder)/\(name)")
      }
      try body(folder)
    }
  }

  private func all(_ image: OpenImage) throws -> [UInt8] {
    try image.disk.whole.bytes(at: .start, count: Int(image.disk.size))
  }

  private func complaint(_ path: String) throws -> DiskError {
    let error = #expect(throws: DiskError.self) { try OpenImage(path: path) }
    return try #require(error)
  }

  @Test(arguments: [
    ["disk.001", "disk.002", "disk.003"], ["disk.000", "disk.001", "disk.002"],
    ["disk.aa", "disk.ab", "disk.ac"], ["a.b.img.0001", "a.b.img.0002"],
    ["disk.000000", "disk.000001"], ["größe 1.001", "größe 1.002"],
  ])
  func partsInARow(_ names: [String]) throws {
    // The ones named first must come first, whatever the folder's order is.
    try withParts(names) { folder in
      let image = try OpenImage(path: "\(folder)/\(names[0])")
      #expect(try all(image) == Array(content[..<(names.count * 1000)]))
      #expect(image.disk.files.map(\.path) == names.map { "\(folder)/\($0)" })
      let description = image.disk.layers[0].description
      #expect(description.format == "raw" && description.subformat == "split")
      #expect(description.details.map(\.value) == ["\(names.count)"])
    }
  }

  @Test func countingCarries() throws {
    try HostTools.withFolder { folder in
      let names = (0..<30).map { index in
        let letters = Array("abcdefghijklmnopqrstuvwxyz")
        return "disk.\(letters[index / 26])\(letters[index % 26])"
      }
      #expect(names[26] == "disk.ba")
      for (index, name) in names.enumerated() {
        try HostTools.write([UInt8(index)], to: "\(folder)/\(name)")
      }
      for index in 0..<12 {
        let digits = index < 9 ? "00\(index + 1)" : "0\(index + 1)"
        try HostTools.write([UInt8(index)], to: "\(folder)/other.\(digits)")
      }
      #expect(try all(OpenImage(path: "\(folder)/disk.aa")) == (0..<30).map { UInt8($0) })
      #expect(try all(OpenImage(path: "\(folder)/other.001")) == (0..<12).map { UInt8($0) })
    }
  }

  @Test func aMissingPartIsNamed() throws {
    try withParts(["disk.001", "disk.002", "disk.004", "disk.005"]) { folder in
      let error = try complaint("\(folder)/disk.001")
      #expect(error.kind == .notFound && error.path == "\(folder)/disk.001")
      #expect(
        error.message
          == "a part of the split image is missing: there is '004' but no '003'; '--format raw' "
          + "opens this file alone")
    }
    try withParts(["disk.aa", "disk.ac"]) { folder in
      let error = try complaint("\(folder)/disk.aa")
      #expect(error.message.contains("there is 'ac' but no 'ab'"))
    }
  }

  @Test func aLaterPartNamesTheFirst() throws {
    for names in [["disk.001", "disk.002", "disk.003"], ["disk.aa", "disk.ab", "disk.ac"]] {
      try withParts(names) { folder in
        for later in names.dropFirst() {
          let error = try complaint("\(folder)/\(later)")
          #expect(error.kind == .invalidRequest && error.path == "\(folder)/\(later)")
          #expect(error.message.hasSuffix("name its first part, '\(folder)/\(names[0])'"))
        }
      }
    }
    // Where both could be the first, it is the lower one.
    try withParts(["disk.000", "disk.001"]) { folder in
      let error = try complaint("\(folder)/disk.001")
      #expect(error.message.contains("disk.000"))
    }
  }

  @Test func formatRawTakesTheFileAlone() throws {
    let names = ["disk.001", "disk.002", "disk.004"]
    try withParts(names) { folder in
      for (index, name) in names.enumerated() {
        let image = try OpenImage(
          path: "\(folder)/\(name)", options: ImageOptions(format: "raw"))
        #expect(try all(image) == Array(content[index * 1000..<(index + 1) * 1000]))
        #expect(image.disk.layers[0].description.subformat == nil)
      }
    }
  }

  @Test(arguments: [["disk.003", "disk.004"], ["disk.002", "disk.003"]])
  func aMissingFirstPartIsNamed(_ names: [String]) throws {
    try withParts(names) { folder in
      for name in names {
        let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/\(name)") }
        #expect(error?.kind == .notFound)
        #expect(error?.message.contains("first part is missing") == true)
      }
    }
  }

  @Test func aWideGapIsNotTheEnd() throws {
    try withParts(["disk.001", "disk.002", "disk.005"]) { folder in
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/disk.001") }
      #expect(error?.message.contains("there is '005' but no '003'") == true)
    }
  }

  /// Nobody typed the name of a later part, so it must not lead out of the folder.
  @Test func aPartThatIsALinkIsRefused() throws {
    try withParts(["disk.001"]) { folder in
      #expect(symlink("/etc/passwd", "\(folder)/disk.002") == 0)
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/disk.001") }
      #expect(error?.message.contains("'002'") == true)
    }
  }

  @Test func aSinglePartIsAnOrdinaryFile() throws {
    for name in ["disk.001", "disk.000", "disk.aa"] {
      try withParts([name]) { folder in
        let image = try OpenImage(path: "\(folder)/\(name)")
        #expect(try all(image) == Array(content[..<1000]))
        #expect(image.disk.layers[0].description.subformat == nil)
      }
    }
  }

  /// Names that only look as if they counted.
  @Test(arguments: [
    ["disk.01", "disk.02"], ["disk.1", "disk.2"], ["disk.ab", "disk.ac"],
    ["disk.AA", "disk.AB"], ["disk.a", "disk.b"], ["disk.2023", "disk.2024"], ["001", "002"],
    ["disk.0000001", "disk.0000002"], ["disk.img", "disk.imh"], ["disk.٠٠١", "disk.٠٠٢"],
    ["disk.001.img", "disk.002.img"], ["disk.", "disk.a"],
  ])
  func otherNamesStandAlone(_ names: [String]) throws {
    try withParts(names) { folder in
      let image = try OpenImage(path: "\(folder)/\(names[0])")
      #expect(try all(image) == Array(content[..<1000]))
    }
  }

  @Test func aDotInTheFolderIsNoSuffix() throws {
    try HostTools.withFolder { folder in
      try HostTools.run("mkdir", ["\(folder)/x.001", "\(folder)/x.002"])
      try HostTools.write([1], to: "\(folder)/x.001/disk")
      try HostTools.write([2], to: "\(folder)/x.002/disk")
      #expect(try all(OpenImage(path: "\(folder)/x.001/disk")) == [1])
    }
  }

  @Test func emptyParts() throws {
    try withParts(["disk.001", "disk.004"]) { folder in
      try HostTools.write([], to: "\(folder)/disk.002")
      try HostTools.write([], to: "\(folder)/disk.003")
      try HostTools.write([], to: "\(folder)/disk.005")
      let image = try OpenImage(path: "\(folder)/disk.001")
      #expect(try all(image) == Array(content[..<2000]))
    }
    try withParts([]) { folder in
      for name in ["disk.001", "disk.002"] { try HostTools.write([], to: "\(folder)/\(name)") }
      #expect(try complaint("\(folder)/disk.001").message.hasPrefix("is empty"))
    }
  }

  /// The parts are in a row before anything looks at what they hold.
  @Test func aVHDInParts() throws {
    var builder = VHDBuilder(.dynamic, size: 8192)
    builder.blockSize = 512
    for index in [3, 0, 9] { builder.blocks[index] = ImageBytes.pattern(512, seed: UInt64(index)) }
    try HostTools.withFolder { folder in
      let bytes = builder.file.bytes
      for (index, start) in stride(from: 0, to: bytes.count, by: 700).enumerated() {
        let part = Array(bytes[start..<min(start + 700, bytes.count)])
        try HostTools.write(part, to: "\(folder)/disk.00\(index)")
      }
      let image = try OpenImage(path: "\(folder)/disk.000")
      #expect(image.disk.layers[0].description.format == "vhd" && image.notes.isEmpty)
      #expect(try all(image) == builder.content(0..<8192))
      #expect(image.disk.files.count > 5)
    }
  }
}
