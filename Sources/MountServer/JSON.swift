internal import FoundationEssentials

/// JSON in and out, as the processes of one mount talk and as `--json` prints.
public enum JSON {
  /// Keys are sorted, so that two outputs can be compared.
  public static func text(of value: some Encodable, pretty: Bool = false) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting =
      pretty
      ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
      : [.sortedKeys, .withoutEscapingSlashes]
    // Encoding fails on numbers that are not finite, and there are none.
    guard let data = try? encoder.encode(value) else { return "{}" }
    return String(decoding: data, as: UTF8.self)
  }

  /// Nil where `text` does not describe a value of this type.
  public static func value<Value: Decodable>(
    _ type: Value.Type = Value.self, from text: String
  ) -> Value? {
    try? JSONDecoder().decode(type, from: Data(text.utf8))
  }
}
