import DiskCore
import Partitions
import TestSupport
import Testing

@Suite struct GPTChecksumTests {
  private struct Silent: VerificationProgress {
    func begin(_ what: String, of total: UInt64) {}
    func advance(by count: UInt64) {}
  }

  private func report(_ builder: GPTBuilder) throws -> VerificationReport {
    let disk = try Disk.holding(size: builder.size, pieces: builder.pieces)
    let table = try PartitionTable.read(from: disk.whole)
    let verification = Verification(progress: Silent())
    verification.verify(disk, checksums: ("gpt", table.checksums(of: disk.whole)))
    return verification.report
  }

  private func counts(_ report: VerificationReport) -> [[Int]] {
    report.checks.map { [$0.right, $0.wrong] }
  }

  @Test func bothCopies() throws {
    var builder = GPTBuilder(entries: twoPartitions)
    let clean = try report(builder)
    #expect(clean.isClean && counts(clean) == [[2, 0], [2, 0]])
    builder.damageBackup = { $0.put([1], at: 60) }
    let backup = try report(builder)
    #expect(counts(backup) == [[1, 1], [1, 0]])
    let last: UInt64 = 4095 * 512
    #expect(backup.damage.map(\.range) == [last..<last + 92])
    builder.damagePrimary = { $0.put([1], at: 60) }
    let both = try report(builder)
    #expect(counts(both) == [[0, 2]])
    #expect(both.damage.map { $0.range?.lowerBound } == [512, last])
  }

  @Test func theEntries() throws {
    let builder = GPTBuilder(entries: twoPartitions)
    let pieces = builder.pieces + [(at: UInt64(2 * 512 + 5), bytes: [0xee] as [UInt8])]
    let bytes = pieces.reduce(into: [UInt8](repeating: 0, count: Int(builder.size))) {
      (bytes, piece) in
      bytes.replaceSubrange(Int(piece.at)..<Int(piece.at) + piece.bytes.count, with: piece.bytes)
    }
    let disk = try Disk.holding(bytes)
    let table = try PartitionTable.read(from: disk.whole)
    let verification = Verification(progress: Silent())
    verification.verify(disk, checksums: ("gpt", table.checksums(of: disk.whole)))
    let report = verification.report
    let entries: Range<UInt64> = 1024..<17_408
    #expect(report.damage.map(\.range) == [entries])
    #expect(report.damage[0].reason.contains("primary"))
  }

  @Test func noGPT() throws {
    let disk = try Disk.holding([UInt8](repeating: 0, count: 65536))
    #expect(try PartitionTable.read(from: disk.whole).checksums(of: disk.whole).isEmpty)
  }
}
