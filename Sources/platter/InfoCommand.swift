internal import ArgumentParser
internal import DiskCore
internal import ImageFormats
internal import MountServer

struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "Show an image's format, sizes, chain, partitions and file systems.",
    discussion: """
      Example: the label of the first partition's file system.

        $ platter info --json disk.vhd | jq -r '.partitions[0].fileSystem.label'
      """)

  @OptionGroup var image: ImageArguments

  @Flag(help: "Print JSON.")
  var json = false

  private var options: ImageOptions {
    var options = image.options
    options.needsExactSize = false
    return options
  }

  func run() throws {
    let opened = try OpenImage(path: image.image, options: options)
    let report = InfoReport(opened, try image.table(of: opened))
    try Terminal.print(json ? JSON.text(of: report, pretty: true) + "\n" : report.text)
  }
}

extension InfoReport {
  /// For a person.
  fileprivate var text: String {
    var lines = [
      "\(printable(path)): \(format)\(subformat.map { ", \($0)" } ?? ""), "
        + "\(sizeText(virtualSize)) (\(virtualSize) bytes)"
    ]
    for (index, layer) in chain.enumerated() {
      lines.append(text(of: layer, isTop: index == 0))
      for container in layer.containers ?? [] {
        let details = container.details.sorted { $0.key < $1.key }
          .map { "\($0.key) \(printable($0.value))" }
        lines.append("    in \(container.format): \(details.joined(separator: ", "))")
      }
    }
    let inside = snapshots.filter { $0.kind == DiskSnapshot.Kind.inside.rawValue }
    if !inside.isEmpty {
      lines.append("  snapshots: " + inside.map { printable($0.name) }.joined(separator: ", "))
    }
    if let fileSystem { lines.append("  the whole disk: \(fileSystem.text)") }
    if partitionTable == "none" {
      lines.append("  no partition table")
    } else {
      let identifier = partitionTableUuid.map { " \($0)" } ?? ""
      lines.append(
        "  partition table: \(partitionTable.uppercased())\(identifier), "
          + "\(sectorSize)-byte sectors")
    }
    var result = lines.joined(separator: "\n") + "\n"
    if !partitions.isEmpty {
      result += "\n" + partitionText + (notes.isEmpty ? "" : "\n")
    }
    for note in notes { result += "note: \(printable(note))\n" }
    return result
  }

  private func text(of layer: Layer, isTop: Bool) -> String {
    let details = layer.details.sorted { $0.key < $1.key }
      .map { "\($0.key) \(printable($0.value))" }
    let kind = "\(layer.format)\(layer.subformat.map { " \($0)" } ?? "")"
    let facts =
      (isTop ? [] : [kind, sizeText(layer.virtualSize)]) + [
        "\(isTop ? "" : "stored ")\(sizeText(layer.storedSize))"
      ]
    return "  \(isTop ? "stored in" : "on") \(printable(layer.path)): "
      + (facts + details).joined(separator: ", ")
  }

  private var partitionText: String {
    tableText(
      ["", "START", "SIZE", "TYPE", "NAME", "FILE SYSTEM"],
      partitions.map { partition in
        [
          "p\(partition.number)\(partition.bootable ? "*" : "")", "\(partition.start)",
          sizeText(partition.size), partition.typeName ?? partition.type,
          printable(partition.name ?? ""), partition.fileSystem?.text ?? "",
        ]
      }, right: [1, 2])
  }
}

extension InfoReport.FileSystem {
  fileprivate var text: String {
    ([type] + [label.map { "'\(printable($0))'" }, uuid].compactMap(\.self))
      .joined(separator: " ")
  }
}
