"""Every format and variant that QEMU writes and Platter reads, at random: what Platter makes of it is
what QEMU makes of it, byte for byte.

Differencing VHD are not here: QEMU reads them wrong. PLATTER_SOAK=1 makes 50 images of each kind."""

import json
import os
import random
from pathlib import Path

import pytest

from support.files import data_ranges, read_at
from support.qemu import (
    KIB, MIB, Kind, clean, expected_digest, make, oracle, raw_disk, virtual_size)
from support.session import SOAK
from support.shell import mounted, needs, run

pytestmark = needs("qemu-img", "qemu-io")


def sizes(*values):
    return [(f"{v // MIB}M" if v >= MIB else f"{v // KIB}k" if v >= KIB else str(v), v)
            for v in values]


KINDS = [
    Kind("raw", "raw"),

    Kind("vpc fixed", "vpc", "subformat=fixed,force_size=on", sample=2),
    Kind("vpc fixed, by geometry", "vpc", "subformat=fixed", sample=2),
    Kind("vpc dynamic", "vpc", "subformat=dynamic,force_size=on", 2 * MIB, 16 * MIB),
    Kind("vpc dynamic, by geometry", "vpc", "subformat=dynamic", 2 * MIB, 16 * MIB),

    Kind("vhdx fixed", "vhdx", "subformat=fixed", MIB, 8 * MIB, sample=2),
    *[Kind(f"vhdx dynamic, blocks of {name}", "vhdx", f"subformat=dynamic,block_size={size}",
           # Two of the largest blocks take seconds; one is not filled.
           size, max(8 * MIB, min(size * 2, 600 * MIB if SOAK else 48 * MIB)),
           sample=1 if size > 8 * MIB else 4,
           soak=10 if size > 32 * MIB else 50)
      for name, size in sizes(MIB, 2 * MIB, 32 * MIB, 256 * MIB)],
    Kind("vhdx, log of 4M", "vhdx", "log_size=4M", 8 * MIB, 24 * MIB, sample=2),
    Kind("vhdx, no zero state", "vhdx", "block_state_zero=off", 8 * MIB, 24 * MIB, sample=2),

    *[Kind(f"vmdk {name}", "vmdk", f"subformat={name}",
           is_written_once=name == "streamOptimized")
      for name in ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse",
                   "twoGbMaxExtentFlat", "streamOptimized")],
    *[Kind(f"vmdk {name}, zeroed grains", "vmdk", f"subformat={name},zeroed_grain=on",
           is_written_once=name == "streamOptimized")
      for name in ("monolithicSparse", "twoGbMaxExtentSparse", "streamOptimized")],
    *[Kind(f"vmdk {name}, version 6", "vmdk", f"subformat={name},compat6=on", sample=2)
      for name in ("monolithicSparse", "twoGbMaxExtentFlat")],
    Kind("vmdk on vmdk", "vmdk", has_backing=True),

    Kind("vdi dynamic", "vdi", "", MIB, 8 * MIB),
    Kind("vdi static", "vdi", "static=on", MIB, 8 * MIB, sample=2),

    Kind("qcow", "qcow", "", 4 * KIB),
    Kind("qcow compressed", "qcow", "", 4 * KIB, is_compressed=True),
    Kind("qcow overlay", "qcow", "", 512, has_backing=True),

    Kind("qcow2 0.10", "qcow2", "compat=0.10"),
    *[Kind(f"qcow2, clusters of {name}", "qcow2", f"cluster_size={size}", size,
           max(MIB, 8 * size), sample=2)
      for name, size in sizes(*(512 << n for n in range(13)))],
    *[Kind(f"qcow2 subclusters, clusters of {name}", "qcow2",
           f"extended_l2=on,cluster_size={size}", size // 32, max(MIB, 8 * size))
      for name, size in sizes(16 * KIB, 64 * KIB, 2 * MIB)],
    *[Kind(f"qcow2 {method}, clusters of {name}", "qcow2",
           f"compression_type={method},cluster_size={size}", size, max(MIB, 8 * size),
           is_compressed=True)
      for method in ("zlib", "zstd") for name, size in sizes(512, 4 * KIB, 64 * KIB, 2 * MIB)],
    Kind("qcow2 0.10 zlib", "qcow2", "compat=0.10", is_compressed=True, sample=2),
    Kind("qcow2 lazy refcounts", "qcow2", "lazy_refcounts=on", sample=2),
    *[Kind(f"qcow2, refcounts of {bits} bits", "qcow2", f"refcount_bits={bits}", sample=1)
      for bits in (1, 2, 4, 8, 16, 32, 64)],
    Kind("qcow2 data file", "qcow2", "data_file=disk.data"),
    Kind("qcow2 raw data file", "qcow2", "data_file=disk.data,data_file_raw=on"),
    *[Kind(f"qcow2 preallocated: {mode}", "qcow2", f"preallocation={mode}", sample=2)
      for mode in ("metadata", "falloc", "full")],
    Kind("qcow2 overlay", "qcow2", has_backing=True),
    Kind("qcow2 overlay, clusters of 512", "qcow2", "cluster_size=512", 512, MIB,
         has_backing=True),
    Kind("qcow2 overlay with subclusters", "qcow2", "extended_l2=on", 2 * KIB, has_backing=True),
    Kind("qcow2 overlay with compressed clusters", "qcow2", "", is_compressed=True,
         has_backing=True),

    # QEMU 7.2 makes tables of one cluster and then refuses to open them.
    *[Kind(f"qed, clusters of {name}, tables of {table}", "qed",
           f"cluster_size={size},table_size={table}", size, max(3 * MIB, 8 * size), sample=2)
      for name, size in sizes(4 * KIB, 64 * KIB, MIB) for table in (2, 4, 16)],
    Kind("qed overlay", "qed", "cluster_size=4096", 4 * KIB, has_backing=True),

    *[Kind(f"parallels, clusters of {name}", "parallels", f"cluster_size={size}", size,
           max(3 * MIB, 8 * size))
      for name, size in sizes(4 * KIB, 64 * KIB, MIB)],
]

# One of each format and of what is stored differently: through a mount.
MOUNTED = [
    "raw", "vpc fixed", "vpc dynamic", "vhdx dynamic, blocks of 1M", "vmdk monolithicSparse",
    "vmdk twoGbMaxExtentFlat", "vmdk streamOptimized", "vmdk on vmdk", "vdi dynamic", "qcow",
    "qcow compressed", "qcow2, clusters of 512", "qcow2, clusters of 64k",
    "qcow2 subclusters, clusters of 64k", "qcow2 zstd, clusters of 64k", "qcow2 raw data file",
    "qcow2 overlay", "qed, clusters of 64k, tables of 4", "qed overlay",
    "parallels, clusters of 64k",
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_reads_what_qemu_reads(kind):
    for seed in range(kind.soak if SOAK else kind.sample):
        image = make(kind, seed)
        found = run(f"platter hash {image}").out.split()[0]
        assert found == expected_digest(kind, image), difference(kind, seed, image)
        clean()


def difference(kind, seed, image):
    """Where the first wrong byte is, for whoever has to look for it."""
    run(f"platter cat {image} > ours.raw || true")
    where = run("cmp ours.raw expected.raw 2>&1 || true").out.strip()
    return f"image {seed} of '{kind}': {where}\n{run(f'qemu-img info {image}').out}"


@pytest.mark.parametrize("name", MOUNTED)
def test_shows_what_qemu_reads(name):
    """Sizes, reads anywhere, holes, and QEMU's own comparison, through a mount."""
    [kind] = [kind for kind in KINDS if kind.name == name]
    for seed in range(100, 110 if SOAK else 101):
        image = make(kind, seed)
        expected = oracle(kind, image)
        size = expected.stat().st_size
        with mounted(image) as mnt:
            disk = mnt / "disk"
            assert os.stat(disk).st_size == size
            check_holes(disk, expected, size)
            check_reads(disk, expected, size, random.Random(seed))
            run(f"qemu-img compare -f raw -F {kind.format} {disk} {image}")
            run(f"cmp {disk} {expected}")
            # Once more, now that everything was read; st_blocks is no more than there is.
            assert os.stat(disk).st_blocks * 512 <= size + 511
        run(f"platter cat {image} | cmp - {expected}")
        check_map(image, expected, size)
        clean()


def check_reads(disk, expected, size, chance):
    with open(disk, "rb", buffering=0) as ours, open(expected, "rb") as theirs:
        for _ in range(200):
            start = chance.randrange(0, size)
            count = min(chance.choice([1, 511, 512, 4096, 100_000, 300_000]), size - start)
            assert (os.pread(ours.fileno(), count, start)
                    == os.pread(theirs.fileno(), count, start)), f"{count} bytes at {start}"
        assert os.pread(ours.fileno(), 100, size) == b""


def check_holes(disk, expected, size):
    """What is called a hole reads as zeros; data and holes take turns up to the end."""
    ranges = data_ranges(disk)
    place = 0
    for start, end in [*ranges, (size, size)]:
        assert place <= start <= end <= size
        assert read_at(expected, place, start - place) == bytes(start - place), (place, start)
        place = end
    with open(disk, "rb", buffering=0) as file:
        for start, end in ranges:
            for at in {start, (start + end) // 2, end - 1}:
                assert os.lseek(file.fileno(), at, os.SEEK_DATA) == at
                assert os.lseek(file.fileno(), at, os.SEEK_HOLE) == end
        with pytest.raises(OSError):
            os.lseek(file.fileno(), size, os.SEEK_DATA)


def check_map(image, expected, size):
    place = 0
    for entry in json.loads(run(f"platter map --json {image}").out)["ranges"]:
        start, length = entry["start"], entry["length"]
        assert start == place and length > 0
        held = read_at(expected, start, length)
        if entry["type"] == "zero":
            assert held == bytes(length), entry
        if "fileOffset" in entry:
            assert read_at(entry["path"], entry["fileOffset"], length) == held, entry
        place += length
    assert place == size


@pytest.mark.parametrize("subformat", ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_more_than_one_extent(subformat):
    """A VMDK in pieces of 2 GiB, with data on both sides of the seams."""
    size = 4096 * MIB + 3 * MIB + 512
    Path("source.raw").touch()
    with open("source.raw", "r+b") as file:
        file.truncate(size)
        for place in (0, 2047 * MIB, 2048 * MIB - 700, 4096 * MIB - 512, 4096 * MIB, size - 900):
            file.seek(place)
            file.write(random.Random(place).randbytes(min(70_000, size - place)))
    run(f"qemu-img convert -f raw -O vmdk -o subformat={subformat} source.raw disk.vmdk")
    # Hashed or written to a pipe, the 4 GiB of zeros would take longer than all the rest.
    with mounted("disk.vmdk") as mnt:
        assert os.stat(mnt / "disk").st_size == size
        run(f"qemu-img compare -f raw -F raw {mnt}/disk source.raw")


@pytest.mark.skipif(not SOAK, reason="one of every size: PLATTER_SOAK=1 does")
@pytest.mark.parametrize("format", ["qcow", "qcow2", "qed", "vdi", "vhdx", "vmdk", "parallels"])
def test_every_small_size(format):
    """Disks of 1 to 300 sectors: ends that fall anywhere in a block, a table, a cluster."""
    kind = Kind(f"small {format}", format, "cluster_size=512" if format == "qcow2" else "")
    for sectors in range(1, 300):
        Path("source.raw").write_bytes(random.Random(sectors).randbytes(512 * sectors))
        run(f"qemu-img convert -f raw -O {format} source.raw disk")
        assert virtual_size(format, "disk") == 512 * sectors
        assert run("platter hash disk").out.split()[0] == expected_digest(kind, "disk"), sectors
        clean()
