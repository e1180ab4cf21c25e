import DiskCore
import TestSupport
import Testing

@Suite struct LoadCacheTests {
  /// Writes down what was loaded; a key's value is ten times it.
  private final class Loads: Sendable {
    let keys = Shared<[Int]>([])

    func cache(capacity: Int, cost: @escaping @Sendable (Int) -> Int = { _ in 1 }) -> LoadCache<
      Int, Int
    > {
      LoadCache(capacity: capacity, cost: cost) { [keys] (key) throws(DiskError) in
        keys.change { $0.append(key) }
        return key * 10
      }
    }
  }

  @Test func loadsOnceWhileThereIsRoom() throws {
    let loads = Loads()
    let cache = loads.cache(capacity: 3)
    for key in [1, 2, 3, 1, 2, 3, 3, 1] { #expect(try cache.value(of: key) == key * 10) }
    #expect(loads.keys.value == [1, 2, 3])
  }

  @Test func whatWasLoadedFirstGoesFirst() throws {
    let loads = Loads()
    let cache = loads.cache(capacity: 3)
    for key in [1, 2, 3, 1, 4] { _ = try cache.value(of: key) }
    #expect(loads.keys.value == [1, 2, 3, 4])
    for key in [2, 3, 4] { _ = try cache.value(of: key) }
    #expect(loads.keys.value == [1, 2, 3, 4])
    #expect(try cache.value(of: 1) == 10)
    #expect(loads.keys.value == [1, 2, 3, 4, 1])
    // 2 made room for it, and nothing else did.
    for key in [3, 4, 1] { _ = try cache.value(of: key) }
    #expect(loads.keys.value == [1, 2, 3, 4, 1])
  }

  @Test func costsCount() throws {
    let loads = Loads()
    let cache = loads.cache(capacity: 10) { $0 }
    for key in [4, 5, 1] { _ = try cache.value(of: key) }
    for key in [4, 5, 1] { _ = try cache.value(of: key) }
    #expect(loads.keys.value == [4, 5, 1])
    // 6 drives out 4 and 5; 1 and 6 are 7.
    _ = try cache.value(of: 6)
    for key in [1, 6] { _ = try cache.value(of: key) }
    #expect(loads.keys.value == [4, 5, 1, 6])
    _ = try cache.value(of: 4)
    #expect(loads.keys.value == [4, 5, 1, 6, 4])
  }

  /// What alone is larger than the cache is kept until the next one comes.
  @Test func oneIsAlwaysKept() throws {
    let loads = Loads()
    let cache = loads.cache(capacity: 10) { $0 }
    for _ in 0..<3 { #expect(try cache.value(of: 100) == 1000) }
    #expect(loads.keys.value == [100])
    for key in [1, 1, 100] { _ = try cache.value(of: key) }
    #expect(loads.keys.value == [100, 1, 100])
  }

  @Test func failuresAreNotKept() throws {
    let tries = Shared(0)
    let cache = LoadCache<Int, Int>(capacity: 2) { (key) throws(DiskError) in
      let number = tries.changed { $0 += 1 }
      guard number > 2 else { throw DiskError(.inputOutput, "try number \(number)") }
      return key
    }
    for number in 1...2 {
      let error = #expect(throws: DiskError.self) { try cache.value(of: 7) }
      #expect(error?.message == "try number \(number)")
    }
    #expect(try cache.value(of: 7) == 7)
    #expect(try cache.value(of: 7) == 7)
    #expect(tries.value == 3)
  }

  /// Against a model, over many keys: the bookkeeping of what left is trimmed on the way.
  @Test(arguments: [1, 2, 7, 64]) func againstAModel(_ capacity: Int) throws {
    let loads = Loads()
    let cache = loads.cache(capacity: capacity)
    var random = SeededRandom(seed: UInt64(capacity))
    var kept: [Int] = []
    var expected: [Int] = []
    for _ in 0..<5000 {
      let key = Int.random(in: 0..<capacity * 2, using: &random)
      if !kept.contains(key) {
        expected.append(key)
        kept.append(key)
        if kept.count > capacity { kept.removeFirst() }
      }
      #expect(try cache.value(of: key) == key * 10)
    }
    #expect(loads.keys.value == expected)
  }

  @Test func oneLoadForManyThreads() {
    let loads = Shared(0)
    let arrived = Shared(0)
    let cache = LoadCache<Int, Int>(capacity: 1) { (key) throws(DiskError) in
      Threads.wait { arrived.value == 16 }
      return loads.changed { $0 += 1 }
    }
    let values = Threads.results(16) { _ in
      arrived.change { $0 += 1 }
      return try? cache.value(of: 5)
    }
    #expect(values == [Int?](repeating: 1, count: 16))
  }

  /// A value that leaves while it is being loaded still reaches those who wait for it.
  @Test func leavingWhileItIsLoaded() throws {
    let isLoading = Shared(false)
    let mayEnd = Shared(false)
    let cache = LoadCache<Int, Int>(capacity: 1) { (key) throws(DiskError) in
      if key == 1 {
        isLoading.change { $0 = true }
        Threads.wait { mayEnd.value }
      }
      return key * 10
    }
    let values = Threads.results(2) { thread -> [Int?] in
      if thread == 0 { return [try? cache.value(of: 1)] }
      Threads.wait { isLoading.value }
      let others = (2..<6).map { try? cache.value(of: $0) }
      mayEnd.change { $0 = true }
      return others
    }
    #expect(values == [[10], [20, 30, 40, 50]])
  }

  @Test func manyThreadsOverFewKeys() {
    let cache = LoadCache<Int, [Int]>(capacity: 3) { (key) throws(DiskError) in
      [Int](repeating: key, count: 100)
    }
    let right = Threads.results(8) { thread in
      var random = SeededRandom(seed: UInt64(thread))
      return (0..<3000).allSatisfy { _ in
        let key = Int.random(in: 0..<12, using: &random)
        return (try? cache.value(of: key)) == [Int](repeating: key, count: 100)
      }
    }
    #expect(right == [Bool](repeating: true, count: 8))
  }
}
