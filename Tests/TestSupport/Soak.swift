import Glibc

/// How much a test with random input does: a sample in CI, a lot where PLATTER_SOAK is 1.
public enum Soak {
  public static let isOn = getenv("PLATTER_SOAK").map { String(cString: $0) } == "1"

  /// `usual` rounds, or fifty times as many.
  public static func rounds(_ usual: Int) -> Int { isOn ? usual * 50 : usual }
}
