public import DiskCore
internal import FileSystems

extension PartitionTable {
  /// The window whose files a person means: that of partition `number`, or of the only one there is.
  ///
  /// - Parameter disk: what this table was read from.
  /// - Throws: `notFound` for a partition that does not exist; `unsupported` where no file system can be
  ///   read, naming what there is; `invalidRequest` where there are several, naming their partitions.
  public func readableVolume(of disk: Window, partition number: Int?) throws(DiskError) -> Window {
    if let number { return try disk.window(of: try partition(number)) }
    if FileSystemRegistry.reads(disk) { return disk }
    var readable: [Partition] = []
    var others: Set<String> = []
    for partition in partitions {
      let window = try disk.window(of: partition)
      if FileSystemRegistry.reads(window) {
        readable.append(partition)
      } else if let found = FileSystemSignature.find(in: window) {
        others.insert(found.type)
      }
    }
    if let found = FileSystemSignature.find(in: disk) { others.insert(found.type) }
    guard let first = readable.first else {
      let known = FileSystemRegistry.types.joined(separator: ", ")
      let found = others.isEmpty ? "" : ", but \(others.sorted().joined(separator: ", "))"
      throw DiskError(
        .unsupported, "there is no file system here whose files can be read (\(known))\(found)",
        path: disk.disk.files.first?.path)
    }
    guard readable.count == 1 else {
      let numbers = readable.map { String($0.number) }.joined(separator: ", ")
      throw DiskError(
        .invalidRequest,
        "several partitions have files that can be read; choose with --partition: \(numbers)",
        path: disk.disk.files.first?.path)
    }
    return try disk.window(of: first)
  }
}
