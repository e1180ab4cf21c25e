import Foundation
import Synchronization

/// Real threads, as many as asked for: a thread pool has as few as the machine has cores, and waiting
/// must be tested with more.
public enum Threads {
  /// Runs `body` on `count` threads at once and gives their results, by thread.
  public static func results<Result: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (Int) -> Result
  ) -> [Result] {
    let results = Shared<[Int: Result]>([:])
    let group = DispatchGroup()
    for index in 0..<count {
      group.enter()
      let thread = Thread {
        let result = body(index)
        results.change { $0[index] = result }
        group.leave()
      }
      thread.start()
    }
    group.wait()
    return results.value.sorted { $0.key < $1.key }.map(\.value)
  }

  /// Waits until `condition` holds, at most ten seconds, and then some more for threads that are
  /// about to do the next thing.
  public static func wait(until condition: () -> Bool) {
    for _ in 0..<10_000 where !condition() { usleep(1000) }
    usleep(200_000)
  }
}

/// A value that threads share.
public final class Shared<Value: Sendable>: Sendable {
  private let state: Mutex<Value>

  public init(_ value: Value) { state = Mutex(value) }

  public var value: Value { state.withLock { $0 } }

  public func change(_ body: (inout Value) -> Void) { state.withLock { body(&$0) } }

  /// The value after the change, which no other thread saw first.
  public func changed(_ body: (inout Value) -> Void) -> Value {
    state.withLock {
      body(&$0)
      return $0
    }
  }
}
