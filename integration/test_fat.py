"""FAT and exFAT volumes that were filled to the last cluster, with deleted files and files in pieces, against
what other programs read of them."""

import hashlib
import os
import random
import re
from pathlib import Path

import pytest

from support import trees
from support.files import MIB, digest, noise
from support.session import ROOT, SOAK
from support.shell import attempt, mounted, needs, quoted, refused, run


class Kind:
    def __init__(self, bits, size, files, largest, options="-s 1"):
        self.bits, self.size, self.files, self.largest = bits, size, files, largest
        self.options = options
        # mtools make a folder longer by one cluster at a time, and a name must not need more.
        self.longest = 180 if options == "-s 1" else 255

    def __str__(self):
        return f"FAT{self.bits}, {self.size >> 10} KiB, {self.options}"


KINDS = [
    Kind(12, 1440 << 10, 50, 50_000, "-s 2"),
    Kind(16, 5 * MIB, 80, 120_000, "-s 2"),
    Kind(32, 36 * MIB, 80, 900_000),
]
LARGE = [
    Kind(12, 30 * MIB, 400, 160_000, "-s 16"),
    Kind(16, 500 * MIB, 400, 2_500_000, "-s 16"),
    Kind(32, 2048 * MIB, 400, 10_000_000, "-s 8"),
    Kind(32, 300 * MIB, 400, 1_500_000, "-s 1 -S 4096"),
]


def free(image):
    said = run(f"mdir -i {image} ::/").out
    return int(re.sub(r"\D", "", re.search(r"([\d ]+) bytes free", said)[1]))


def fill(image, home, kind):
    """Files in the root and in folders; every other one deleted; and one that takes all the gaps."""
    random.seed(kind.size)
    run(f"mkfs.fat -C -F {kind.bits} {kind.options} -n FILLED {image} {kind.size >> 10}")
    source = home / "source"
    folders = [source, source / "a folder's long name", source / "a folder's long name/ÜBER 世界"]
    for folder in folders:
        folder.mkdir(parents=True)
    run(f"mmd -i {image} {' '.join(quoted('::/' + str(path.relative_to(source))) for path in folders[1:])}")
    for number in range(kind.files):
        # The root of FAT12 and FAT16 has room for few long names.
        folder = folders[number % 3 if number < 60 else 1 + number % 2]
        name = [f"SHORT{number}.TXT", f"lower{number}.c", f"Größe ☃ {number}.tar.gz",
                f"{number}, and so many words that the name takes more than a few entries" + "!" * 60,
                f"{number}-".ljust(kind.longest, "x")][number % 5]
        size = random.choice([0, 1, 512, random.randrange(kind.largest)])
        (folder / name).write_bytes(noise(number, size))
        # The oldest time that FAT has, and up to the last one of 32 bits.
        moment = 315_532_800 if number == 0 else random.randrange(315_532_800, 2_147_483_646) & ~1
        os.utime(folder / name, (moment, moment))
    for folder in folders:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        target = quoted("::/" + str(folder.relative_to(source)).strip("."))
        run(f"mcopy -n -m -i {image} {' '.join(map(quoted, files))} {target}", timeout=600)
        gone = [f"::/{path.relative_to(source)}" for path in files[::2]]
        run(f"mdel -i {image} {' '.join(map(quoted, gone))}")
    rest = free(image)
    for number in range(2):
        # Of what is left: half, and all but what a longer folder may take.
        size = rest // 2 if number == 0 else free(image)
        with open("rest", "wb") as file:
            for place in range(0, size, 16 * MIB):
                file.write(noise(place + number, min(16 * MIB, size - place)))
        run(f"mcopy -n -i {image} rest ::/rest{number}.bin", timeout=600)
    assert free(image) == 0


@needs("mkfs.fat", "mcopy")
@pytest.mark.parametrize("kind", KINDS + (LARGE if SOAK else []), ids=str)
def test_full_volume_is_what_mtools_reads(kind, home):
    image = home / "full.img"
    fill(image, home, kind)
    run(f"fsck.fat -n {image}")
    Path("mtools").mkdir()
    run(f"mcopy -s -n -m -i {image} '::/*' mtools", timeout=600)
    # mcopy gives a folder the time at which it made it.
    expected = trees.entries("mtools", modes=False)
    files = {path for path, entry in expected.items() if entry.kind == "0o100000"}
    assert len(files) > kind.files // 2

    def same(found):
        found = trees.entries(found, modes=False)
        assert set(found) == set(expected)
        for path in expected:
            if path in files:
                assert found[path] == expected[path], path
            else:
                assert found[path].kind == expected[path].kind, path

    with mounted(image, "--files") as mnt:
        same(mnt)
        names = {path.name for path in mnt.iterdir()}
        # The short name is another way in, and is not listed.
        assert "AFOLDE~1" not in names
        assert (mnt / "AFOLDE~1").stat().st_ino == (mnt / "a folder's long name").stat().st_ino
    run(f"platter cp {image}:/ copy", timeout=600)
    same("copy")


@needs("mkfs.fat", "mcopy")
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_bad_first_fat(bits, home):
    """Zeros where the first FAT was: the second has it all, and it is said."""
    image = home / "fat.img"
    run(f"mkfs.fat -C -F {bits} -s 1 {image} {36_000 if bits == 32 else 5_000 if bits == 16 else 1440}")
    (home / "file").write_bytes(noise(1, 300_000))
    run(f"mcopy -i {image} file ::/file")
    with open(image, "r+b") as file:
        boot = file.read(512)
        reserved = int.from_bytes(boot[14:16], "little")
        length = int.from_bytes(boot[36:40] if bits == 32 else boot[22:24], "little")
        file.seek(reserved * 512)
        file.write(bytes(length * 512))
    with mounted(image, "--files") as mnt:
        assert digest(mnt / "file") == digest("file")


# Of a short name and nothing else, as DOS in Japan wrote it: 表示 has the backslash's byte in it, and the first
# character of 螟 is that of deleted files.
JAPANESE = {b"\x95\x5c\x8e\xa6    TXT": "表示.TXT", b"\x05\xa4      TXT": "螟.TXT",
            b"\xb1\xb2\xb3     BIN": "ｱｲｳ.BIN"}


@needs("mkfs.fat", "mcopy")
def test_code_page_of_two_bytes(home):
    image = home / "dos.img"
    run(f"mkfs.fat -C -F 12 {image} 1440")
    for number in range(len(JAPANESE)):
        Path(f"F{number}.TXT").write_text(f"{number}")
        run(f"mcopy -i {image} F{number}.TXT ::/")
    content = image.read_bytes()
    for number, name in enumerate(JAPANESE):
        old = f"F{number}".ljust(8).encode() + b"TXT"
        assert content.count(old) == 1
        content = content.replace(old, name)
    image.write_bytes(content)
    assert [name.replace(b"\x05", b"\xe5")[:8].rstrip().decode("cp932") for name in JAPANESE] == [
        name.split(".")[0] for name in JAPANESE.values()]
    with mounted(image, "--files", "--code-page 932") as mnt:
        assert {path.name: path.read_text() for path in mnt.iterdir()} == {
            name: f"{number}" for number, name in enumerate(JAPANESE.values())}
    assert set(run(f"platter ls --code-page 932 {image}").out.split()) == set(JAPANESE.values())
    refused(f"platter ls --code-page 933 {image}", "932", "437")
    if ROOT:
        # A C library without its tables of characters.
        tables = next(Path("/usr/lib").glob("*/gconv"))
        refused(f"unshare -m sh -c 'mount -t tmpfs none {tables} && platter ls --code-page 932 {image}'",
                "932", "gconv")
        assert run(f"platter ls {image}").out


@needs("mkfs.fat", "mcopy")
def test_folders_that_are_everywhere(home):
    """Sixteen folders that are all the folder they are in: as many paths as there are orders of them."""
    image = home / "loops.img"
    run(f"mkfs.fat -C -F 12 -s 1 {image} 1440")
    run(f"mmd -i {image} ::/MARKER")
    content = bytearray(image.read_bytes())
    place = content.index(b"MARKER     ")
    cluster = int.from_bytes(content[place + 26:place + 28], "little")
    start = (1 + 2 * int.from_bytes(content[22:24], "little")) * 512 + 224 * 32 + (cluster - 2) * 512
    for number in range(16):
        entry = bytearray(content[place:place + 32])
        entry[:11] = f"LOOP{number}".ljust(11).encode()
        content[start + number * 32:start + (number + 1) * 32] = entry
    image.write_bytes(content)
    listed = attempt(f"platter ls -R {image}", timeout=20)
    assert listed.status == 1 and "more than 64 places" in listed.err
    copied = attempt(f"platter cp {image}:/ copy", timeout=20)
    assert copied.status == 1 and "more than 64 places" in copied.err
    assert sum(1 for _ in Path("copy").rglob("*")) <= 16 * 64 + 1


EXFAT_SCRIPT = """
set -eu
device=$(losetup -f --show exfat.img 2>&1) || { echo "no loop device: $device"; exit 9; }
mkdir point
trap 'umount -l point 2>/dev/null || true; losetup -d $device' EXIT
mount.exfat-fuse -d $device point >log 2>&1 &
pid=$!
until mountpoint -q point; do kill -0 $pid 2>/dev/null || { cat log; exit 9; }; sleep 0.05; done
cp -r --preserve=timestamps source/. point/
find point -name '*[13579].*' -delete
cat /dev/urandom >point/rest.bin 2>/dev/null || true
dd if=/dev/urandom bs=512 oflag=append conv=notrunc of=point/rest.bin 2>/dev/null || true
test "$(df --output=avail point | tail -1)" -eq 0
umount point
wait $pid
"""


def exfat_entries(image):
    """Path → size and digest, by dissect.fat."""
    exfat = pytest.importorskip("dissect.fat.exfat", reason="dissect.fat is missing (make deps)")
    from dissect.util.stream import RunlistStream

    found = {}
    with open(image, "rb") as file:
        volume = exfat.ExFAT(file)

        def walk(folder, path):
            for name, (item, below) in folder.items():
                if item.metadata.attributes.directory:
                    found[path + name] = None
                    walk(below, f"{path}{name}/")
                    continue
                size = item.stream.data_length
                content = b""
                if size:
                    whole = item.stream.flags.not_fragmented
                    runs = volume.runlist(item.stream.location, bool(whole), size if whole else None)
                    content = RunlistStream(file, runs, size, volume.sector_size).read()
                found[path + name] = size, hashlib.sha256(content).hexdigest()

        walk(volume.files["/"][1], "")
    return found


def platter_entries(root):
    return {str(path.relative_to(root)): (path.stat().st_size, digest(path)) if path.is_file() else None
            for path in Path(root).rglob("*")}


@needs("mkfs.exfat", "mount.exfat-fuse", "losetup")
@pytest.mark.skipif(not ROOT, reason="needs root, to make a loop device")
@pytest.mark.parametrize("size, cluster", [(8 * MIB, 512), (64 * MIB, 32768)]
                         + ([(1024 * MIB, 4096)] if SOAK else []))
def test_full_exfat_is_what_dissect_reads(size, cluster, home):
    run(f"truncate -s {size} exfat.img && mkfs.exfat -c {cluster} -L FILLED exfat.img")
    random.seed(size)
    folders = [Path("source"), Path("source/Ordner ☃"), Path("source/Ordner ☃/tief")]
    for folder in folders:
        folder.mkdir()
    for number in range(600 if SOAK else 60):
        (folders[number % 3] / f"Datei, ü, number {number}.bin").write_bytes(
            noise(number, random.choice([0, 1, random.randrange(size // 80)])))
    Path("fill").write_text(EXFAT_SCRIPT)
    filled = attempt("bash fill", timeout=600)
    if filled.status == 9:
        pytest.skip(f"exfat-fuse cannot mount here: {filled.out.strip()}")
    assert filled.status == 0, filled
    expected = exfat_entries("exfat.img")
    assert len(expected) > 30 and expected["rest.bin"][0] > 0
    with mounted("exfat.img", "--files") as mnt:
        assert platter_entries(mnt) == expected
    run("platter cp exfat.img:/ copy", timeout=600)
    assert platter_entries("copy") == expected
