internal import DiskCore

extension TablePages.Page {
  /// How many entries from entry `index` of the table on go on as it begins: each is `step` more
  /// than the one before it, which with a step of 0 means equal. Ends with the page, after `most`
  /// entries, and where an entry would overflow.
  ///
  /// - Parameters:
  ///   - index: of an entry in this page.
  ///   - most: at least 1.
  /// - Returns: at least 1.
  func run(from index: Int, step: Entry, most: Int) -> Int {
    let start = index - first
    let end = start + min(most, entries.count - start)
    var place = start + 1
    while place < end {
      let (next, overflow) = entries[place - 1].addingReportingOverflow(step)
      guard !overflow, entries[place] == next else { break }
      place += 1
    }
    return place - start
  }
}
