"""Random partition tables: every pN of the VHD is the range of the raw disk that sfdisk names."""

import json
import os

import pytest

from support.files import difference
from support.layouts import Layout, as_sfdisk_says
from support.session import SOAK
from support.shell import mounted, needs, run

pytestmark = needs("sfdisk", "qemu-img")


def compared(partitions):
    """What `info` says, as far as sfdisk says it too."""
    return [{name: partition.get(name) for name in
             ("number", "start", "size", "type", "bootable", "name", "uuid")}
            for partition in partitions]


@pytest.mark.parametrize("seed", range(1000 if SOAK else 200))
def test_layout(seed):
    layout = Layout(seed)
    run(f"qemu-img convert -f raw -O vpc -o subformat={layout.subformat},force_size=on "
        f"{layout.path} layout.vhd")
    info = json.loads(run(f"platter info --json {layout.option} layout.vhd").out)
    assert compared(info["partitions"]) == layout.partitions
    assert (info["partitionTable"], info["sectorSize"]) == (layout.table, layout.sector_size)
    assert info["subformat"] == layout.subformat
    with mounted("layout.vhd", layout.option) as mnt:
        shown = {name for name in os.listdir(mnt) if name[0] == "p"}
        assert shown == {f"p{partition['number']}" for partition in layout.partitions}
        for wanted in layout.partitions:
            assert difference(mnt / f"p{wanted['number']}", layout.path, wanted["start"],
                              wanted["size"]) is None, wanted
        assert difference(mnt / "disk", layout.path, 0, layout.path.stat().st_size) is None


@pytest.mark.parametrize("file", ["grub-rescue-cdrom.iso", "grub-rescue-floppy.img"])
def test_debian_rescue_images(file):
    """An isohybrid image, whose table covers the image itself, and a floppy that has one too."""
    path = f"/usr/lib/grub-rescue/{file}"
    if not os.path.exists(path):
        pytest.skip(f"{path} is missing (apt install grub-rescue-pc)")
    wanted = as_sfdisk_says(path)
    for partition in wanted:
        partition["uuid"] = None  # The disk has no identifier to make one of.
    info = json.loads(run(f"platter info --json {path}").out)
    assert compared(info["partitions"]) == wanted
    with mounted(path) as mnt:
        run(f"cmp {mnt}/disk {path}")
        for partition in wanted:
            assert difference(mnt / f"p{partition['number']}", path, partition["start"],
                              partition["size"]) is None
