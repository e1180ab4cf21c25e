import DiskCore
import ImageFormats
import TestSupport
import Testing

/// EIO and short reads at every single read of opening and reading a VHDX, in turn.
@Suite struct VHDXFaultTests {
  private static func storage(_ isDirty: Bool) -> (FaultyStorage, [UInt8]) {
    var builder = VHDXBuilder(size: 3 << 20)
    builder.blocks = [0: ImageBytes.pattern(4096, seed: 1), 2: ImageBytes.pattern(4096, seed: 2)]
    if isDirty {
      builder.logGUID = VHDXLogBuilder.guid
      builder.log =
        VHDXLogBuilder([
          .init(3, [.zeros(at: VHDXBuilder.tableOffset + 4096, count: 4096)])
        ]).bytes
    }
    return (FaultyStorage(builder.storage()), builder.content())
  }

  @Test(arguments: FaultyStorage.Fault.allCases, [false, true])
  func everyReadInTurn(_ fault: FaultyStorage.Fault, _ isDirty: Bool) throws {
    let (storage, expected) = Self.storage(isDirty)
    let open = { () throws(DiskError) -> [UInt8] in
      _ = FormatProbe(try ImageSample(of: storage))
      return try Disk(layers: VHDXFormat().open(storage, .none).layers).whole.bytes(
        at: .start, count: 3 << 20)
    }
    #expect(try open() == expected)
    let count = storage.reads.count
    var failed = 0
    for number in 1...count {
      storage.forgetReads()
      storage.fail(read: number, with: fault)
      do throws(DiskError) {
        // A header or region table that is cut short has a second copy.
        #expect(try open() == expected, "read \(number) was not needed")
      } catch {
        failed += 1
        #expect(error.path == "disk.vhdx" && error.offset != nil)
        #expect(error.kind == (fault == .short ? .truncated : .inputOutput))
      }
    }
    #expect(failed >= count - (fault == .short ? 3 : 0))
  }
}
