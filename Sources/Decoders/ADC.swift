/// Apple Data Compression, the oldest of the compressions in disk images: literal bytes and copies of
/// what was given before, by three kinds of codes (as dmg2img's adc.c and 7-Zip's DmgHandler.cpp read
/// them; Apple published no description):
///
/// - `1nnnnnnn`: the next n + 1 bytes as they are;
/// - `01nnnnnn` and two bytes, high one first: n + 4 bytes from that far back;
/// - `00nnnndd` and one byte: n + 3 bytes from that far back, dd being the distance's high bits.
///
/// A distance of 0 means the last byte; what is copied may overlap what it makes. There is no end mark.
public enum ADC {
  /// Decodes `input` until it ends or `output` is full; what is behind that is not looked at.
  ///
  /// - Returns: how many bytes it gave; what is left of `output` is undefined.
  /// - Throws: `damaged` for a code that is cut off or reaches before the start, `tooLong` where a code
  ///   gives more than there is room for.
  public static func decode(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    let room = output.byteCount
    var place = 0
    var given = 0
    func byte(_ place: Int) throws(DecodingFailure) -> Int {
      guard place < input.byteCount else { throw .damaged }
      return Int(unsafe input.unsafeLoad(fromByteOffset: place, as: UInt8.self))
    }
    while place < input.byteCount, given < room {
      let code = try byte(place)
      if code & 0x80 != 0 {
        let count = code & 0x7f + 1
        guard count < input.byteCount - place else { throw .damaged }
        guard count <= room - given else { throw .tooLong }
        for index in 0..<count {
          output.storeBytes(
            of: UInt8(try byte(place + 1 + index)), toByteOffset: given + index, as: UInt8.self)
        }
        place += 1 + count
        given += count
        continue
      }
      let (count, distance, length) =
        if code & 0x40 != 0 {
          (code & 0x3f + 4, try byte(place + 1) << 8 | byte(place + 2), 3)
        } else {
          (code >> 2 + 3, (code & 3) << 8 | (try byte(place + 1)), 2)
        }
      guard distance < given else { throw .damaged }
      guard count <= room - given else { throw .tooLong }
      // A byte at a time: the copy may read what it has just written.
      for _ in 0..<count {
        let again = unsafe output.unsafeLoad(
          fromByteOffset: given - distance - 1, as: UInt8.self)
        output.storeBytes(of: again, toByteOffset: given, as: UInt8.self)
        given += 1
      }
      place += length
    }
    return given
  }
}
