import DiskCore
import TestSupport
import Testing

@testable import ImageFormats

/// What a person is told whose image's parent is not where it should be.
@Suite struct MissingParentTests {
  private func level(_ path: String) throws -> ImageChain.Level {
    let storage = try FileStorage(path: path)
    return ImageChain.Level(
      of: storage, image: ParsedImage(FlatLayer(storage)), remark: nil)
  }

  /// The message for the lowest image of `chain`, which misses `reference`.
  private func message(
    _ reference: ParentReference, _ chain: String..., options: ImageOptions = ImageOptions()
  ) throws -> String {
    let levels = try chain.map { try level($0) }
    let error = MissingParent(
      reference, of: levels, try NamedFiles(image: chain[0], allowed: []), options
    ).error()
    #expect(error.kind == .notFound && error.path == chain.last)
    return error.message
  }

  private func reference(
    _ paths: String..., expecting: [ParentReference.Expectation] = []
  ) -> ParentReference {
    ParentReference(name: "C:\\\(paths[0])", paths: paths, expectations: expecting)
  }

  private func withFiles(_ names: String..., body: (String) throws -> Void) throws {
    try HostTools.withFolder { folder in
      for name in names { try HostTools.write([1], to: "\(folder)/\(name)") }
      try body(folder)
    }
  }

  @Test func nothingFits() throws {
    try withFiles("child.img", "other.img") { folder in
      let text = try message(reference("vm/base.img", "base.img"), "\(folder)/child.img")
      #expect(
        text
          == "its parent 'C:\\vm/base.img' was not found; looked for \(folder)/vm/base.img, "
          + "\(folder)/base.img; nothing beside it fits; --parent FILE names it")
    }
  }

  @Test func oneFitsByItsName() throws {
    try withFiles("child.img", "Base.raw", "other.img") { folder in
      let text = try message(reference("base.img"), "\(folder)/child.img")
      #expect(
        text.hasSuffix(
          "; beside it \(folder)/Base.raw fits: platter info --parent \(folder)/Base.raw "
            + "\(folder)/child.img"))
    }
  }

  @Test func someFit() throws {
    try withFiles("child.img", "base.1", "base.2", "base.3", "base.4") { folder in
      let text = try message(reference("base.img"), "\(folder)/child.img")
      #expect(text.contains("beside it \(folder)/base.1, \(folder)/base.2, \(folder)/base.3 fit: "))
      #expect(text.hasSuffix("platter info --parent \(folder)/base.1 \(folder)/child.img"))
    }
  }

  /// `disk.qcow2` on `disk.img`: the child has the name that is looked for, but is not its own parent;
  /// nor is what stands above it.
  @Test func theChainItselfDoesNotFit() throws {
    try withFiles("disk.qcow2", "disk.top") { folder in
      let alone = try message(reference("disk.img"), "\(folder)/disk.qcow2")
      #expect(alone.contains("beside it \(folder)/disk.top fits"))
      let text = try message(
        reference("disk.img"), "\(folder)/disk.top", "\(folder)/disk.qcow2")
      #expect(text.contains("nothing beside it fits"))
    }
  }

  /// The command opens what the user wanted to open, with all that was said before.
  @Test func theCommandStartsFromTheTop() throws {
    try withFiles("top.img", "middle.img", "base.old") { folder in
      let text = try message(
        reference("base.img"), "\(folder)/top.img", "\(folder)/middle.img",
        options: ImageOptions(format: "raw", allowedPaths: ["/a b"]))
      #expect(
        text.hasSuffix(
          ": platter info --format raw --allow-path '/a b' --parent \(folder)/middle.img "
            + "--parent \(folder)/base.old \(folder)/top.img"))
    }
  }

  /// A name that was made to be copied into a shell does nothing there.
  @Test func namesAreQuoted() throws {
    try withFiles("child.img", "base.$(id)", "base.it's `x`") { folder in
      let text = try message(reference("base.img"), "\(folder)/child.img")
      #expect(text.hasSuffix("--parent '\(folder)/base.$(id)' \(folder)/child.img"))
      #expect(shellWord("base.it's `x`") == "'base.it'\\''s `x`'")
    }
  }

  /// What was found by its name must open, too.
  @Test func whatCannotBeOpenedDoesNotFit() throws {
    try withFiles("child.img") { folder in
      try HostTools.write([], to: "\(folder)/base.empty")
      try HostTools.write(Array("KDMV".utf8), to: "\(folder)/base.broken")
      let text = try message(reference("base.img"), "\(folder)/child.img")
      #expect(text.contains("nothing beside it"))
    }
  }

  @Test func whatIsKnownOfItCounts() throws {
    try withFiles("child.img", "base.raw") { folder in
      let expecting = [ParentReference.Expectation("UUID", ["1234"])]
      let strict = try message(
        reference("base.img", expecting: expecting), "\(folder)/child.img")
      #expect(strict.contains("nothing beside it fits"))
      let doubting = [ParentReference.Expectation("CID", ["1234"], isStrict: false)]
      let lax = try message(reference("base.img", expecting: doubting), "\(folder)/child.img")
      #expect(lax.contains("base.raw fits"))
    }
  }

  @Test func ofManyPlacesSomeAreNamed() throws {
    try withFiles("child.img") { folder in
      let text = try message(reference("1/a", "2/a", "3/a", "4/a", "5/a"), "\(folder)/child.img")
      #expect(text.contains("/4/a;") && !text.contains("/5/a"))
    }
  }
}
