// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

// Tests read raw memory and make throwaway files: the safety annotations would hide what they test.
let tests: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
]

let argumentParser: Target.Dependency = .product(
  name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

let package = Package(
  name: "platter",
  products: [
    .executable(name: "platter", targets: ["platter"]),
    .library(
      name: "DiskImages",
      targets: [
        "Decoders", "Digests", "DiskCore", "ImageFormats", "FileSystems", "Overlays", "Partitions",
      ]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
  ],
  targets: [
    .systemLibrary(name: "CPosix"),
    .target(name: "DiskCore", dependencies: ["CPosix"], swiftSettings: strict),
    .systemLibrary(
      name: "CDeflate", pkgConfig: "libdeflate", providers: [.apt(["libdeflate-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CLZMA", pkgConfig: "liblzma", providers: [.apt(["liblzma-dev"])]),
    .systemLibrary(name: "CBzip2", providers: [.apt(["libbz2-dev"])]),
    .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
    .target(
      name: "Decoders", dependencies: ["CBzip2", "CDeflate", "CLZ4", "CLZMA", "CZlib", "CZstd"],
      swiftSettings: strict),
    .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .target(name: "Digests", dependencies: ["CCrypto", "DiskCore"], swiftSettings: strict),
    .target(
      name: "ImageFormats", dependencies: ["Decoders", "Digests", "DiskCore"],
      swiftSettings: strict),
    .target(
      name: "Overlays", dependencies: ["Digests", "DiskCore", "ImageFormats"],
      swiftSettings: strict),
    .target(
      name: "FileSystems", dependencies: ["Decoders", "Digests", "DiskCore"], swiftSettings: strict),
    .target(name: "Partitions", dependencies: ["DiskCore", "FileSystems"], swiftSettings: strict),
    .target(
      name: "MountTree", dependencies: ["DiskCore", "FileSystems", "Partitions"],
      swiftSettings: strict),

    .systemLibrary(name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
    .target(
      name: "MountServer",
      dependencies: [
        "CFuse", "CPosix", "DiskCore", "FileSystems", "ImageFormats", "MountTree", "Overlays",
        logging,
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "platter",
      dependencies: [
        "Digests", "DiskCore", "FileSystems", "ImageFormats", "MountServer", "Overlays",
        "Partitions", argumentParser,
      ],
      swiftSettings: strict),

    .target(
      name: "TestSupport", dependencies: ["DiskCore"], path: "Tests/TestSupport",
      swiftSettings: tests),
    .testTarget(
      name: "DiskCoreTests", dependencies: ["DiskCore", "TestSupport"], swiftSettings: tests),
    .testTarget(
      name: "DecodersTests", dependencies: ["Decoders", "TestSupport"], swiftSettings: tests),
    .testTarget(
      name: "ImageFormatsTests",
      dependencies: ["Decoders", "ImageFormats", "TestSupport"],
      swiftSettings: tests),
    .testTarget(
      name: "OverlaysTests", dependencies: ["Digests", "ImageFormats", "Overlays", "TestSupport"],
      swiftSettings: tests),
    .testTarget(
      name: "FileSystemsTests", dependencies: ["FileSystems", "TestSupport"],
      swiftSettings: tests),
    .testTarget(
      name: "PartitionsTests", dependencies: ["Partitions", "TestSupport"], swiftSettings: tests),
    .testTarget(
      name: "MountTreeTests", dependencies: ["ImageFormats", "MountTree", "TestSupport"],
      swiftSettings: tests),
    .testTarget(
      name: "MountServerTests", dependencies: ["MountServer", "Overlays", "TestSupport"],
      swiftSettings: tests),
  ]
)
