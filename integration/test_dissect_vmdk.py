"""VMDKs and their parents, as dissect.hypervisor reads them: a second opinion beside QEMU's."""

import hashlib
import os
import random
import struct
from pathlib import Path

import pytest

from support.files import MIB, digest, noise, sparse_file, write_at
from support.session import REPOSITORY
from support.shell import mounted, needs, run

dissect = pytest.importorskip(
    "dissect.hypervisor.disk.vmdk",
    reason="dissect.hypervisor is missing (pip install dissect.hypervisor)")

IMAGES = Path(os.environ.get("PLATTER_SHARED", REPOSITORY.parent / "shared")) / "images"
SUBFORMATS = ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
              "streamOptimized"]
SECTOR = 512
CAPACITY = 40_000  # Sectors: three grain tables of ESX Server's, two of seSparse.


def dissect_digest(path):
    """By sectors: its stream asks for some past the end of a disk that is no multiple of its buffer."""
    disk = dissect.VMDK(Path(path))
    hasher = hashlib.sha256()
    for start in range(0, disk.sector_count, 2048):
        count = min(2048, disk.sector_count - start)
        piece = disk.read_sectors(start, count)
        assert len(piece) == count * SECTOR
        hasher.update(piece)
    return hasher.hexdigest()


def same(path):
    """Platter, by `hash` and through a mount, and dissect agree on the disk."""
    expected = dissect_digest(path)
    assert run(f"platter hash '{path}'").out.split()[0] == expected
    with mounted(path) as mnt:
        assert digest(mnt / "disk") == expected
    return expected


def scattered(path, size, seed):
    """A raw disk with data at both ends and here and there."""
    sparse_file(path, size)
    write_at(path, 0, noise(f"{seed}/0", 5000))
    write_at(path, size - 700, noise(f"{seed}/end", 700))
    for index in range(5):
        count = random.Random(f"{seed}/{index}").randrange(1, 200_000)
        write_at(path, random.Random(f"{seed}/at/{index}").randrange(size - count),
                 noise(f"{seed}/{index}", count))
    return path


@needs("qemu-img")
@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_converted(subformat, home):
    raw = scattered(home / "in.raw", 12 * MIB + 31 * SECTOR, subformat)
    run(f"qemu-img convert -O vmdk -o subformat={subformat} {raw} disk.vmdk")
    assert same("disk.vmdk") == digest(raw)


@pytest.mark.skipif(not IMAGES.exists(), reason=f"{IMAGES} is missing: set PLATTER_SHARED")
@pytest.mark.parametrize("name", ["ext2", "monolithicSparse", "streamOptimized",
                                  "twoGbMaxExtentSparse"])
def test_images_of_other_projects(name):
    same(IMAGES / f"{name}.vmdk")


@needs("qemu-img")
@pytest.mark.parametrize("base", SUBFORMATS)
def test_chains_of_qemu(base, home):
    """Each child has its own name for its parent: dissect joins it to the folder."""
    raw = scattered(home / "in.raw", 8 * MIB, base)
    run(f"qemu-img convert -O vmdk -o subformat={base} {raw} 0.vmdk")
    for level in range(1, 6):
        kind = "twoGbMaxExtentSparse" if level == 3 else "monolithicSparse"
        run(f"qemu-img create -f vmdk -F vmdk -b {level - 1}.vmdk -o subformat={kind} {level}.vmdk")
        write_at(raw, level * 300_000, bytes([level]) * 90_000)
        run(f"qemu-io -f vmdk -c 'write -P {level} {level * 300_000} 90000' {level}.vmdk")
        assert same(f"{level}.vmdk") == digest(raw)


# Deltas of ESXi, which no tool here makes.


def descriptor(kind, cid, extent, parent=None):
    lines = ["# Disk DescriptorFile", "version=1", f"CID={cid:08x}",
             f"parentCID={parent[0] if parent else 0xffffffff:08x}", f'createType="{kind}"']
    if parent:
        lines.append(f'parentFileNameHint="{parent[1]}"')
    return "\n".join([*lines, "", "# Extent description", extent, ""])


def copy_on_write(grains):
    """COWD: a header of four sectors, the grain directory, tables of 4,096 entries; grains of a
    sector."""
    tables = -(-CAPACITY // 4096)
    first = 5 + 32 * tables
    header = struct.pack("<4s7I", b"COWD", 1, 3, CAPACITY, 1, 4, tables, first + len(grains))
    directory = struct.pack(f"<{tables}I", *(5 + 32 * table for table in range(tables)))
    entries, data = [0] * (4096 * tables), []
    for number, (sector, content) in enumerate(grains.items()):
        entries[sector] = first + number
        data.append(content)
    return (header.ljust(4 * SECTOR, b"\0") + directory.ljust(SECTOR, b"\0")
            + struct.pack(f"<{len(entries)}I", *entries) + b"".join(data))


def space_efficient(grains):
    """seSparse, with grains of 4 KiB; None is a grain of zeros. Not the third kind of entry, 'unmapped
    by the guest': dissect asks the parent for it, QEMU and Platter read zeros."""
    tables = -(-CAPACITY // 32768)
    first = 3 + 64 * tables
    fields = [0xCAFEBABE, 0x200000001, CAPACITY, 8, 64, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0,
              2, 1, 3, 64 * tables, 0, 0, 0, 0, first, CAPACITY]
    header = struct.pack("<26Q", *fields).ljust(SECTOR, b"\0")
    changing = struct.pack("<Q", 0xCAFECAFE).ljust(SECTOR, b"\0")
    directory = struct.pack(f"<{tables}Q", *(0x1000000000000000 | n for n in range(tables)))
    entries, data = [0] * (4096 * tables), []
    for index, content in grains.items():
        if content is None:
            entries[index] = 0x2000000000000000
            continue
        number = len(data)
        entries[index] = 0x3000000000000000 | (number & 0xfff) << 48 | number >> 12
        data.append(content)
    return (header + changing + directory.ljust(SECTOR, b"\0")
            + struct.pack(f"<{len(entries)}Q", *entries) + b"".join(data))


@needs("qemu-img")
@pytest.mark.parametrize("kinds", [["vmfsSparse"], ["seSparse"],
                                   ["seSparse", "vmfsSparse", "seSparse", "vmfsSparse"]])
def test_deltas_of_esxi(kinds, home):
    chooser = random.Random(str(kinds))
    disk = bytearray(noise("base", CAPACITY * SECTOR))
    Path("0-flat.vmdk").write_bytes(disk)
    Path("0.vmdk").write_text(descriptor("vmfs", 0x100, f'RW {CAPACITY} VMFS "0-flat.vmdk"'))
    for level, kind in enumerate(kinds, 1):
        grains = {}
        unit = SECTOR if kind == "vmfsSparse" else 8 * SECTOR
        for index in sorted(chooser.sample(range(CAPACITY * SECTOR // unit), 500)):
            content = noise(f"{kinds}/{level}/{index}", unit)
            if kind == "seSparse" and chooser.random() < 0.2:
                content = None
            grains[index] = content
            disk[index * unit:(index + 1) * unit] = content or bytes(unit)
        suffix, word = (("delta", "VMFSSPARSE") if kind == "vmfsSparse" else
                        ("sesparse", "SESPARSE"))
        name = f"{level}-{suffix}.vmdk"
        Path(name).write_bytes((copy_on_write if kind == "vmfsSparse" else space_efficient)(grains))
        Path(f"{level}.vmdk").write_text(descriptor(
            kind, 0x100 + level, f'RW {CAPACITY} {word} "{name}"',
            (0x100 + level - 1, f"{level - 1}.vmdk")))
    assert same(f"{len(kinds)}.vmdk") == hashlib.sha256(disk).hexdigest()
    run(f"qemu-img convert -f vmdk -O raw {len(kinds)}.vmdk qemu.raw")
    assert digest("qemu.raw") == hashlib.sha256(disk).hexdigest()
