import DiskCore
import TestSupport
import Testing

@testable import ImageFormats

@Suite struct DiskSnapshotTests {
  private func storage(_ byte: UInt8, _ path: String) -> MemoryStorage {
    MemoryStorage([byte, byte], path: path)
  }

  private func layer(_ byte: UInt8, _ path: String) -> FlatLayer { FlatLayer(storage(byte, path)) }

  private func snapshot(_ name: String, _ number: Int, _ byte: UInt8) -> InternalSnapshot {
    InternalSnapshot(name: name, identifier: "\(number)", created: 1000 + number) {
      () throws(DiskError) in layer(byte, "top.img")
    }
  }

  /// Top first; each level has the layers given, and only the top has snapshots.
  private func chain(
    _ levels: [(path: String, layers: [any ImageLayer])], _ snapshots: [InternalSnapshot] = []
  ) -> ImageChain {
    ImageChain(
      levels.enumerated().map { number, level in
        ImageChain.Level(
          of: storage(0, level.path),
          image: ParsedImage(level.layers, snapshots: number == 0 ? snapshots : []), remark: nil)
      })
  }

  private func bytes(_ snapshot: DiskSnapshot) throws -> [UInt8] {
    let disk = try snapshot.open()
    return try disk.whole.bytes(at: .start, count: Int(disk.size))
  }

  @Test func insideFirstAndThenDownTheChain() throws {
    let hole = ScriptedLayer([.init(.below(.start), 2)])
    let all = DiskSnapshot.all(
      of: chain(
        [
          ("vm/top.img", [layer(9, "x")]), ("vm/middle.img", [hole]),
          ("base/base.img", [layer(3, "y")]),
        ], [snapshot("before", 1, 1), snapshot("after", 2, 2)]), BlockCache())
    #expect(all.map(\.name) == ["before", "after", "middle.img", "base.img"])
    #expect(all.map(\.kind) == [.inside, .inside, .parent, .parent])
    #expect(all.map(\.identifier) == ["1", "2", nil, nil])
    #expect(all.map(\.created) == [1001, 1002, nil, nil])
    #expect(try all.map { try bytes($0) } == [[1, 1], [2, 2], [3, 3], [3, 3]])
  }

  /// What a snapshot inside the image does not have is in the parent, as for the image itself.
  @Test func aSnapshotStandsOnTheParent() throws {
    let hole = InternalSnapshot(name: "s", identifier: "1") { () throws(DiskError) in
      ScriptedLayer([.init(.below(.start), 2)])
    }
    // The top image's own two layers go with it.
    let all = DiskSnapshot.all(
      of: chain(
        [("top", [layer(9, "x"), layer(8, "x2")]), ("base", [layer(4, "y")])], [hole]),
      BlockCache())
    #expect(try bytes(all[0]) == [4, 4])
    #expect(all.map(\.name) == ["s", "x2", "base"])
    #expect(try bytes(all[1]) == [8, 8])
  }

  /// An image is called by its own name, not by that of the extent that has its bytes.
  @Test func imagesOfManyFiles() {
    let all = DiskSnapshot.all(
      of: chain([("top.vmdk", [layer(1, "top-flat")]), ("b/base.vmdk", [layer(2, "b/base-s001")])]),
      BlockCache())
    #expect(all.map(\.name) == ["base.vmdk"])
  }

  @Test func namesAreUnique() {
    let names = ["a", "a", "a-2", "a", "", "a-2", "7"]
    let all = DiskSnapshot.all(
      of: chain(
        [("t", [layer(0, "t")]), ("1/a", [layer(0, "u")]), ("2/a", [layer(0, "v")])],
        names.enumerated().map { snapshot($1, $0 + 3, 0) }), BlockCache())
    let found = all.map(\.name)
    #expect(Set(found).count == found.count && found.count == 9)
    // The unnamed one goes by its number, 7, so that the last one has to give way.
    #expect(
      found == ["a", "a-2", "a-2-2", "a-3", "7", "a-2-3", "7-2", "a-4", "a-5"])
  }

  @Test func thousandsOfOneName() {
    let clock = ThreadClock()
    let snapshots = (0..<65_536).map { snapshot("same", $0, 0) }
    let chain = chain([("t", [layer(0, "t")])], snapshots)
    var all: [DiskSnapshot] = []
    let time = clock.measure { all = DiskSnapshot.all(of: chain, BlockCache()) }
    #expect(time < .seconds(2) && Set(all.map(\.name)).count == 65_536)
  }

  @Test func foundByNameThenByNumber() throws {
    let all = DiskSnapshot.all(
      of: chain(
        [("t", [layer(0, "t")])], [snapshot("2", 1, 5), snapshot("x", 2, 6), snapshot("y", 3, 7)]),
      BlockCache())
    for (name, byte) in [("2", 5), ("x", 6), ("3", 7), ("1", 5)] as [(String, UInt8)] {
      #expect(try bytes(DiskSnapshot.named(name, in: all, of: "t")) == [byte, byte])
    }
  }

  @Test func whatIsNotThere() throws {
    func complaint(_ snapshots: [InternalSnapshot]) throws -> String {
      let all = DiskSnapshot.all(of: chain([("t", [layer(0, "t")])], snapshots), BlockCache())
      let error = #expect(throws: DiskError.self) {
        try DiskSnapshot.named("b\u{1B}", in: all, of: "t.img")
      }
      #expect(error?.kind == .notFound && error?.path == "t.img")
      return try #require(error).message
    }
    #expect(try complaint([]) == "has no snapshot 'b\\x1b'; it has none at all")
    #expect(
      try complaint([snapshot("a", 1, 0), snapshot("c\n", 2, 0)])
        == "has no snapshot 'b\\x1b'; there are: a, c\\x0a")
    let many = try complaint((0..<1000).map { snapshot("s\($0)", $0, 0) })
    #expect(many.hasSuffix("s18, s19 and 980 more"))
  }
}
