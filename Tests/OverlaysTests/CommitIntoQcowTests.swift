import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

@testable import Overlays

/// Changes put into qcow2 files that QEMU made.
@Suite(.enabled(if: HostTools.has("qemu-img", "qemu-io"), "qemu-utils is not installed"))
struct CommitIntoQcowTests {
  /// A base that QEMU makes of `plain.raw`.
  struct Made: Sendable, CustomTestStringConvertible {
    let name: String
    var options: [String] = []
    /// A backing file with this much of the disk, in 1/10.
    var backing: Int? = nil
    var isCompressed = false
    var hasSnapshot = false
    var testDescription: String { name }

    func make(_ folder: String, _ content: [UInt8]) throws {
      var options = options
      var source = folder + "/plain.raw"
      try HostTools.write(content, to: source)
      if let backing {
        let part = Array(content.prefix(content.count * backing / 10 / 512 * 512))
        try HostTools.write(part, to: folder + "/below.raw")
        options += ["backing_file=\(folder)/below.raw,backing_fmt=raw"]
      }
      if hasSnapshot {
        // Half of the disk is another one then.
        source = folder + "/old.raw"
        try HostTools.write(
          content[..<(content.count / 2)] + ImageBytes.pattern(content.count / 2, seed: 31),
          to: source)
      }
      let base = folder + "/base.qcow2"
      try HostTools.run(
        "qemu-img",
        ["convert", "-f", "raw", "-O", "qcow2"] + (isCompressed ? ["-c"] : [])
          + options.flatMap { ["-o", $0] } + [source, base])
      guard hasSnapshot else { return }
      try HostTools.run("qemu-img", ["snapshot", "-c", "old", base])
      try HostTools.run(
        "qemu-io",
        [
          "-f", "qcow2", "-c",
          "write -s \(folder)/tail.raw \(content.count / 2) \(content.count - content.count / 2)",
          base,
        ])
    }
  }

  static let kinds: [Made] = [
    Made(name: "as QEMU makes it"), Made(name: "512-byte clusters", options: ["cluster_size=512"]),
    Made(name: "4 KiB clusters", options: ["cluster_size=4k"]),
    Made(name: "2 MiB clusters", options: ["cluster_size=2M"]),
    Made(name: "subclusters", options: ["extended_l2=on"]),
    Made(name: "tables made ahead", options: ["preallocation=metadata"]),
    Made(name: "everything made ahead", options: ["preallocation=falloc"]),
    Made(name: "on a backing file", backing: 7), Made(name: "zlib", isCompressed: true),
    Made(name: "zstd", options: ["compression_type=zstd"], isCompressed: true),
    Made(name: "zlib in 4 KiB", options: ["cluster_size=4k"], isCompressed: true),
    Made(
      name: "subclusters and zlib", options: ["extended_l2=on,cluster_size=128k"],
      isCompressed: true), Made(name: "a snapshot", hasSnapshot: true),
    Made(name: "a snapshot and zlib", isCompressed: true, hasSnapshot: true),
  ]

  @Test(arguments: kinds) func takesChanges(_ kind: Made) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(kind.name.utf8.count))
      let size = 3_500_032
      var model = ImageBytes.pattern(size, seed: 2)
      // Holes, too.
      model.replaceSubrange(1_000_000..<2_000_000, with: [UInt8](repeating: 0, count: 1_000_000))
      try HostTools.write(Array(model[(size / 2)...]), to: folder + "/tail.raw")
      try kind.make(folder, model)
      let base = folder + "/base.qcow2"
      let path = folder + "/o.qcow2"
      // Twice: the second time into what Platter wrote.
      for round in 0..<2 {
        let image = try OpenImage(path: base, options: ImageOptions())
        let overlay =
          round == 0
          ? try Overlay.create(
            in: WritableFileStorage(creating: path), size: image.disk.size,
            base: try OverlayBase(image, ImageOptions(), overlay: path))
          : try Overlay.open(WritableFileStorage(path: path))
        let disk = try Disk(overlay, over: image.disk)
        for _ in 0..<25 {
          let at = Int.random(in: 0..<size, using: &random)
          let count = Int.random(in: 1...min(90_000, size - at), using: &random)
          var bytes = ImageBytes.pattern(count, seed: random.next())
          if Int.random(in: 0..<3, using: &random) > 0 {
            try disk.put(bytes, at: UInt64(at))
          } else {
            bytes = [UInt8](repeating: 0, count: count)
            try disk.zero(at: DiskOffset(UInt64(at)), length: UInt64(count))
          }
          model.replaceSubrange(at..<at + count, with: bytes)
        }
        try overlay.close()
        try HostTools.write(model, to: folder + "/model.raw")

        try OverlayCommit(path: path).run()
        try HostTools.run("qemu-img", ["check", base])
        try HostTools.run("qemu-img", ["check", path])
        for file in [base, path] {
          try HostTools.run(
            "qemu-img", ["compare", "-f", "qcow2", "-F", "raw", file, folder + "/model.raw"])
        }
        let stored = try StoredOverlay(path: path)
        #expect(try stored.heldBytes().all == 0)
        #expect(!stored.info.isMarkedCommitting)
        #expect(try OverlayOnBase(stored).comparison().files.isEmpty)
      }
      guard kind.hasSnapshot else { return }
      try HostTools.run(
        "qemu-img", ["convert", "-O", "raw", "-l", "old", base, folder + "/out.raw"])
      try HostTools.run(
        "qemu-img",
        ["compare", "-f", "raw", "-F", "raw", folder + "/out.raw", folder + "/old.raw"])
    }
  }

  @Test(arguments: [
    (["compat=0.10"], "qemu-img amend"), (["refcount_bits=8"], "16 bits"),
    (["data_file=DATA"], "another file"), (["lazy_refcounts=on"], ""),
  ]) func whatIsRefused(_ options: [String], _ complaint: String) throws {
    try HostTools.withFolder { folder in
      let options = options.map { $0.replacingOccurrences(of: "DATA", with: folder + "/data") }
      let base = folder + "/base.qcow2"
      try HostTools.run(
        "qemu-img", ["create", "-q", "-f", "qcow2", "-o"] + options + [base, "1M"])
      let image = try OpenImage(path: base, options: ImageOptions())
      let path = folder + "/o.qcow2"
      let overlay = try Overlay.create(
        in: WritableFileStorage(creating: path), size: image.disk.size,
        base: try OverlayBase(image, ImageOptions(), overlay: path))
      try Disk(overlay, over: image.disk).put([1], at: 5)
      try overlay.close()
      let before = try Data(contentsOf: URL(fileURLWithPath: base))
      guard !complaint.isEmpty else { return try OverlayCommit(path: path).run() }
      let error = #expect(throws: DiskError.self) { try OverlayCommit(path: path) }
      #expect(error?.description.contains(complaint) == true, "\(String(describing: error))")
      #expect(try Data(contentsOf: URL(fileURLWithPath: base)) == before)
      #expect(try !StoredOverlay(path: path).info.isMarkedCommitting)
    }
  }
}
