import DiskCore
import TestSupport
import Testing

@testable import FileSystems

/// exFAT volumes that exfat-fuse filled and read.
@Suite struct ExFATToolTests {
  /// As with FAT: files, every other one deleted, one that takes all the rest; then a copy of all that
  /// exfat-fuse reads. It takes a block device only, so this needs a loop device and who may make one.
  /// It stays in the foreground, so that its end is known: only then all is written.
  private static let script = """
    set -eu
    cd "$1"
    truncate -s "$2" exfat.img
    mkfs.exfat -c "$3" -L Größe exfat.img >/dev/null
    mkdir mnt
    device=$(losetup -f --show exfat.img 2>&1) || { echo "no loop device: $device"; exit 9; }
    trap 'umount -l mnt 2>/dev/null || true; losetup -d $device' EXIT
    mount.exfat-fuse -d $device mnt >log 2>&1 &
    pid=$!
    until mountpoint -q mnt; do
      kill -0 $pid 2>/dev/null || { cat log; exit 9; }
      sleep 0.05
    done
    mkdir -p "from/Ordner ☃/tief/tiefer"
    for i in $(seq 1 60); do
      name="from/Datei ü, a name of some length to fill the folder, $i"
      head -c $((i * 7919 % 60000)) /dev/urandom >"$name"
      touch -d "2001-02-03 04:05:$((i % 30 * 2)) UTC" "$name"
    done
    for i in $(seq 1 100); do : >"from/Ordner ☃/tief/leer $i"; done
    echo innen >"from/Ordner ☃/tief/tiefer/innen"
    cp -r --preserve=timestamps from/. mnt/
    rm mnt/Datei*[13579]
    cat /dev/urandom >mnt/rest.bin 2>/dev/null || true
    dd if=/dev/urandom bs=512 oflag=append conv=notrunc of=mnt/rest.bin 2>/dev/null || true
    df --output=avail mnt | tail -1
    cp -r --preserve=timestamps mnt out
    umount mnt
    wait $pid
    """

  @Test(
    .enabled(
      if: HostTools.has("mkfs.exfat", "fsck.exfat", "mount.exfat-fuse", "losetup", "mountpoint"),
      "exfatprogs or exfat-fuse is not installed"),
    arguments: [("6M", "512"), ("8M", "4096"), ("40M", "32768")])
  func fullAndFragmented(_ size: String, _ cluster: String) throws {
    try HostTools.withFolder { folder in
      let said = try HostTools.run(
        "bash", ["-c", Self.script, "fill", folder, size, cluster], accepting: [0, 9])
      guard said.filter(\.isNumber) == "0", said.count < 10 else {
        return print("skipped: exfat-fuse cannot mount here: \(said)")
      }
      let image = folder + "/exfat.img"
      let check = try HostTools.run("fsck.exfat", ["-n", image])
      #expect(check.contains("clean"), "\(check)")
      let disk = try Disk(layers: [FlatLayer(FileStorage(path: image))])
      let files = try ListedFiles(FileTree(Volume(disk.whole)))
      #expect(files.items.count == 30 + 3 + 100 + 1 + 1)
      files.compare(try ExtractedFiles(folder + "/out"))
    }
  }
}
