internal import ArgumentParser
internal import MountServer

struct UnmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unmount",
    abstract: "End a mount; also clears one whose daemon died.",
    discussion: """
      Returns when everything is written and the image is released.

      Example:

        $ platter unmount mnt
      """,
    aliases: ["umount"])

  @Argument(help: "The mount point.")
  var mountPoint: String

  @Flag(help: "Detach it even while somebody uses it; they go on until they close their files.")
  var lazy = false

  func run() throws { try LiveMounts.unmount(mountPoint, lazily: lazy) }
}
