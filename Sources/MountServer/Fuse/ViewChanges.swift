internal import DiskCore
internal import Dispatch
internal import Glibc
internal import MountTree

/// Changes the bytes behind views so that every other view shows them at once (DESIGN sections 1
/// and 7).
///
/// The order is: stale pages are dropped, the change is made, pages are dropped again, the request is
/// answered. Dropping waits for requests about those pages, so it is done on threads of its own, which
/// no request waits for but the one that it is done for. Where no page can be stale, which is most of
/// the time, the change is made at once and on the thread that the request came on.
final class ViewChanges: Sendable {
  /// How a change ended.
  enum Outcome: Sendable {
    case written(Int)
    case done
    case failed(DiskError)
  }

  let caches = ViewCaches()
  let kernel = KernelPages()
  private let activity: MountActivity
  private let threads = DispatchQueue(label: "platter.pages", attributes: .concurrent)

  init(activity: MountActivity) { self.activity = activity }

  /// Writes at most to the end of the window, as a block device does.
  func write(
    _ bytes: UnsafeRawBufferPointer, at start: UInt64, to window: Window, through file: OpenFile,
    _ request: consuming FuseRequest
  ) {
    let count = Int(min(UInt64(bytes.count), window.size - min(window.size, start)))
    guard count > 0 else { return request.reply(errno: unsafe bytes.isEmpty ? 0 : ENOSPC) }
    let bytes = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<count])
    file.willWrite(start..<start + UInt64(count))
    perform(
      start..<start + UInt64(count), of: window, through: file,
      now: { unsafe write(bytes, at: start, to: window) },
      later: {
        let copy = unsafe Array(bytes)
        return { [self] in
          unsafe copy.withUnsafeBytes { unsafe write($0, at: start, to: window) }
        }
      }, request)
  }

  private func write(
    _ bytes: UnsafeRawBufferPointer, at start: UInt64, to window: Window
  ) -> Outcome {
    do throws(DiskError) {
      try window.write(at: DiskOffset(start), from: unsafe bytes.bytes)
      activity.didWrite(bytes.count)
      return .written(bytes.count)
    } catch {
      return .failed(error)
    }
  }

  /// Makes a range of the window, in which it lies, read as zeros.
  func zero(
    _ range: Range<UInt64>, of window: Window, through file: OpenFile,
    _ request: consuming FuseRequest
  ) {
    let change = { @Sendable () -> Outcome in
      do throws(DiskError) {
        try window.zero(at: DiskOffset(range.lowerBound), length: UInt64(range.count))
        return .done
      } catch {
        return .failed(error)
      }
    }
    guard let view = file.view, view.isWritable, view.opening.isCached else {
      return perform(range, of: window, through: file, now: change, later: { change }, request)
    }
    file.hasNews.store(true, ordering: .relaxed)
    let outcome = change()
    guard case .failed = outcome else { return answer(request, outcome) }
    // The kernel drops its own pages where this succeeds. What failed can have changed some bytes.
    let pending = PendingRequest(request)
    threads.async { [self] in
      kernel.drop([ViewCaches.StalePages(node: view.node, range: range)])
      if let request = pending.take() { answer(request, outcome) }
    }
  }

  /// Makes zeros of what a program skipped that believes to have emptied the file, and answers its
  /// close. The kernel has pages of it, which it knows nothing new about.
  func fill(
    _ gaps: [Range<UInt64>], of window: Window, through view: OpenFile.View,
    _ request: consuming FuseRequest, andThen: @escaping @Sendable () -> Void
  ) {
    let pending = PendingRequest(request)
    threads.async { [self] in
      var outcome = Outcome.done
      do throws(DiskError) {
        for gap in gaps {
          try window.zero(at: DiskOffset(gap.lowerBound), length: UInt64(gap.count))
          let start = window.start.bytes
          kernel.drop(
            caches.stale(
              after: start + gap.lowerBound..<start + gap.upperBound, through: view.node))
          kernel.drop([ViewCaches.StalePages(node: view.node, range: gap)])
        }
      } catch {
        outcome = .failed(error)
      }
      andThen()
      if let request = pending.take() { answer(request, outcome) }
    }
  }

  /// - Parameters:
  ///   - now: makes the change on this thread.
  ///   - later: gives what makes it on another thread, after this function has returned.
  private func perform(
    _ range: Range<UInt64>, of window: Window, through file: OpenFile, now: () -> Outcome,
    later: () -> @Sendable () -> Outcome, _ request: consuming FuseRequest
  ) {
    guard let view = file.view, view.isWritable else { return request.reply(errno: EBADF) }
    file.hasNews.store(true, ordering: .relaxed)
    // While a view is cached, no other one that overlaps it is.
    guard !view.opening.isCached else { return answer(request, now()) }
    let changed = window.start.bytes + range.lowerBound..<window.start.bytes + range.upperBound
    let stale = caches.stale(after: changed, through: view.node)
    guard stale.isEmpty else {
      let change = later()
      let pending = PendingRequest(request)
      return threads.async { [self] in
        kernel.drop(stale)
        let outcome = change()
        kernel.drop(caches.stale(after: changed, through: view.node))
        if let request = pending.take() { answer(request, outcome) }
      }
    }
    let outcome = now()
    let late = caches.stale(after: changed, through: view.node)
    guard !late.isEmpty else { return answer(request, outcome) }
    let pending = PendingRequest(request)
    threads.async { [self] in
      kernel.drop(late)
      if let request = pending.take() { answer(request, outcome) }
    }
  }

  private func answer(_ request: consuming FuseRequest, _ outcome: Outcome) {
    if case .failed = outcome {} else { activity.didChange() }
    switch outcome {
    case .written(let count): request.reply(written: count)
    case .done: request.reply(errno: 0)
    case .failed(let error):
      activity.didFailToWrite(error)
      request.reply(errno: error.errno)
    }
  }

  /// The kernel writes back what it holds of stores through mappings. Not to be called on a thread that
  /// serves requests.
  func writeBack(where isWanted: (UInt64) -> Bool = { _ in true }) {
    drop(caches.cachedNodes.filter(isWanted))
  }

  /// The disk holds something else: whoever has a view open, through a mapping too, finds that from now
  /// on. Not to be called on a thread that serves requests.
  func dropEverything() { drop(caches.allStale()) }

  /// The kernel asks for the sizes of these again. Of pages it has none that are wrong: those at an end that
  /// is none are read only when it was corrected. Waits for nothing.
  func forgetSizes(of nodes: [UInt64]) {
    for node in nodes { kernel.forgetAttributes(of: node) }
  }

  /// On one of the threads that `finish` waits for.
  private func drop(_ nodes: [UInt64]) {
    threads.sync { for node in nodes { kernel.dropAll(of: node) } }
  }

  /// Returns when every change that was begun is made. No new one may come; who drops pages later, as one
  /// who puts the disk back, finds the kernel gone.
  func finish() { threads.sync(flags: .barrier) { kernel.detach() } }
}
