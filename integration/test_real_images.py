"""Images that this project did not make: shared/images, and the digests that oracles gave."""

import bz2
import csv
import gzip
import hashlib
import json
import lzma
import os
from pathlib import Path

import pytest

from support.files import MIB, data_ranges, difference, digest
from support.session import REPOSITORY, SOAK
from support.shell import attempt, mounted, needs, refused, run

# Not the session's: the list of tests is made before there are fixtures.
IMAGES = Path(os.environ.get("PLATTER_SHARED", REPOSITORY.parent / "shared")) / "images"
OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}

EXPECTED = {}
if (IMAGES / "EXPECTED.tsv").exists():
    with open(IMAGES / "EXPECTED.tsv", newline="") as table:
        EXPECTED = {row["file"]: row for row in csv.DictReader(table, delimiter="\t")}

# Its digest there is QEMU's, of a shorter disk: it has its own tests below.
VIRTUAL_PC = "virtualpc-dynamic.vhd.bz2"
# What Platter knows by its first or last bytes, and says so instead of showing noise.
UNREAD_SUFFIXES = {".E01": "EWF"}
READ = [name for name, row in EXPECTED.items()
        if row["sha256_of_virtual_disk"] and row["virtual_bytes"] and name != VIRTUAL_PC
        and Path(name).suffix not in UNREAD_SUFFIXES]
UNREAD = {name: UNREAD_SUFFIXES[Path(name).suffix] for name in EXPECTED
          if Path(name).suffix in UNREAD_SUFFIXES}
pytestmark = pytest.mark.skipif(
    not EXPECTED,
    reason=f"{IMAGES} is missing: set PLATTER_SHARED to the folder that holds images/")


def unpacked(name, folder):
    """The file itself, or what its compression holds, under the name without that suffix."""
    opener = OPENERS.get(Path(name).suffix)
    if opener is None:
        return IMAGES / name
    plain = folder / Path(name).stem
    if not plain.exists():
        with opener(IMAGES / name) as packed:
            plain.write_bytes(packed.read())
    return plain


@pytest.mark.parametrize("name", READ)
def test_hashes_as_expected(name, home):
    row = EXPECTED[name]
    image = IMAGES / name
    assert run(f"platter hash {image}").out.split() == [row["sha256_of_virtual_disk"], str(image)]
    with mounted(image) as mnt:
        assert os.stat(mnt / "disk").st_size == int(row["virtual_bytes"])
        assert digest(mnt / "disk") == row["sha256_of_virtual_disk"]
    with mounted(image, "--cache=none") as mnt:
        assert digest(mnt / "disk") == row["sha256_of_virtual_disk"]


def test_bzip2_dmg(home):
    """QEMU reads none: hdiutil made it of the same disk as the one in zlib. 7-Zip and dmg2img agree."""
    whole = EXPECTED["compression-zlib.dmg"]["sha256_of_virtual_disk"]
    image = IMAGES / "compression-bz2.dmg"
    assert run(f"platter hash {image}").out.split()[0] == whole
    with mounted(image) as mnt:
        assert digest(mnt / "disk") == whole


@needs("blkid")
# blkid reads no disk images.
@pytest.mark.parametrize("name", [name for name in READ if EXPECTED[name]["oracle"] == "flat"])
def test_names_the_file_system_as_blkid_does(name, home):
    image = unpacked(name, home)
    # One value at a time: only then are names beyond ASCII printed as they are.
    told = {field: attempt(f"blkid -p -o value -s {field.upper()} {image}").out.removesuffix("\n")
            for field in ("type", "label", "uuid")}
    found = json.loads(run(f"platter info --json {image}").out).get("fileSystem") or {}
    assert found == {field: value for field, value in told.items() if value}


def test_split_raw(home):
    whole = EXPECTED["ext2.qcow2"]["sha256_of_virtual_disk"]
    first = IMAGES / "ext2.splitraw.000"
    assert run(f"platter hash {first}").out.split()[0] == whole
    with mounted(first) as mnt:
        assert digest(mnt / "disk") == whole
        run(f"cat {first} {IMAGES}/ext2.splitraw.001 | cmp - {mnt}/disk")
    refused(f"platter info {IMAGES}/ext2.splitraw.001", "ext2.splitraw.001", "ext2.splitraw.000")


@pytest.mark.parametrize("name", UNREAD)
@pytest.mark.parametrize("verb", ["info", "hash", "mount"])
def test_says_what_it_does_not_read(name, verb):
    refused(f"platter {verb} {IMAGES / name}", name, UNREAD[name], "--format raw")


def test_shows_as_raw_when_told_to():
    image = IMAGES / "ext2.E01"
    assert run(f"platter hash --format raw {image}").out.split()[0] == digest(image)


# virtualpc-dynamic.vhd: 136,365,211,648 bytes by its footer, which governs. QEMU goes by the
# geometry, and its digest is of the first 136,363,130,880 bytes.

FOOTER_SIZE, GEOMETRY_SIZE = 136_365_211_648, 136_363_130_880


@needs("qemu-img")
def test_virtual_pc(home):
    """Hashing 136 GB takes over a minute, so here its size, its ranges and samples are compared
    with what QEMU makes of it; the digest itself is a soak test, below."""
    image = unpacked(VIRTUAL_PC, home)
    run(f"qemu-img convert -O raw {image} qemu.raw")
    assert os.stat("qemu.raw").st_size == GEOMETRY_SIZE
    with mounted(image) as mnt:
        disk = mnt / "disk"
        assert os.stat(disk).st_size == FOOTER_SIZE
        # Nothing was ever written to it.
        assert os.stat(disk).st_blocks == 0
        assert data_ranges(disk) == []
        with open("qemu.raw", "r+b") as file:
            file.truncate(FOOTER_SIZE)
        assert difference(disk, "qemu.raw", 0, FOOTER_SIZE) is None
        with open(disk, "rb", buffering=0) as file:
            for place in (4 * MIB, FOOTER_SIZE // 2, GEOMETRY_SIZE - MIB, FOOTER_SIZE - MIB):
                assert os.pread(file.fileno(), MIB, place) == bytes(MIB)
            assert os.pread(file.fileno(), 1, FOOTER_SIZE) == b""
    notes = json.loads(run(f"platter info --json {image}").out)["notes"]
    assert any(str(FOOTER_SIZE) in note and str(GEOMETRY_SIZE) in note for note in notes)


@pytest.mark.skipif(not SOAK, reason="hashes 136 GB twice: PLATTER_SOAK=1 does")
def test_virtual_pc_digest(home):
    """Once through the mount, where holes are taken for the zeros that they are, up to where QEMU's
    disk ends and on to where the footer's does; once by `platter hash`."""
    image = unpacked(VIRTUAL_PC, home)
    hasher = hashlib.sha256()
    with mounted(image) as mnt:
        hash_with_holes(hasher, mnt / "disk", 0, GEOMETRY_SIZE)
        assert hasher.hexdigest() == EXPECTED[VIRTUAL_PC]["sha256_of_virtual_disk"]
        hash_with_holes(hasher, mnt / "disk", GEOMETRY_SIZE, FOOTER_SIZE)
    assert run(f"platter hash {image}", timeout=1800).out.split()[0] == hasher.hexdigest()


def hash_with_holes(hasher, path, start, end):
    zeros = bytes(4 * MIB)

    def skip(count):
        while count > 0:
            hasher.update(memoryview(zeros)[:count])
            count -= len(zeros)

    place = start
    with open(path, "rb", buffering=0) as file:
        for first, last in data_ranges(path, start, end):
            skip(first - place)
            while first < last:
                piece = os.pread(file.fileno(), min(MIB, last - first), first)
                hasher.update(piece)
                first += len(piece)
            place = last
    skip(end - place)
