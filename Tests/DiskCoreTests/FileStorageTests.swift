import DiskCore
import Foundation
import TestSupport
import Testing

@Suite struct FileStorageTests {
  /// A file with 64 KiB of data at 1 MiB and at 3 MiB, 4 MiB long.
  private static func makeSparse(_ path: String) throws {
    try HostTools.makeFile(path, size: 4 << 20)
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    for offset in [1 << 20, 3 << 20] as [UInt64] {
      try file.seek(toOffset: offset)
      try file.write(contentsOf: Data(ImageBytes.pattern(65536, seed: offset)))
    }
    try file.close()
  }

  private static let knowsHoles: Bool = {
    let found: Bool? = try? HostTools.withFolder { folder in
      try makeSparse("\(folder)/probe")
      let descriptor = open("\(folder)/probe", O_RDONLY)
      defer { close(descriptor) }
      return lseek(descriptor, 0, 3) == 1 << 20  // SEEK_DATA
    }
    return found ?? false
  }()

  @Test func bytes() throws {
    try HostTools.withFolder { folder in
      let content = ImageBytes.pattern(10_000, seed: 4)
      try HostTools.write(content, to: "\(folder)/disk.img")
      let storage = try FileStorage(path: "\(folder)/disk.img")
      #expect(storage.size == 10_000 && storage.path == "\(folder)/disk.img")
      #expect(try storage.bytes(at: .start, count: 10_000) == content)
      #expect(try storage.bytes(at: FileOffset(9_999), count: 1) == [content[9_999]])
      #expect(try storage.bytes(at: FileOffset(10_000), count: 0) == [])
      let age = Int(Date().timeIntervalSince1970) - storage.modificationTime.seconds
      #expect(abs(age) < 3600)
      #expect(storage.allocatedBytes >= 8192 && storage.allocatedBytes % 512 == 0)
    }
  }

  @Test(arguments: [(10, 1), (9, 2), (11, 0), (.max, 1), (.max, 0)] as [(UInt64, Int)])
  func readsPastTheEnd(_ offset: UInt64, _ count: Int) throws {
    try HostTools.withFolder { folder in
      try HostTools.write([UInt8](0..<10), to: "\(folder)/disk.img")
      let storage = try FileStorage(path: "\(folder)/disk.img")
      let error = #expect(throws: DiskError.self) {
        try storage.bytes(at: FileOffset(offset), count: count)
      }
      #expect(error?.kind == .truncated && error?.offset == offset)
      #expect(error?.path == "\(folder)/disk.img")
      let region = try storage.region(at: FileOffset(offset), limit: 5)
      #expect(region.length >= 1 && !region.isHole)
    }
  }

  @Test(.enabled(if: knowsHoles, "the temporary folder's file system knows no holes"))
  func holes() throws {
    try HostTools.withFolder { folder in
      try Self.makeSparse("\(folder)/disk.img")
      let storage = try FileStorage(path: "\(folder)/disk.img")
      func region(_ offset: UInt64, _ limit: UInt64 = .max) throws -> StorageRegion {
        try storage.region(at: FileOffset(offset), limit: limit)
      }
      let (first, second) = (1 << 20, 3 << 20) as (UInt64, UInt64)
      #expect(try region(0) == StorageRegion(isHole: true, length: first))
      #expect(try region(1) == StorageRegion(isHole: true, length: first - 1))
      #expect(try region(0, 4096) == StorageRegion(isHole: true, length: 4096))
      #expect(try region(first) == StorageRegion(isHole: false, length: 65536))
      #expect(try region(first + 65535) == StorageRegion(isHole: false, length: 1))
      #expect(try region(first, 10) == StorageRegion(isHole: false, length: 10))
      #expect(try region(second + 65536) == StorageRegion(isHole: true, length: 983_040))
      let window = try Disk(layers: [FlatLayer(storage)]).whole
      #expect(try window.nextData(from: .start)?.bytes == first)
      #expect(try window.nextHole(from: DiskOffset(first)).bytes == first + 65536)
      #expect(try window.nextData(from: DiskOffset(second + 65536)) == nil)
      #expect(window.allocatedBytes() == 2 * 65536)
      #expect(storage.allocatedBytes < 1 << 20)
    }
  }

  /// What a shorter file lost is not a hole, or a sparse copy would fill it with zeros and call that
  /// success.
  @Test(.enabled(if: knowsHoles, "the temporary folder's file system knows no holes"))
  func theLostEndIsNoHole() throws {
    try HostTools.withFolder { folder in
      let path = "\(folder)/disk.img"
      try Self.makeSparse(path)
      let storage = try FileStorage(path: path)
      #expect(truncate(path, 2_500_000) == 0)
      let start = UInt64(2 << 20)
      let hole = try storage.region(at: FileOffset(start), limit: 2 << 20)
      #expect(hole == StorageRegion(isHole: true, length: 2_500_000 - start))
      #expect(try !storage.region(at: FileOffset(2_500_000), limit: 4096).isHole)
    }
  }

  @Test func truncatedWhileOpen() throws {
    try HostTools.withFolder { folder in
      let content = ImageBytes.pattern(100_000, seed: 5)
      let path = "\(folder)/disk.img"
      try HostTools.write(content, to: path)
      let storage = try FileStorage(path: path)
      let window = try Disk(layers: [FlatLayer(storage)]).whole
      #expect(truncate(path, 50_000) == 0)
      #expect(storage.size == 100_000, "as it was when it was opened")
      #expect(try window.bytes(at: .start, count: 50_000) == Array(content[..<50_000]))
      for (offset, count) in [(49_999, 2), (0, 100_000), (50_000, 1)] as [(UInt64, Int)] {
        let error = #expect(throws: DiskError.self) {
          try window.bytes(at: DiskOffset(offset), count: count)
        }
        #expect(error?.kind == .truncated && error?.path == path && error?.offset == 50_000)
      }
      // What is gone is not a hole: a sparse copy must not read zeros there.
      #expect(try !storage.region(at: FileOffset(60_000), limit: 100).isHole)
      #expect(try window.nextData(from: DiskOffset(60_000))?.bytes == 60_000)
    }
  }

  @Test func whatIsNoImageFile() throws {
    try HostTools.withFolder { folder in
      func complaint(_ name: String) -> DiskError? {
        #expect(throws: DiskError.self) { try FileStorage(path: "\(folder)/\(name)") }
      }
      let missing = complaint("none.img")
      #expect(missing?.kind == .notFound && missing?.path == "\(folder)/none.img")
      #expect(missing?.message == "cannot open: No such file or directory")
      #expect(complaint(".")?.kind == .invalidRequest)
      #expect(complaint(".")?.message == "is a directory; name the image file inside it")
      // A FIFO nobody writes to: opening it must not wait.
      #expect(mkfifo("\(folder)/fifo", 0o600) == 0)
      #expect(complaint("fifo")?.message == "is neither a regular file nor a block device")
      try HostTools.write([1], to: "\(folder)/file")
      #expect(complaint("file/more")?.kind == .notFound)
      let device = #expect(throws: DiskError.self) { try FileStorage(path: "/dev/null") }
      #expect(device?.kind == .invalidRequest && device?.path == "/dev/null")
    }
  }

  @Test(.enabled(if: canBeRefused, "this user may read every file")) func noPermission() throws {
    try HostTools.withFolder { folder in
      try HostTools.write([1], to: "\(folder)/secret.img")
      #expect(chmod("\(folder)/secret.img", 0) == 0)
      let errors = Threads.results(1) { _ -> DiskError? in
        guard beNobodyOnThisThread() else { return nil }
        do throws(DiskError) {
          _ = try FileStorage(path: "\(folder)/secret.img")
          return nil
        } catch { return error }
      }
      let error = try #require(errors[0])
      #expect(error.kind == .permissionDenied && error.systemError == EACCES)
      #expect("\(error)" == "\(folder)/secret.img: cannot open: Permission denied")
    }
  }

  private static let canBeRefused = Threads.results(1) { _ in beNobodyOnThisThread() }[0]

  @Test func closesItsDescriptor() throws {
    try HostTools.withFolder { folder in
      let path = "\(folder)/disk.img"
      try HostTools.write([1], to: path)
      do {
        let storage = try FileStorage(path: path)
        #expect(descriptors(on: path) == 1)
        #expect(try storage.bytes(at: .start, count: 1) == [1])
      }
      #expect(descriptors(on: path) == 0)
      #expect(throws: DiskError.self) { try FileStorage(path: folder) }
      #expect(descriptors(on: folder) == 0)
    }
  }

  /// How many of this process's descriptors are open on `path`.
  private func descriptors(on path: String) -> Int {
    let manager = FileManager.default
    let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    let numbers = (try? manager.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return numbers.count {
      (try? manager.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) == real
    }
  }
}

/// Root may read anything, but on Linux a single thread can be somebody else to the file system.
/// False where that does not work, as in a user namespace.
private func beNobodyOnThisThread() -> Bool {
  guard geteuid() == 0 else { return true }
  // setfsuid(2) is in a header that Swift's Glibc leaves out.
  guard let symbol = dlsym(nil, "setfsuid") else { return false }
  let setUser = unsafeBitCast(symbol, to: (@convention(c) (UInt32) -> Int32).self)
  _ = setUser(65534)
  return setUser(65534) == 65534
}
