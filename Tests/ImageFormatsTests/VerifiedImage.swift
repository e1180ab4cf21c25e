import DiskCore
import Foundation
import ImageFormats
import TestSupport

/// An image in a file, as `platter verify` sees it.
enum VerifiedImage {
  private struct Silent: VerificationProgress {
    func begin(_ what: String, of total: UInt64) {}
    func advance(by count: UInt64) {}
  }

  static func report(path: String) throws -> VerificationReport {
    var options = ImageOptions()
    options.indexFolder = nil
    return try ImageVerification(path: path, options: options, progress: Silent()).run()
  }

  static func report(_ bytes: [UInt8], as name: String) throws -> VerificationReport {
    try HostTools.withFolder { folder in
      try HostTools.write(bytes, to: "\(folder)/\(name)")
      return try report(path: "\(folder)/\(name)")
    }
  }
}

extension VerificationReport {
  /// `kind right wrong unreadable` of each.
  var counts: [String] { checks.map { "\($0.kind) \($0.right) \($0.wrong) \($0.unreadable)" } }

  /// `kind offset+length` of each, of the disk.
  var places: [String] {
    damage.map { damage in
      "\(damage.kind) " + (damage.range.map { "\($0.lowerBound)+\($0.count)" } ?? "-")
    }
  }
}
