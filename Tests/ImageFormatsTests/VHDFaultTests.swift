import DiskCore
import ImageFormats
import TestSupport
import Testing

/// EIO and short reads at every single read of opening and reading a VHD, in turn.
@Suite struct VHDFaultTests {
  private static func image(_ type: VHDBuilder.DiskType) -> VHDBuilder {
    var builder = VHDBuilder(type, size: 20_480)
    builder.blockSize = 4096
    if type == .differencing {
      // All of its own: what is the parent's reads as zeros where there is none.
      builder.parent = (Array(0xB0...0xBF), 0, "parent.vhd")
      builder.locators = [("W2ku", VHDBuilder.utf16("C:\\parent.vhd"))]
    }
    builder.blocks = [1: ImageBytes.pattern(4096, seed: 1), 4: ImageBytes.pattern(4096, seed: 4)]
    return builder
  }

  @Test(
    arguments: FaultyStorage.Fault.allCases, [VHDBuilder.DiskType.fixed, .dynamic, .differencing])
  func everyReadInTurn(_ fault: FaultyStorage.Fault, _ type: VHDBuilder.DiskType) throws {
    let builder = Self.image(type)
    let storage = FaultyStorage(builder.file.storage())
    let open = { () throws(DiskError) -> [UInt8] in
      _ = FormatProbe(try ImageSample(of: storage))
      return try Disk(layers: VHDFormat().open(storage, .none).layers).whole.bytes(
        at: .start, count: 20_480)
    }
    let expected = builder.content(0..<20_480)
    #expect(try open() == expected)
    let count = storage.reads.count
    for number in 1...count {
      storage.forgetReads()
      storage.fail(read: number, with: fault)
      do throws(DiskError) {
        #expect(try open() == expected, "read \(number) was not needed")
      } catch {
        #expect(error.path == "disk.vhd" && error.offset != nil)
        #expect(error.kind == (fault == .short ? .truncated : .inputOutput))
      }
    }
    #expect(count >= (type == .fixed ? 4 : 7))
  }
}
