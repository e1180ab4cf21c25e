internal import ArgumentParser

/// A number of bytes as people type it: `65536`, `64K`, `64M`, `64MiB`, `2G`; 1,024 to the K.
struct ByteCount: ExpressibleByArgument {
  let bytes: Int

  init(_ bytes: Int) { self.bytes = bytes }

  init?(argument: String) {
    let digits = argument.prefix { $0.isASCII && $0.isNumber }
    let unit = argument.dropFirst(digits.count).lowercased()
    let powers = ["": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40]
    let short = unit.hasSuffix("ib") ? String(unit.dropLast(2)) : unit
    guard let count = Int(digits), let power = powers[short], short == unit || power > 0 else {
      return nil
    }
    let (bytes, overflow) = count.multipliedReportingOverflow(by: 1 << power)
    guard !overflow else { return nil }
    self.bytes = bytes
  }

  var defaultValueDescription: String {
    bytes.isMultiple(of: 1 << 20) ? "\(bytes >> 20)M" : "\(bytes)"
  }
}
