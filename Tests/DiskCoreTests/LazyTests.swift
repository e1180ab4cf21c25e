import DiskCore
import TestSupport
import Testing

@Suite struct LazyTests {
  @Test func isMadeWhenAskedForAndOnce() throws {
    let makes = Shared(0)
    let lazy = Lazy {
      makes.change { $0 += 1 }
      return 42
    }
    #expect(makes.value == 0)
    #expect(try lazy.get() == 42)
    #expect(try lazy.get() == 42)
    #expect(makes.value == 1)
  }

  @Test func isMadeOnceForManyThreads() throws {
    let makes = Shared(0)
    let arrived = Shared(0)
    let lazy = Lazy {
      Threads.wait { arrived.value == 16 }
      return makes.changed { $0 += 1 }
    }
    let values = Threads.results(16) { _ in
      arrived.change { $0 += 1 }
      return try? lazy.get()
    }
    #expect(values == [Int?](repeating: 1, count: 16))
    #expect(makes.value == 1)
  }

  @Test func aFailureGoesToAllWhoWaitedAndTheNextTriesAgain() throws {
    let makes = Shared(0)
    let arrived = Shared(0)
    let lazy = Lazy { () throws(DiskError) -> Int in
      let number = makes.changed { $0 += 1 }
      guard number == 1 else { return number }
      Threads.wait { arrived.value == 16 }
      throw DiskError(.inputOutput, "try number \(number)")
    }
    let messages = Threads.results(16) { _ -> String in
      arrived.change { $0 += 1 }
      do throws(DiskError) { return "made \(try lazy.get())" } catch { return error.message }
    }
    #expect(messages == [String](repeating: "try number 1", count: 16))
    #expect(try lazy.get() == 2)
    #expect(try lazy.get() == 2)
    #expect(makes.value == 2)
  }

  @Test func failsAsOftenAsItsMakerDoes() throws {
    let makes = Shared(0)
    let lazy = Lazy { () throws(DiskError) -> Int in
      throw DiskError(.busy, "try number \(makes.changed { $0 += 1 })")
    }
    for number in 1...3 {
      let error = #expect(throws: DiskError.self) { try lazy.get() }
      #expect(error?.message == "try number \(number)" && error?.kind == .busy)
    }
  }

  @Test func goesWithItsOwner() throws {
    weak var seen: Lazy<[Int]>?
    do {
      let lazy = Lazy { [1, 2, 3] }
      seen = lazy
      #expect(try lazy.get().count == 3)
      #expect(seen != nil)
    }
    #expect(seen == nil)
  }
}
