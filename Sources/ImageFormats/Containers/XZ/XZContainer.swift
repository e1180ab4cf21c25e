internal import Decoders
internal import DiskCore

/// xz files, of one or more streams. Source: the .xz file format 1.2.1.
struct XZContainer: ContainerFormat {
  static let magic: [UInt8] = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]

  var name: String { "xz" }

  func fits(_ head: ByteReader) -> Bool { head.matches(Self.magic, at: 0) }

  func open(_ source: any Storage) throws(DiskError) -> ContainedStream {
    let index: XZIndex
    do throws(DiskError) {
      index = try XZIndex(of: source)
    } catch {
      // What comes before the damage can be read all the same, one byte after the other.
      guard error.kind != .inputOutput else { throw error }
      return ContainedStream(
        XZFileCodec(source: source, failure: error), EntryPoints(), size: .unknown,
        details: [("blocks", "unknown")], notes: ["its index cannot be used: \(error)"])
    }
    let codec = XZBlockCodec(
      source: source, cursorMemory: try Self.memory(index, source), streams: index.streams)
    return ContainedStream(
      codec, EntryPoints(index.points, end: index.size, trailing: 0, isComplete: true),
      size: .exact(index.size),
      details: [
        ("streams", "\(index.streams)"), ("blocks", "\(index.points.count)"),
        ("check", index.checkNames),
      ])
  }

  /// Of the first block, which one encoder made like the others.
  private static func memory(_ index: XZIndex, _ source: any Storage) throws(DiskError) -> Int {
    guard let first = index.points.first, index.size > 0 else { return 0 }
    var input = StoredInput(source, at: first.stored)
    let header = try XZBlockCodec.header(in: &input)
    return StoredInput.piece + Int(clamping: XZStream.memory(ofBlockHeader: header))
  }
}

/// Blocks by the index; an entry point's detail is what `XZIndex` says.
struct XZBlockCodec: StreamCodec {
  let source: any Storage
  let cursorMemory: Int
  /// Whose headers, indexes and footers were found good.
  let streams: Int

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    let length = length ?? 0
    return DecoderCursor(source, at: point, length: length, of: "an xz block", findings) {
      (input, position) throws(DiskError) -> DecoderCursor.Part? in
      guard position == point.decoded, length > 0 else { return nil }
      let place = input.place
      let header = try Self.header(in: &input)
      do throws(DecodingFailure) {
        let check = UInt8(point.detail >> XZIndex.checkShift)
        let decoder = try XZStream.ofBlock(
          header: header, check: check,
          unpaddedSize: point.detail & (1 << XZIndex.checkShift - 1), size: length)
        findings?.right("block header CRC32")
        return (decoder, check == 0 ? nil : "block " + XZIndex.name(ofCheck: check))
      } catch {
        throw input.failure(error, in: "an xz block", at: place)
      }
    }
  }

  func checkOpening(_ findings: StreamFindings) {
    for kind in ["stream header CRC32", "index CRC32", "stream footer CRC32"] {
      findings.right(kind, count: streams)
    }
  }

  /// The block header that comes next: its first byte says how long it is.
  static func header(in input: inout StoredInput) throws(DiskError) -> [UInt8] {
    let first = try input.peek(1).first ?? 0
    return try input.next((Int(first) + 1) * 4, of: "an xz block's header").bytes
  }
}

/// A file whose index is not to be had.
struct XZFileCodec: StreamCodec {
  let source: any Storage
  /// Why the index is not to be had.
  let failure: DiskError

  /// What `xz -6` needs.
  var cursorMemory: Int { 9 << 20 }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    DecoderCursor(source, at: point, length: nil, of: "the xz data", findings) {
      (input, position) throws(DiskError) -> DecoderCursor.Part? in
      guard input.place == 0 else { return nil }
      do throws(DecodingFailure) {
        return (try XZStream.ofFile(), nil)
      } catch {
        throw input.failure(error, in: "the xz data", at: 0)
      }
    }
  }

  func checkOpening(_ findings: StreamFindings) {
    findings.wrong("index", over: 0..<0, failure)
  }
}
