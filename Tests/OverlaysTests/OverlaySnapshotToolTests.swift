import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

@testable import Overlays

/// Snapshots that QEMU reads, goes back to, deletes and makes, and Platter before and after.
@Suite(.enabled(if: HostTools.has("qemu-img", "qemu-io"), "qemu-utils is not installed"))
struct OverlaySnapshotToolTests {
  /// An overlay in a folder, and what it should hold.
  private final class Work {
    static let size = (3 << 20) + 100
    let folder: String
    let base: [UInt8]
    var model: [UInt8]
    var random = SeededRandom(seed: 4)
    var path: String { folder + "/o.qcow2" }

    init(_ folder: String, _ tuning: OverlayTuning) throws {
      self.folder = folder
      base = ImageBytes.pattern(Self.size, seed: 1)
      model = base
      try HostTools.write(base, to: folder + "/base.img")
      try Overlay.create(
        in: WritableFileStorage(creating: path), size: UInt64(Self.size),
        base: OverlayBase(name: "base.img", format: "raw", identity: []), tuning
      ).close()
    }

    /// Writes and zeros on an open overlay.
    func write(_ rounds: Int = 6, at zone: Range<Int> = 0..<size) throws {
      let overlay = try Overlay.open(WritableFileStorage(path: path))
      let disk = try OverlaidDisk(overlay, base).disk
      for _ in 0..<rounds {
        let at = Int.random(in: zone, using: &random)
        let count = Int.random(in: 1...min(90_000, Self.size - at), using: &random)
        let isZero = Int.random(in: 0..<4, using: &random) == 0
        let bytes =
          isZero
          ? [UInt8](repeating: 0, count: count) : ImageBytes.pattern(count, seed: random.next())
        if isZero {
          try disk.zero(at: DiskOffset(UInt64(at)), length: UInt64(count))
        } else {
          try disk.put(bytes, at: UInt64(at))
        }
        model.replaceSubrange(at..<at + count, with: bytes)
        if at % 3 == 0 { try disk.flush() }
      }
      // Open, too: leaks perhaps, no errors.
      try disk.flush()
      try HostTools.run("qemu-img", ["check", path], accepting: [0, 3])
      try OverlaySnapshotToolTests.requireSame(try disk.bytes(at: 0, count: Self.size), model)
      try overlay.close()
      try check()
    }

    func check() throws {
      try HostTools.run("qemu-img", ["check", path])
      let checked = QcowChecker(try PagedBytes(contentsOf: path))
      try #require(checked.errors == [])
      try #require(checked.leaks == [])
    }

    func snapshot(_ option: String, _ name: String) throws {
      try HostTools.run("qemu-img", ["snapshot", option, name, path])
      try check()
    }

    /// The disk, or a snapshot, as QEMU reads it.
    func converted(_ snapshot: String? = nil) throws -> [UInt8] {
      try HostTools.run(
        "qemu-img",
        ["convert", "-O", "raw"] + (snapshot.map { ["-l", "snapshot.name=\($0)"] } ?? [])
          + [path, folder + "/out.raw"])
      let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/out.raw")))
      return Array(bytes.prefix(Self.size))
    }

    func file() throws -> WritableFileStorage { try WritableFileStorage(path: path) }
    func names() throws -> [String] { try Overlay.snapshots(in: file()).map(\.name) }
  }

  fileprivate static func requireSame(_ a: [UInt8], _ b: [UInt8]) throws {
    try #require(same(a, b))
  }

  private static let tunings = [OverlayTuning(), .small]

  @Test(arguments: [0, 1]) func qemuReadsOurs(_ tuning: Int) throws {
    try HostTools.withFolder { folder in
      let work = try Work(folder, Self.tunings[tuning])
      try Overlay.createSnapshot("nothing yet", in: work.file())
      try work.check()
      try work.write()
      let one = work.model
      try Overlay.createSnapshot("ein ß", in: work.file())
      try work.check()
      try work.write()
      let two = work.model
      try Overlay.createSnapshot("two", in: work.file())
      try work.write()
      let text = try HostTools.run("qemu-img", ["info", "--output=json", work.path])
      let info = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
      let listed = try #require(info?["snapshots"] as? [[String: Any]])
      #expect(listed.map { $0["name"] as? String } == ["nothing yet", "ein ß", "two"])
      #expect(listed.map { $0["id"] as? String } == ["1", "2", "3"])
      let date = try #require(listed[2]["date-sec"] as? Int)
      #expect(abs(Double(date) - Date().timeIntervalSince1970) < 100)
      #expect(listed[2]["vm-state-size"] as? Int == 0)
      #expect(listed[2]["icount"] == nil)
      #expect(same(try work.converted("nothing yet"), work.base))
      #expect(same(try work.converted("ein ß"), one))
      #expect(same(try work.converted("two"), two))
      #expect(same(try work.converted(), work.model))

      // It goes back, and so do we afterwards.
      try work.snapshot("-a", "ein ß")
      work.model = one
      #expect(same(try work.converted(), one))
      try work.write()
      #expect(same(try work.converted("ein ß"), one))
      try Overlay.revert(work.file(), to: "two")
      try work.check()
      work.model = two
      #expect(same(try work.converted(), two))
      try work.write()
      try work.snapshot("-d", "ein ß")
      try work.write()
      #expect(same(try work.converted("two"), two))
      try Overlay.deleteSnapshot("two", in: work.file())
      try work.check()
      #expect(same(try work.converted(), work.model))
      #expect(try work.names() == ["nothing yet"])
      try Overlay.empty(work.file())
      try work.check()
      #expect(try work.names() == ["nothing yet"])
      #expect(same(try work.converted(), work.base))
      #expect(same(try work.converted("nothing yet"), work.base))
    }
  }

  /// QEMU's snapshots share tables as well as clusters.
  @Test(arguments: [0, 1]) func weGoOnAboveQemus(_ tuning: Int) throws {
    try HostTools.withFolder { folder in
      let work = try Work(folder, Self.tunings[tuning])
      try work.write()
      let one = work.model
      try work.snapshot("-c", "one")
      try work.write()
      let two = work.model
      try work.snapshot("-c", "two")
      // Right on top of tables that are shared.
      try work.snapshot("-c", "2b")
      try Overlay.createSnapshot("three", in: work.file())
      try work.check()
      try work.write()
      try work.snapshot("-c", "four")
      let four = work.model
      try work.write()
      let records = try Overlay.snapshots(in: work.file())
      #expect(records.map(\.name) == ["one", "two", "2b", "three", "four"])
      #expect(records.map(\.id) == ["1", "2", "3", "4", "5"])
      #expect(records.allSatisfy { $0.size == UInt64(Work.size) })
      for (name, state) in [
        ("one", one), ("two", two), ("2b", two), ("three", two), ("four", four),
      ] { #expect(same(try work.converted(name), state), "\(name)") }
      for (name, state) in [("four", four), ("two", two), ("one", one)] {
        try Overlay.revert(work.file(), to: name)
        try work.check()
        work.model = state
        #expect(same(try work.converted(), state), "\(name)")
        try work.snapshot("-a", name)
        try work.write()
        try work.snapshot("-c", "again")
        try Overlay.deleteSnapshot(name, in: work.file())
        try work.check()
        try work.write()
        try work.snapshot("-d", "again")
        try work.write()
      }
      #expect(same(try work.converted("three"), two))
      #expect(try work.names() == ["2b", "three"])
    }
  }

  /// QEMU allows what we do not make.
  @Test func namesThatQemuGave() throws {
    try HostTools.withFolder { folder in
      let work = try Work(folder, OverlayTuning())
      try work.write(2)
      try work.snapshot("-c", "same")
      try work.write(2)
      try work.snapshot("-c", "same")
      let second = work.model
      try work.snapshot("-c", "1")
      try work.write(2)
      let file = try work.file()
      let error = #expect(throws: DiskError.self) { try Overlay.revert(file, to: "same") }
      #expect(error?.description.contains("(1, 2)") == true)
      try Overlay.revert(file, to: "2")
      #expect(same(try work.converted(), second))
      // A name goes before a number, as with `--snapshot`.
      try Overlay.deleteSnapshot("1", in: file)
      #expect(try work.names() == ["same", "same"])
      try work.check()
    }
  }

  /// A state of another size is left to QEMU, which can make the disk smaller and larger.
  @Test func anotherSize() throws {
    try HostTools.withFolder { folder in
      let work = try Work(folder, OverlayTuning())
      try work.write(3)
      try Overlay.createSnapshot("small", in: work.file())
      try HostTools.run("qemu-img", ["resize", work.path, "8M"])
      let file = try work.file()
      let error = #expect(throws: DiskError.self) { try Overlay.revert(file, to: "small") }
      #expect(error?.description.contains("3146240") == true)
      #expect(try Overlay.snapshots(in: file)[0].size == UInt64(Work.size))
      try Overlay.deleteSnapshot("small", in: file)
      try work.check()
    }
  }
}

extension PagedBytes {
  fileprivate init(contentsOf path: String) throws {
    self.init()
    write([UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))[...], at: 0)
  }
}
