internal import DiskCore
internal import ImageFormats

/// What `verify --json` prints. A field never changes its meaning (docs/JSON.md).
struct VerifyReport: Encodable {
  struct Check: Encodable {
    let of: String
    let kind: String
    let right: Int
    let wrong: Int
    let unreadable: Int
  }

  struct Place: Encodable {
    let kind: String
    let layer: Int?
    let start: UInt64?
    let length: UInt64?
    let path: String?
    let fileOffset: UInt64?
    let fileLength: UInt64?
    let container: String?
    let containerOffset: UInt64?
    let containerLength: UInt64?
    let count: Int
    let reason: String
  }

  let version = 1
  let path: String
  let virtualSize: UInt64
  let clean: Bool
  let checks: [Check]
  let withoutChecksums: [String]
  let compressedBlocks: Int
  let damage: [Place]
  let unlisted: Int
  let notes: [String]

  init(_ image: OpenImage, _ report: VerificationReport) {
    path = image.path
    virtualSize = image.disk.size
    clean = report.isClean
    checks = report.checks.map { check in
      Check(
        of: check.of, kind: check.kind, right: check.right, wrong: check.wrong,
        unreadable: check.unreadable)
    }
    let owners = Set(report.checks.map(\.of))
    var without: [String] = []
    for name in image.containers.map(\.name) + image.disk.layers.map(\.description.format)
    where !owners.contains(name) && !without.contains(name) {
      without.append(name)
    }
    withoutChecksums = without
    compressedBlocks = report.blocks
    damage = report.damage.map(Place.init)
    unlisted = report.unlisted
    notes = image.notes
  }

  /// For a person.
  var text: String {
    var lines = ["\(printable(path)): \(sizeText(virtualSize)) (\(virtualSize) bytes)"]
    for check in checks {
      var line = "  \(check.of): \(check.kind): \(check.right) right"
      if check.wrong > 0 { line += ", \(check.wrong) wrong" }
      if check.unreadable > 0 {
        line += ", \(check.unreadable) of what cannot be read"
      }
      lines.append(line)
    }
    if compressedBlocks > 0 { lines.append("  \(compressedBlocks) compressed blocks decoded") }
    for name in withoutChecksums {
      lines.append(
        "  \(name): no checksums of its own: only that every block can be read was checked")
    }
    lines += notes.map { "note: \(printable($0))" }
    guard !clean else { return lines.joined(separator: "\n") + "\n  no damage found\n" }
    let rows = damage.map { [$0.startText, $0.lengthText, $0.kind, $0.whereText, $0.whatText] }
    var result = lines.joined(separator: "\n") + "\n\n"
    result += tableText(["START", "LENGTH", "DAMAGE", "WHERE", "WHAT"], rows, right: [0, 1])
    if unlisted > 0 { result += "and \(unlisted) more places\n" }
    return result
  }
}

extension VerifyReport.Place {
  init(_ damage: Damage) {
    kind = damage.kind.rawValue
    layer = damage.layer
    start = damage.range?.lowerBound
    length = damage.range.map { $0.upperBound - $0.lowerBound }
    path = damage.path
    fileOffset = damage.fileOffset
    fileLength = damage.fileLength
    container = damage.stream
    containerOffset = damage.streamRange?.lowerBound
    containerLength = damage.streamRange.flatMap {
      $0.isEmpty ? nil : $0.upperBound - $0.lowerBound
    }
    count = damage.count
    reason = damage.reason
  }

  fileprivate var startText: String { start.map { "\($0)" } ?? "-" }
  fileprivate var lengthText: String { length.map { "\($0)" } ?? "-" }

  fileprivate var whereText: String {
    var text = printable(path ?? "")
    if let fileOffset { text += " at \(fileOffset)" }
    if let container, let containerOffset { text += ", decoded \(container) at \(containerOffset)" }
    return text
  }

  fileprivate var whatText: String {
    let others = count > 1 ? " (and \(count - 1) blocks behind it)" : ""
    let below = (layer ?? 0) > 0 ? "layer \(layer ?? 0): " : ""
    return below + printable(reason) + others
  }
}
