public import DiskCore
internal import Synchronization

/// Which views of one disk the kernel may keep pages of.
///
/// Views overlap: the disk holds every partition. Two cached views that write parts of one shared page
/// lock each other out in the kernel, so of views that overlap at most one is cached at a time: the one
/// that was opened first. The others are opened for direct I/O, and what is written through them makes
/// the cached one's pages stale: `stale(after:)` says which. What is written through a cached view
/// makes nothing stale.
public final class ViewCaches: Sendable {
  /// How a view was opened.
  public struct Opening: Sendable, Equatable {
    /// Whether the kernel may keep pages; otherwise every request comes to us.
    public let isCached: Bool
    /// Whether pages of an earlier opening are still good.
    public let keepsPages: Bool

    /// As a view is opened where the kernel keeps no pages at all.
    public static let direct = Opening(isCached: false, keepsPages: false)
  }

  /// Pages that no longer hold what the disk holds.
  public struct StalePages: Sendable, Equatable {
    /// The view's inode.
    public let node: UInt64
    /// Where in the view.
    public let range: Range<UInt64>

    public init(node: UInt64, range: Range<UInt64>) {
      self.node = node
      self.range = range
    }
  }

  private struct View: Sendable {
    let node: UInt64
    let window: Range<UInt64>
    var cachedHandles = 0
    var directHandles = 0
    /// Whether the kernel can have pages, and they are good.
    var hasGoodPages = false

    var isIdle: Bool { cachedHandles == 0 && directHandles == 0 && !hasGoodPages }
  }

  private let views = Mutex<[View]>([])

  public init() {}

  /// The view `node` of `window` is opened; `close` must follow.
  public func open(_ node: UInt64, _ window: Window) -> Opening {
    open(node, window.range)
  }

  func open(_ node: UInt64, _ window: Range<UInt64>) -> Opening {
    views.withLock { views in
      let isRefused = views.contains { view in
        view.node == node
          ? view.directHandles > 0
          : view.cachedHandles > 0 && view.window.overlaps(window)
      }
      let index =
        views.firstIndex { $0.node == node }
        ?? {
          views.append(View(node: node, window: window))
          return views.count - 1
        }()
      guard !isRefused else {
        views[index].directHandles += 1
        views[index].hasGoodPages = false
        return .direct
      }
      let keeps = views[index].hasGoodPages
      views[index].cachedHandles += 1
      views[index].hasGoodPages = true
      // What this view writes is told to nobody: nobody else's pages may be used again.
      for other in views.indices where other != index && views[other].window.overlaps(window) {
        views[other].hasGoodPages = false
      }
      views.removeAll(where: \.isIdle)
      return Opening(isCached: true, keepsPages: keeps)
    }
  }

  /// - Parameter forgets: for an opening that the kernel was not told of: what it has of the view's
  ///   pages is what it was before, good or not.
  public func close(_ node: UInt64, _ opening: Opening, forgets: Bool = false) {
    views.withLock { views in
      guard let index = views.firstIndex(where: { $0.node == node }) else { return }
      if opening.isCached {
        views[index].cachedHandles -= 1
      } else {
        views[index].directHandles -= 1
      }
      if forgets, views[index].cachedHandles == 0 { views[index].hasGoodPages = false }
      if views[index].isIdle { views.remove(at: index) }
    }
  }

  /// The pages of open views that a write to `range` of the disk through the view `node` makes stale;
  /// those of views that nobody has open are not used again.
  ///
  /// To be asked before the write and again after it, because a view can be opened meanwhile.
  public func stale(after range: Range<UInt64>, through node: UInt64) -> [StalePages] {
    views.withLock { views in
      var stale: [StalePages] = []
      for index in views.indices where views[index].node != node && views[index].hasGoodPages {
        let window = views[index].window
        guard window.overlaps(range) else { continue }
        guard views[index].cachedHandles > 0 else {
          views[index].hasGoodPages = false
          continue
        }
        let part = range.clamped(to: window)
        stale.append(
          StalePages(
            node: views[index].node,
            range: part.lowerBound - window.lowerBound..<part.upperBound - window.lowerBound))
      }
      return stale
    }
  }

  /// The disk holds something else from now on. Gives the views whose pages the kernel can have; those
  /// of views that nobody has open are not used again.
  public func allStale() -> [UInt64] {
    views.withLock { views in
      let nodes = views.map(\.node)
      for index in views.indices where views[index].cachedHandles == 0 {
        views[index].hasGoodPages = false
      }
      views.removeAll(where: \.isIdle)
      return nodes
    }
  }

  /// The views that are open and cached: where the kernel can hold what it has not written yet.
  public var cachedNodes: [UInt64] {
    views.withLock { $0.filter { $0.cachedHandles > 0 }.map(\.node) }
  }
}
