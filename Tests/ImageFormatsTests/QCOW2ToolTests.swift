import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Images that qemu-img and qemu-io make, against what qemu-img reads out of them.
@Suite(.enabled(if: HostTools.has("qemu-img", "qemu-io"), "qemu-img is not installed"))
struct QCOW2ToolTests {
  /// Not a multiple of any cluster.
  private static let size = 3_000_832

  @Test(arguments: [
    "cluster_size=512", "cluster_size=512,compat=0.10", "cluster_size=4096", "cluster_size=2M",
    "compat=0.10", "compat=1.1,lazy_refcounts=on", "refcount_bits=1", "refcount_bits=64",
    "extended_l2=on", "extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=2M",
    "preallocation=metadata", "preallocation=falloc", "preallocation=full",
    "preallocation=metadata,extended_l2=on", "preallocation=metadata,cluster_size=512",
    "preallocation=metadata,cluster_size=2M", "data_file=FOLDER/x.data",
    "data_file=FOLDER/x.data,data_file_raw=on", "data_file=FOLDER/x.data,extended_l2=on",
    "data_file=FOLDER/x.data,preallocation=metadata,cluster_size=4096",
  ]) func written(_ options: String) throws {
    try HostTools.withFolder { folder in
      let path = "\(folder)/x.qcow2"
      try HostTools.run(
        "qemu-img",
        [
          "create", "-q", "-f", "qcow2", "-o",
          options.replacingOccurrences(of: "FOLDER", with: folder), path, "\(Self.size)",
        ])
      try QEMU.compare(path)
      try QEMU.write(
        path, ["write -P 1 0 5000", "write -P 2 70000 66000", "write -z 131072 20000"])
      try QEMU.compare(path)
      try QEMU.write(
        path,
        [
          "write -P 3 2999808 1024", "write -P 4 1048576 4096", "write -P 5 1060864 4096",
          "discard 65536 65536", "write -z -u 1500000 700000",
        ])
      try QEMU.compare(path)
      if !options.contains("data_file") {
        try HostTools.run("qemu-img", ["resize", "-q", path, "+4194304"])
        try QEMU.write(path, ["write -P 6 7000000 512"])
        try QEMU.compare(path)
      }
    }
  }

  @Test(arguments: [
    "compression_type=zlib", "compression_type=zstd", "compression_type=zlib,compat=0.10",
    "compression_type=zlib,cluster_size=512", "compression_type=zstd,cluster_size=512",
    "compression_type=zlib,cluster_size=2M", "compression_type=zstd,cluster_size=2M",
    "compression_type=zstd,extended_l2=on",
  ]) func compressed(_ options: String) throws {
    try HostTools.withFolder { folder in
      let (raw, path) = ("\(folder)/in.raw", "\(folder)/x.qcow2")
      try QEMU.makeRaw(raw, size: Self.size)
      try HostTools.run(
        "qemu-img",
        ["convert", "-q", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, path])
      let image = try OpenImage(path: path)
      #expect(try QEMU.bytes(image.disk) == QEMU.contents(raw))
      var compressed: UInt64 = 0
      try image.disk.whole.forEachMapEntry { entry in
        if case .compressed = entry.content { compressed += entry.length }
      }
      #expect(compressed > 0)
      // And where parts of it are written over.
      try QEMU.write(path, ["write -P 9 1000 70000", "write -P 8 2000000 512"])
      try QEMU.compare(path)
    }
  }

  /// What the builder makes, both read alike.
  @Test(arguments: [false, true], [9, 12, 16]) func built(_ isZstd: Bool, _ bits: Int) throws {
    try HostTools.withFolder { folder in
      var builder = QCOW2Builder(size: 10 << UInt64(bits))
      builder.clusterBits = bits
      builder.isZstd = isZstd
      for index in [0, 1, 2, 5, 9] {
        let content = ImageBytes.pattern(1 << bits, seed: UInt64(index))
        builder.clusters[index] =
          index % 2 == 0
          ? .data(content)
          : .compressed(
            isZstd ? CompressedBytes.zstd(content) : CompressedBytes.deflate(content), content)
      }
      builder.clusters[3] = .zero
      builder.clusters[4] = .zeroAt([1, 2, 3])
      builder.snapshots = [
        .init("1", "s", size: 10 << UInt64(bits), [2: .data([7, 7])])
      ]
      let path = "\(folder)/x.qcow2"
      try HostTools.write(builder.file.bytes, to: path)
      try QEMU.compare(path)
      try QEMU.compare(path, snapshot: "s")
      #expect(try QEMU.bytes(OpenImage(path: path).disk) == Data(builder.content()))
    }
  }

  @Test(arguments: ["compat=0.10", "compat=1.1", "extended_l2=on", "cluster_size=512"])
  func snapshots(_ options: String) throws {
    try HostTools.withFolder { folder in
      let path = "\(folder)/x.qcow2"
      try HostTools.run(
        "qemu-img", ["create", "-q", "-f", "qcow2", "-o", options, path, "\(Self.size)"])
      try QEMU.write(path, ["write -P 1 0 300000"])
      for (number, name) in ["first", "second one", "drei"].enumerated() {
        try HostTools.run("qemu-img", ["snapshot", "-c", name, path])
        try QEMU.write(path, ["write -P \(number + 2) \(number * 100_000) 200000"])
      }
      if options != "compat=0.10" {
        try HostTools.run("qemu-img", ["resize", "-q", path, "+1048576"])
        try HostTools.run("qemu-img", ["snapshot", "-c", "longer", path])
        try HostTools.run("qemu-img", ["resize", "-q", "--shrink", path, "\(Self.size)"])
      }
      let image = try OpenImage(path: path)
      #expect(image.snapshots.map(\.name).prefix(3) == ["first", "second one", "drei"])
      try QEMU.compare(path)
      for snapshot in image.snapshots {
        #expect(abs(Date().timeIntervalSince1970 - Double(snapshot.created ?? 0)) < 100)
        // Of a snapshot that is longer than the disk, qemu-img 7.2 converts only that much: so it is
        // made the disk of a copy.
        let copy = "\(folder)/copy.qcow2"
        try HostTools.run("cp", [path, copy])
        try HostTools.run("qemu-img", ["snapshot", "-a", snapshot.name, copy])
        try QEMU.compare(copy)
        #expect(try QEMU.bytes(snapshot.open()) == QEMU.bytes(OpenImage(path: copy).disk))
      }
    }
  }

  @Test(.enabled(if: SharedImages.exist)) func aRealImage() throws {
    try QEMU.compare(#require(SharedImages.folder) + "/ext2.qcow2")
  }
}
