public import Synchronization

/// Values that are loaded when first asked for and kept while there is room: pages of tables,
/// decoded blocks.
///
/// Loading is I/O, so no lock is held meanwhile, and it happens once however many threads ask
/// (`Lazy`). What was loaded first goes first.
public final class LoadCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  @usableFromInline struct Resident: Sendable {
    @inlinable init() {}
    @usableFromInline var slots: [Key: Lazy<Value>] = [:]
    /// In the order they came; those before `oldest` are gone already.
    @usableFromInline var order: [Key] = []
    @usableFromInline var oldest = 0
    @usableFromInline var cost = 0
  }

  @usableFromInline let capacity: Int
  @usableFromInline let cost: @Sendable (Key) -> Int
  @usableFromInline let load: @Sendable (Key) throws(DiskError) -> Value
  @usableFromInline let resident = Mutex(Resident())

  /// - Parameters:
  ///   - capacity: what the values that are kept may cost together; one value is always kept.
  ///   - cost: what a value takes, known before it is loaded; in the unit of `capacity`.
  ///   - load: makes the value of a key.
  @inlinable public init(
    capacity: Int, cost: @escaping @Sendable (Key) -> Int = { _ in 1 },
    load: @escaping @Sendable (Key) throws(DiskError) -> Value
  ) {
    self.capacity = capacity
    self.cost = cost
    self.load = load
  }

  /// The value of `key`; blocks while another thread loads it.
  ///
  /// - Throws: what loading it throws, to everybody who waited; the next caller tries again.
  @inlinable public func value(of key: Key) throws(DiskError) -> Value { try slot(of: key).get() }

  @inlinable func slot(of key: Key) -> Lazy<Value> {
    resident.withLock { resident in
      if let slot = resident.slots[key] { return slot }
      let slot = Lazy { [load] () throws(DiskError) -> Value in try load(key) }
      resident.slots[key] = slot
      resident.order.append(key)
      resident.cost += cost(key)
      while resident.cost > capacity, resident.oldest < resident.order.count - 1 {
        let leaving = resident.order[resident.oldest]
        resident.slots[leaving] = nil
        resident.cost -= cost(leaving)
        resident.oldest += 1
      }
      // Moves each key at most once for each that left.
      if resident.oldest > resident.order.count / 2 {
        resident.order.removeFirst(resident.oldest)
        resident.oldest = 0
      }
      return slot
    }
  }
}
