import DiskCore
import Foundation
import TestSupport
import Testing

/// Two descriptors of one process are two users: the locks are an open file's, not a process's.
@Suite struct ImageLockTests {
  private static let uses: [ImageLock.Use] = [.read, .readShared, .write, .writeAndResize]

  @Test func whatGoesTogether() throws {
    // In the order of `uses`: any readers, or one writer; who shares all goes with everybody who lets
    // others read.
    let allowed = [
      [true, true, false, false], [true, true, true, true], [false, true, false, false],
      [false, true, false, false],
    ]
    try HostTools.withFolder { folder in
      let path = "\(folder)/a.img"
      try Data([1]).write(to: URL(fileURLWithPath: path))
      for (first, row) in zip(Self.uses, allowed) {
        for (second, isAllowed) in zip(Self.uses, row) {
          let (one, two) = (open(path, O_RDONLY), open(path, O_RDONLY))
          defer {
            close(one)
            close(two)
          }
          try ImageLock.take(first, on: one, path: path)
          do throws(DiskError) {
            try ImageLock.take(second, on: two, path: path)
            #expect(isAllowed, "\(first), then \(second)")
          } catch {
            #expect(!isAllowed, "\(first), then \(second)")
            #expect(error.kind == .busy && error.path == path)
          }
        }
      }
    }
  }

  /// Bytes 100 to 103: "I do this"; 200 to 203: "nobody else may" (QEMU's file-posix.c).
  @Test func theBytesAreQEMUs() throws {
    let bytes: [[Int64]] = [
      [100, 201, 203], [100], [100, 101, 201, 203], [100, 101, 103, 201, 203],
    ]
    try HostTools.withFolder { folder in
      let path = "\(folder)/a.img"
      try Data([1]).write(to: URL(fileURLWithPath: path))
      for (use, expected) in zip(Self.uses, bytes) {
        let (one, two) = (open(path, O_RDONLY), open(path, O_RDONLY))
        defer {
          close(one)
          close(two)
        }
        try ImageLock.take(use, on: one, path: path)
        let locked = (0..<300 as Range<Int64>).filter { byte in
          var request = flock()
          request.l_type = Int16(F_WRLCK)
          request.l_whence = Int16(SEEK_SET)
          request.l_start = off_t(byte)
          request.l_len = 1
          return fcntl(two, 36, &request) == 0 && request.l_type != Int16(F_UNLCK)
        }
        #expect(locked == expected)
      }
    }
  }
}
