import MountTree
import Testing

@Suite struct WrittenRangesTests {
  private func ranges(_ pieces: [Range<UInt64>]) -> WrittenRanges {
    var written = WrittenRanges()
    for piece in pieces { written.add(piece) }
    return written
  }

  @Test(
    arguments: [
      ([], []), ([0..<10], []), ([5..<10], [0..<5]), ([0..<10, 10..<20], []),
      ([0..<10, 20..<30], [10..<20]), ([20..<30, 0..<10], [10..<20]),
      ([0..<10, 20..<30, 5..<25], []), ([10..<20, 30..<40, 50..<60, 15..<55], [0..<10]),
      ([10..<10], []),
    ] as [([Range<UInt64>], [Range<UInt64>])])
  func gaps(_ pieces: [Range<UInt64>], _ gaps: [Range<UInt64>]) {
    #expect(ranges(pieces).gaps == gaps)
  }

  @Test func theEndCanBeSet() {
    var written = ranges([0..<10])
    written.addEnd(30)
    #expect(written.end == 30 && written.gaps == [10..<30])
    written.add(10..<30)
    #expect(written.gaps == [])
  }

  @Test func likeAModel() {
    for _ in 0..<200 {
      var written = WrittenRanges()
      var model = [Bool](repeating: false, count: 200)
      for _ in 0..<Int.random(in: 1...30) {
        let start = Int.random(in: 0..<190)
        let end = start + Int.random(in: 0...10)
        written.add(UInt64(start)..<UInt64(end))
        for index in start..<end { model[index] = true }
      }
      let end = (model.lastIndex(of: true) ?? -1) + 1
      #expect(written.end == UInt64(end))
      var seen = [Bool](repeating: true, count: 200)
      for gap in written.gaps { for index in gap { seen[Int(index)] = false } }
      #expect(Array(seen[..<end]) == Array(model[..<end]))
    }
  }

  /// Whoever writes here and there is not copying: nothing is made zeros for him.
  @Test func tooManyPieces() {
    var written = WrittenRanges()
    for index in 0..<70000 as Range<UInt64> { written.add(index * 4..<index * 4 + 1) }
    #expect(written.gaps == [])
  }
}
