import DiskCore
import MountTree
import TestSupport
import Testing

/// Of views that overlap at most one is cached, and its pages are never stale.
@Suite struct ViewCachesTests {
  private static let size: UInt64 = 1 << 20
  private let caches = ViewCaches()
  private let disk: Window
  private let one: Window
  private let two: Window

  init() throws {
    disk = try Disk.holding(size: Self.size, pieces: []).whole
    one = try disk.window(at: DiskOffset(32256), size: 100_000)
    two = try disk.window(at: DiskOffset(132_256), size: 100_000)
  }

  private func opened(_ node: UInt64, _ window: Window) -> (cached: Bool, keeps: Bool) {
    let opening = caches.open(node, window)
    return (opening.isCached, opening.keepsPages)
  }

  @Test func theFirstOfThoseThatOverlap() {
    #expect(opened(2, disk) == (true, false))
    #expect(opened(3, one) == (false, false))
    #expect(opened(2, disk) == (true, true), "one that is cached stays so")
  }

  @Test func neighboursDoNotOverlap() {
    #expect(opened(3, one) == (true, false))
    #expect(opened(4, two) == (true, false))
    #expect(opened(2, disk) == (false, false))
    #expect(
      caches.stale(after: 132_000..<133_000, through: 2) == [
        .init(node: 3, range: 99_744..<100_000), .init(node: 4, range: 0..<744),
      ])
    #expect(caches.stale(after: 300_000..<400_000, through: 2) == [])
    #expect(caches.stale(after: 0..<Self.size, through: 3).map(\.node) == [4])
  }

  @Test func otherContentMakesAllPagesStale() {
    let first = caches.open(3, one)
    _ = caches.open(4, two)
    caches.close(3, first)
    #expect(caches.allStale() == [3, 4])
    #expect(opened(3, one) == (true, false), "what was kept is not used again")
    #expect(opened(4, two) == (true, true), "an open one's pages are dropped by whoever asked")
    #expect(caches.allStale().count == 2)
  }

  @Test func anOpeningThatTheKernelNeverSawVouchesForNoPages() {
    let first = caches.open(3, one)
    caches.close(3, first, forgets: true)
    #expect(opened(3, one) == (true, false))
    caches.close(3, caches.open(3, one), forgets: true)
    #expect(opened(3, one) == (true, true), "somebody else has it open, and the kernel knows")
  }

  @Test func aViewThatIsOpenForDirectIOStaysSo() {
    let first = caches.open(2, disk)
    let second = caches.open(3, one)
    caches.close(2, first)
    #expect(opened(3, one) == (false, false))
    caches.close(3, second)
    caches.close(3, .direct)
    #expect(opened(3, one) == (true, false))
  }

  @Test func pagesOfAClosedViewAreKeptUntilTheyAreStale() {
    let first = caches.open(3, one)
    caches.close(3, first)
    let second = caches.open(3, one)
    #expect(second.keepsPages)
    caches.close(3, second)
    // The disk's own pages are good; what it writes is told to nobody.
    let third = caches.open(2, disk)
    #expect(third.isCached && !third.keepsPages)
    caches.close(2, third)
    #expect(opened(3, one) == (true, false))
  }

  @Test func aWriteToAClosedViewsBytesEndsItsPages() {
    for (range, keeps) in [(0..<32256 as Range<UInt64>, true), (32255..<32257, false)] {
      let caches = ViewCaches()
      caches.close(3, caches.open(3, one))
      _ = caches.open(4, two)
      let direct = caches.open(2, disk)
      #expect(!direct.isCached)
      #expect(caches.stale(after: range, through: 2) == [])
      #expect(caches.open(3, one).keepsPages == keeps)
    }
  }

  /// What is asked after the write finds a view that was opened during it.
  @Test func aViewThatIsOpenedDuringAWrite() {
    _ = caches.open(4, two)
    _ = caches.open(2, disk)
    #expect(caches.stale(after: 40000..<40001, through: 2) == [])
    _ = caches.open(3, one)
    #expect(
      caches.stale(after: 40000..<40001, through: 2) == [.init(node: 3, range: 7744..<7745)])
  }

  @Test func noTwoCachedViewsOverlapWhateverHappens() {
    var numbers = SystemRandomNumberGenerator()
    let views = [(2, disk), (3, one), (4, two)] as [(UInt64, Window)]
    var open: [(UInt64, Window, ViewCaches.Opening)] = []
    for _ in 0..<5000 {
      if open.count < 8, Bool.random(using: &numbers) {
        let (node, window) = views[Int.random(in: 0..<3, using: &numbers)]
        open.append((node, window, caches.open(node, window)))
      } else if !open.isEmpty {
        let (node, _, opening) = open.remove(at: Int.random(in: 0..<open.count, using: &numbers))
        caches.close(node, opening)
      }
      let cached = open.filter { $0.2.isCached }
      for view in cached {
        #expect(!cached.contains { $0.0 != view.0 && $0.1.range.overlaps(view.1.range) })
        #expect(!open.contains { $0.0 == view.0 && !$0.2.isCached }, "one file, one way")
      }
      #expect(Set(caches.cachedNodes) == Set(cached.map(\.0)))
    }
  }
}
