import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// What an image says that is an overlay of Platter's: its exact size, and our name of its base's
/// format (docs/OVERLAYS.md).
struct OverlayReadingTests {
  private static let unit = 4096

  private static func overlay(
    size: Int, exact: UInt64? = nil, layout: UInt32 = 1, backing: String? = nil,
    format: String? = nil, count: Int = 48
  ) -> QCOW2Builder {
    var builder = QCOW2Builder(size: UInt64(size))
    builder.clusterBits = 12
    builder.backing = backing
    builder.backingFormat = format
    if let exact {
      var data = ImageBytes(count: 48)
      data.putBig(layout, at: 0)
      data.putBig(exact, at: 16)
      builder.extensions = [(0x506c_6174, Array(data.bytes.prefix(count)))]
    }
    return builder
  }

  private func size(_ builder: QCOW2Builder) throws -> UInt64 {
    try QCOW2Format().open(builder.file.storage(), .none).layers[0].size
  }

  @Test func theExactSize() throws {
    #expect(try size(Self.overlay(size: 8192, exact: 8192)) == 8192)
    #expect(try size(Self.overlay(size: 8192, exact: 8191)) == 8191)
    #expect(try size(Self.overlay(size: 8192, exact: 7681)) == 7681)
    // Somebody resized the disk.
    #expect(try size(Self.overlay(size: 8192, exact: 7680)) == 8192)
    #expect(try size(Self.overlay(size: 8192, exact: 8193)) == 8192)
    #expect(try size(Self.overlay(size: 8192, exact: .max)) == 8192)
    #expect(try size(Self.overlay(size: 8192, exact: 0)) == 8192)
    // A later layout, and one that is cut off.
    #expect(try size(Self.overlay(size: 8192, exact: 8191, layout: 2)) == 8192)
    #expect(try size(Self.overlay(size: 8192, exact: 8191, count: 23)) == 8192)
    #expect(try size(Self.overlay(size: 8192, exact: 8191, count: 2)) == 8192)
    #expect(try size(Self.overlay(size: 8192)) == 8192)
  }

  /// The parts of a split image are one base; with `raw`, which QEMU reads, the first one alone is.
  @Test func aSplitBase() throws {
    try HostTools.withFolder { folder in
      let parts = (1...3).map { ImageBytes.pattern(3000, seed: UInt64($0)) }
      for (index, part) in parts.enumerated() {
        try HostTools.write(part, to: "\(folder)/base.00\(index + 1)")
      }
      for (format, base) in [("platter-raw", parts[0] + parts[1] + parts[2]), ("raw", parts[0])] {
        var builder = Self.overlay(
          size: 9216, exact: 9000, backing: "base.001", format: format)
        builder.clusters = [0: .data([UInt8](repeating: 7, count: Self.unit))]
        try HostTools.write(builder.file.bytes, to: folder + "/w.qcow2")
        var expected = [UInt8](repeating: 0, count: 9000)
        expected.replaceSubrange(0..<base.count, with: base)
        expected.replaceSubrange(0..<Self.unit, with: [UInt8](repeating: 7, count: Self.unit))
        for options in [ImageOptions(), ImageOptions(parents: [folder + "/base.001"])] {
          let image = try OpenImage(path: folder + "/w.qcow2", options: options)
          #expect(image.disk.size == 9000)
          #expect(try image.disk.whole.bytes(at: .start, count: 9000) == expected)
        }
      }
      // A part that lies outside, by a link, is not opened.
      try HostTools.withFolder { other in
        try HostTools.write(parts[1], to: other + "/secret")
        try FileManager.default.removeItem(atPath: folder + "/base.002")
        try FileManager.default.createSymbolicLink(
          atPath: folder + "/base.002", withDestinationPath: other + "/secret")
        try HostTools.write(
          Self.overlay(size: 9216, exact: 9000, backing: "base.001", format: "platter-raw")
            .file.bytes, to: folder + "/w.qcow2")
        #expect(throws: DiskError.self) { try OpenImage(path: folder + "/w.qcow2") }
      }
    }
  }

  @Test func aBaseOfAFormatThatIsNamed() throws {
    try HostTools.withFolder { folder in
      var base = Self.overlay(size: 8192)
      base.clusters = [1: .data(ImageBytes.pattern(Self.unit, seed: 1))]
      try HostTools.write(base.file.bytes, to: folder + "/base")
      func open(_ format: String) throws -> OpenImage {
        try HostTools.write(
          Self.overlay(size: 8192, backing: "base", format: format).file.bytes,
          to: folder + "/w.qcow2")
        return try OpenImage(path: folder + "/w.qcow2")
      }
      let image = try open("platter-qcow2")
      #expect(image.disk.layers.map(\.description.format) == ["qcow2", "qcow2"])
      #expect(
        try image.disk.whole.bytes(at: DiskOffset(4096), count: Self.unit)
          == ImageBytes.pattern(Self.unit, seed: 1))
      // Taken at its word: the bytes as they are stored.
      #expect(try open("platter-raw").disk.layers[1].description.format == "raw")
      for (format, word) in [
        ("platter-", "none"), ("platter-vdi", "VDI"), ("platter-none", "none"),
        ("platter-state", "--snapshot"),
      ] {
        let error = #expect(throws: DiskError.self) { try open(format) }
        #expect(error?.description.contains(word) == true, "\(String(describing: error))")
      }
    }
  }

  /// QEMU takes at most 15 bytes, and what is written is read again.
  @Test func ourNames() throws {
    for format in FormatRegistry.formats {
      let text = OwnFormatName.text(of: format.name)
      #expect(text.hasPrefix("platter-") && text.utf8.count <= 15, "\(text)")
      let name = String(text.dropFirst("platter-".count))
      #expect(try FormatRegistry.format(named: name).name == format.name)
    }
    #expect(OwnFormatName.snapshot.utf8.count <= 15)
    #expect(throws: DiskError.self) { try FormatRegistry.format(named: "state") }
  }
}
