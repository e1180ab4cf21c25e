internal import ArgumentParser

/// The command line: one verb, one file.
struct Platter: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "platter",
    abstract: "Mount disk images as an ordinary user: every partition is a file.",
    discussion: """
      Example: look into a disk image and copy a file out of its first partition.

        $ platter mount disk.vhd mnt
        $ mcopy -i mnt/p1 ::/README.TXT .
        $ platter unmount mnt
      """,
    version: "0.1.0",
    subcommands: [
      MountCommand.self, UnmountCommand.self, ListCommand.self, InfoCommand.self, MapCommand.self,
      LsCommand.self, CpCommand.self, CatCommand.self, HashCommand.self, VerifyCommand.self,
      OverlayCommand.self,
    ])
}
