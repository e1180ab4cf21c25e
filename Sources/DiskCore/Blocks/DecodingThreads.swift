internal import Dispatch
internal import Glibc
internal import Synchronization

/// Decodes blocks ahead of readers, on as many threads as there are cores.
///
/// A thread is given a lane: blocks that follow each other in one part of a stream. On two threads the second
/// would only wait for what the first decodes. Blocks that need nothing but themselves are lanes of a few.
final class DecodingThreads: Sendable {
  /// A block that somebody will want soon.
  struct Block: Sendable {
    let decoder: any BlockDecoder
    let index: UInt64
    /// Whose reading it is ahead of.
    let waiter: Waiter?
    /// Where it is kept.
    let cache: BlockCache
  }

  fileprivate struct Lane: Sendable {
    let number: Int
    let decoder: any BlockDecoder
    /// Nil where nothing can be added to it.
    let part: UInt64?
    /// Not begun yet.
    var blocks: [Block]
    /// The index behind the last one's.
    var next: UInt64
    /// Whether a thread has it.
    var isTaken = false
  }

  fileprivate struct State: Sendable {
    /// The oldest first.
    var lanes: [Lane] = []
    var threads = 0
    var number = 0
  }

  private let walker = DispatchQueue(label: "platter.ahead")
  private let decoders = DispatchQueue(label: "platter.decoders", attributes: .concurrent)
  private let most = max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN)))
  private let state = Mutex(State())

  /// Runs `walk`, which finds out what to decode, after those that were asked for before it.
  func find(_ walk: @escaping @Sendable () -> Void) { walker.async(execute: walk) }

  /// Decodes blocks of one decoder in this order, behind what waits already.
  ///
  /// - Parameters:
  ///   - blocks: of one part, each index one more than the last; or of none, in any order.
  ///   - part: as `BlockDecoder.part(of:)`.
  func add(_ blocks: [Block], in part: UInt64?) {
    guard let first = blocks.first, let last = blocks.last else { return }
    let isThreadMissing = state.withLock { state in
      // What somebody will want next begins within the last block more often than behind it.
      let lane = state.lanes.firstIndex { lane in
        part != nil && lane.part == part && lane.decoder === first.decoder
          && (lane.next == first.index || lane.next == first.index &+ 1)
      }
      if let lane {
        let next = state.lanes[lane].next
        state.lanes[lane].blocks += blocks.drop { $0.index < next }
        state.lanes[lane].next = max(next, last.index &+ 1)
      } else {
        state.number += 1
        state.lanes.append(
          Lane(
            number: state.number, decoder: first.decoder, part: part, blocks: blocks,
            next: last.index &+ 1))
      }
      guard state.threads < most, state.nextLane != nil else { return false }
      state.threads += 1
      return true
    }
    if isThreadMissing { decoders.async { [self] in work() } }
  }

  /// Decodes what there is, lane by lane, until none is left for this thread.
  private func work() {
    var lane: Int?
    while true {
      let next = state.withLock { state -> (lane: Int, blocks: [Block])? in
        let next = state.takeOn(from: lane)
        if next == nil { state.threads -= 1 }
        return next
      }
      guard let next else { return }
      lane = next.lane
      for block in next.blocks {
        block.cache.decodeAhead(block.index, of: block.decoder, for: block.waiter)
      }
    }
  }
}

extension DecodingThreads.State {
  /// The oldest lane that nobody has and whose decoder can do one more.
  fileprivate var nextLane: Int? {
    lanes.indices.first { index in
      let lane = lanes[index]
      guard !lane.isTaken else { return false }
      guard lane.part != nil else { return true }
      let taken = lanes.count { $0.isTaken && $0.part != nil && $0.decoder === lane.decoder }
      return taken < lane.decoder.partsAtOnce
    }
  }

  /// What a thread is to do that has done all it took of `lane`: what has come to it meanwhile, or another.
  fileprivate mutating func takeOn(
    from lane: Int?
  ) -> (lane: Int, blocks: [DecodingThreads.Block])? {
    var index = lanes.firstIndex { $0.number == lane }
    if let held = index, lanes[held].blocks.isEmpty {
      lanes.remove(at: held)
      index = nil
    }
    guard let index = index ?? nextLane else { return nil }
    lanes[index].isTaken = true
    var blocks: [DecodingThreads.Block] = []
    swap(&blocks, &lanes[index].blocks)
    return (lanes[index].number, blocks)
  }
}
