/// Platter's own names of formats, as an overlay records them of a base that QEMU does not read as
/// Platter does: `platter-vmdk`. QEMU refuses to open a base of such a format.
public enum OwnFormatName {
  /// QEMU refuses a file that names a longer format, in bytes.
  private static let longest = 15
  private static let prefix = "platter-"

  /// Of a base that is an older state of an image. Which one is not recorded, so only a mount that is
  /// told can open it.
  public static let snapshot = prefix + "state"

  /// Of a base that is inside a container: compressed. Its format is found by content, which nobody but
  /// whoever compressed it can have put there.
  public static let packed = prefix + "packed"

  /// What is recorded of a base.
  ///
  /// - Parameter name: of the format in the registry.
  public static func text(of name: String) -> String {
    let format = FormatRegistry.formats.first { $0.name == name }
    let names = [name] + (format?.aliases ?? [])
    return prefix + (names.first { prefix.utf8.count + $0.utf8.count <= longest } ?? name)
  }

  /// The name in the registry, or an alias of it; nil for what is no name of ours.
  static func registryName(of text: String) -> String? {
    text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : nil
  }
}
