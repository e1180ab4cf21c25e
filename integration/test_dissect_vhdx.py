"""VHDX images beside dissect.hypervisor (PyPI), which reads differencing ones as qemu-img does not.

dissect.hypervisor 3.21 is asked for whole blocks only: asked for more from the middle of a block it goes
on past the block's end. A child asks its parent for runs of sectors, and a parent that is itself a
child gives too few where a run does not start and end with a byte of its bitmap. So in chains of
more than two, sectors here are a child's in groups of eight. The unit tests compute other chains from
the specification.
"""

import hashlib
import random

import pytest

from support.files import MIB, noise
from support.shell import run
from support.vhdx import UNDEFINED, UNMAPPED, VHDX, ZERO

vhdx = pytest.importorskip(
    "dissect.hypervisor.disk.vhdx",
    reason="dissect.hypervisor is missing (pip install it into a folder, and put that in PYTHONPATH)")


def content_by_dissect(path):
    disk = vhdx.VHDX(path)
    pieces = []
    while disk.tell() < disk.size:
        piece = disk.read(disk.block_size)
        assert piece, f"{path} ends at {disk.tell()} of {disk.size}"
        pieces.append(piece)
    return b"".join(pieces)


def compare(path, expected):
    assert content_by_dissect(path) == expected, "dissect reads something else than was built"
    digest = hashlib.sha256(expected).hexdigest()
    assert run(f"platter hash {path}").out.split()[0] == digest


def sectors_of_child(chance, sectors, unit):
    """Runs of sectors, in multiples of `unit`."""
    owned, place = set(), 0
    while place < sectors:
        count = unit * chance.randint(1, chance.choice((2, 40)))
        if chance.random() < 0.5:
            owned.update(range(place, min(sectors, place + count)))
        place += count
    return owned


def filled(chance, disk, unit=None):
    """Gives the disk blocks of every kind; of a child, some are partly its parent's."""
    for number in range(disk.count):
        kind = chance.randrange(5)
        if kind == 0:
            disk.states[number] = chance.choice((UNDEFINED, ZERO, UNMAPPED))
        elif kind > 1:
            disk.blocks[number] = noise(chance.random(), disk.block_size)
            if kind > 2 and disk.parent:
                disk.owned[number] = sectors_of_child(
                    chance, disk.block_size // disk.sector_size, unit)
    return disk


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("block_size", [MIB, 4 * MIB])
def test_dynamic(sector_size, block_size):
    chance = random.Random(f"{sector_size} {block_size}")
    disk = filled(chance, VHDX(9 * MIB + sector_size, block_size, sector_size))
    compare(disk.write("disk.vhdx"), disk.over())


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_differencing(seed, depth, sector_size):
    chance = random.Random(f"{seed} {depth} {sector_size}")
    expected = b""
    for level in range(depth + 1):
        linkage = "00000000-0000-0000-0000-%012d"
        disk = VHDX(5 * MIB, sector_size=sector_size, data_write_guid=linkage % level)
        if level:
            disk.parent = (f".\\{level - 1}.vhdx", linkage % (level - 1))
        filled(chance, disk, unit=1 if depth == 1 else 8).write(f"{level}.vhdx")
        expected = disk.over(expected)
    compare(f"{depth}.vhdx", expected)
