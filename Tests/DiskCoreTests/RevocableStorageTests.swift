import DiskCore
import Foundation
import TestSupport
import Testing

@Suite struct RevocableStorageTests {
  @Test func readsUntilItIsTakenAway() throws {
    let storage = RevocableStorage(MemoryStorage([1, 2, 3]), reason: "is gone")
    #expect(try storage.bytes(at: FileOffset(1), count: 2) == [2, 3])
    #expect(throws: DiskError.self) {
      try storage.revoke { () throws(DiskError) in throw DiskError(.invalidRequest, "not now") }
    }
    #expect(try storage.bytes(at: .start, count: 1) == [1], "nothing was taken away")
    try storage.revoke {}
    do throws(DiskError) {
      _ = try storage.bytes(at: .start, count: 1)
      Issue.record("the bytes are somebody else's")
    } catch {
      #expect(error.message == "is gone")
    }
    #expect(throws: DiskError.self) { try storage.region(at: .start, limit: 1) }
    try storage.revoke {}
    // What is gone does not come back.
    #expect(throws: DiskError.self) {
      try storage.revoke { () throws(DiskError) in throw DiskError(.notFound, "no such thing") }
    }
    #expect(storage.isRevoked)
    #expect(throws: DiskError.self) { try storage.bytes(at: .start, count: 1) }
  }

  /// A read that began before is over before the bytes can become something else; one that comes
  /// meanwhile sees none of that.
  @Test(.timeLimit(.minutes(10))) func noReadSeesWhatComesAfter() throws {
    for round in 0..<20 {
      let bytes = WritableMemory([UInt8](repeating: 1, count: 4096))
      let slow = FaultyStorage(bytes)
      slow.beforeRead { _ in usleep(200) }
      let storage = RevocableStorage(slow, reason: "is gone")
      let seen = Threads.results(5) { thread -> Set<UInt8> in
        guard thread > 0 else {
          usleep(UInt32(round) * 100)
          try? storage.revoke { () throws(DiskError) in
            usleep(500)
            try bytes.write([UInt8](repeating: 2, count: 4096).span.bytes, at: .start)
          }
          return []
        }
        var seen: Set<UInt8> = []
        while let piece = try? storage.bytes(at: .start, count: 4096) { seen.formUnion(piece) }
        return seen
      }
      #expect(seen.reduce(into: Set()) { $0.formUnion($1) }.isSubset(of: [1]))
    }
  }
}
