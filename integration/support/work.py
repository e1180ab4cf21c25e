"""Disks to write to."""

import json

from .files import MIB, sparse_file
from .shell import run

# Sector 63 is where DOS began: no page of this partition is a page of the disk.
P1, P2 = (63 * 512, 1037 * 512), (1100 * 512, 900 * 512)


def small_disk(path="small.img"):
    """1 MiB with two partitions side by side that start in the middle of pages."""
    sparse_file(path, MIB)
    run(f"sfdisk -q --force {path}", input=b"label: dos\n1: start=63, size=1037\n"
        b"2: start=1100, size=900\n")
    return path


def work_disk(path="work.img"):
    sparse_file(path, 96 * MIB)
    run(f"sfdisk -q {path}", input=b"label: dos\n1: start=63, size=40000, type=6\n"
        b"2: start=65536, size=100000\n")
    return path


def status(mnt):
    return json.loads((mnt / "status.json").read_text())
