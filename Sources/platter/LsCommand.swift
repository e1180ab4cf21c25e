internal import ArgumentParser
internal import DiskCore
internal import FileSystems
internal import Glibc
internal import MountServer

struct LsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls",
    abstract: "List the files inside an image.",
    discussion: """
      What 'mount --files' shows, without a mount. Links are followed inside the image only.

      Examples:

        $ platter ls debian.iso /boot
        $ platter ls -l floppy.img.gz
        $ platter ls -R --partition 1 disk.vhd
      """)

  @Argument(help: "The disk image.")
  var image: String

  @Argument(help: "A folder or file inside it; the root where not given.")
  var path = "/"

  @OptionGroup var volume: VolumeArguments

  @Flag(name: .customShort("l"), help: "Mode, owner, size and time too.")
  var long = false

  @Flag(name: [.customShort("R"), .customLong("recursive")], help: "What is in folders too.")
  var recursive = false

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let files = try volume.files(of: image)
    let item = try files.item(at: FileName(path), followsLast: !long)
    let attributes = try files.attributes(of: item)
    var listing = Listing(files, isLong: long || json, isRecursive: recursive)
    if attributes.kind == .folder {
      listing.add(folder: item, at: withoutTrailingSlashes(path))
    } else {
      listing.add(FolderEntry(FileName(path), item, attributes.kind), in: "")
    }
    try Terminal.print(
      json ? JSON.text(of: listing.report, pretty: true) + "\n" : listing.text)
    for failure in listing.failures { Terminal.say("\(failure)") }
    if !listing.failures.isEmpty { throw ExitCode(1) }
  }
}

/// Entries as they are listed, and what could not be.
private struct Listing {
  struct Report: Encodable {
    let version = 1
    let entries: [Row]
  }

  /// Times are in seconds since 1970.
  struct Row: Encodable {
    /// In its folder; for people only.
    let name: String
    let path: String
    let kind: String
    let size: UInt64?
    let mode: UInt16?
    let user: UInt32?
    let group: UInt32?
    let modified: Int64?
    let target: String?

    private enum CodingKeys: CodingKey {
      case path, kind, size, mode, user, group, modified, target
    }
  }

  private(set) var failures: [DiskError] = []
  private let files: FileTree
  private let isLong: Bool
  private let isRecursive: Bool
  private var sections: [(folder: String, rows: [Row])] = []
  private var walk = FolderWalk()

  init(_ files: FileTree, isLong: Bool, isRecursive: Bool) {
    self.files = files
    self.isLong = isLong
    self.isRecursive = isRecursive
  }

  var report: Report { Report(entries: sections.flatMap(\.rows)) }

  mutating func add(folder: ItemID, at path: String) {
    do throws(DiskError) {
      try walk.enter(folder, path)
      defer { walk.leave() }
      let content = try files.folder(folder)
      let entries = content.entries.sorted {
        $0.name.bytes.lexicographicallyPrecedes($1.name.bytes)
      }
      sections.append((path, entries.compactMap { row(of: $0, in: path) }))
      if let damage = content.damage { failures.append(damage) }
      guard isRecursive else { return }
      for entry in entries where entry.kind == .folder {
        add(folder: entry.item, at: "\(path)/\(entry.name.text)")
      }
    } catch {
      failures.append(error)
    }
  }

  mutating func add(_ entry: FolderEntry, in folder: String) {
    if let row = row(of: entry, in: folder) { sections.append(("", [row])) }
  }

  private mutating func row(of entry: FolderEntry, in folder: String) -> Row? {
    let path = folder.isEmpty ? entry.name.text : "\(folder)/\(entry.name.text)"
    guard isLong else {
      return Row(
        name: entry.name.text, path: path, kind: entry.kind.word, size: nil, mode: nil, user: nil,
        group: nil,
        modified: nil, target: nil)
    }
    do throws(DiskError) {
      let attributes = try files.attributes(of: entry.item)
      let target = attributes.kind == .link ? try files.target(of: entry.item).text : nil
      return Row(
        name: entry.name.text, path: path, kind: attributes.kind.word, size: attributes.size,
        mode: attributes.permissions, user: attributes.user, group: attributes.group,
        modified: attributes.modified?.seconds, target: target)
    } catch {
      failures.append(error)
      return nil
    }
  }

  /// For a person, as `ls` prints it.
  var text: String {
    var result = ""
    for (index, section) in sections.enumerated() {
      if isRecursive {
        result +=
          (index == 0 ? "" : "\n") + printable(section.folder.isEmpty ? "/" : section.folder)
          + ":\n"
      }
      let names = section.rows.map { row in
        printable(row.target.map { "\(row.name) -> \($0)" } ?? row.name)
      }
      if isLong {
        result += tableText(zip(section.rows, names).map { $0.cells + [$1] }, right: [1, 2, 3])
      } else {
        result += names.map { $0 + "\n" }.joined()
      }
    }
    return result
  }

}

extension Listing.Row {
  fileprivate var cells: [String] {
    let letters = mode.map { mode in
      String((0..<9).map { bit in mode >> (8 - bit) & 1 == 1 ? "rwx"[bit % 3] : "-" })
    }
    return [
      kind(letter: kind) + (letters ?? "?????????"), user.map(String.init) ?? "-",
      group.map(String.init) ?? "-", size.map(String.init) ?? "-", modified.map(timeText) ?? "-",
    ]
  }

  private func kind(letter word: String) -> String {
    FileKind.words.first { $0.word == word }?.letter ?? "?"
  }
}

extension String {
  fileprivate subscript(_ place: Int) -> Character { self[index(startIndex, offsetBy: place)] }
}

extension FileKind {
  fileprivate static let words: [(kind: FileKind, word: String, letter: String)] = [
    (.file, "file", "-"), (.folder, "folder", "d"), (.link, "link", "l"),
    (.characterDevice, "characterDevice", "c"), (.blockDevice, "blockDevice", "b"),
    (.pipe, "pipe", "p"), (.socket, "socket", "s"),
  ]

  fileprivate var word: String { Self.words.first { $0.kind == self }?.word ?? "" }
}

private func withoutTrailingSlashes(_ path: String) -> String {
  String(path.reversed().drop { $0 == "/" }.reversed())
}

/// Local time as `2026-11-21 20:15`.
private func timeText(_ seconds: Int64) -> String {
  var moment = time_t(clamping: seconds)
  var broken = unsafe tm()
  guard unsafe localtime_r(&moment, &broken) != nil else { return "\(seconds)" }
  func two(_ value: CInt) -> String { value < 10 ? "0\(value)" : "\(value)" }
  return unsafe "\(Int(broken.tm_year) + 1900)-\(two(broken.tm_mon + 1))-\(two(broken.tm_mday)) "
    + "\(two(broken.tm_hour)):\(two(broken.tm_min))"
}
