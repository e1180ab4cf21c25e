"""The files inside images that this project did not make, as other programs have them."""

import stat
from dataclasses import replace

import pytest

from support import trees
from support.shell import mounted, needs, run
from test_real_images import EXPECTED, IMAGES, pytestmark  # noqa: F401: skips without the images

# Plain ISO 9660 has capitals only; Platter shows small ones, as Linux does.
CAPITALS = {"iso9660.raw", "copying.iso"}
XORRISO = ["copying-rr.iso", "iso-rr-joliet.img.xz"]
SEVEN_ZIP = [*CAPITALS, "joliet.iso", "iso-joliet.img.xz", "multi_extent_8k.iso", "udf102.iso",
             "udf-cd-nero-6.img.xz", "hello-world.img.gz"]
MTOOLS = {"hello-world.img.gz": 0, "fixed.vhd.gz": 65536}


def shown(name, folder, modes=False):
    """What a mount shows, and the same copied without one."""
    with mounted(IMAGES / name, "--files") as mnt:
        found = trees.entries(mnt, modes)
    run(f"platter cp {IMAGES / name}:/ {folder}")
    trees.assert_same(trees.entries(folder, modes), found)
    return found


def without_devices(entries):
    """Extractors leave them out, or make them only where they may."""
    return {path: entry for path, entry in entries.items()
            if int(entry.kind, 8) not in (stat.S_IFBLK, stat.S_IFCHR)}


@needs("xorriso")
@pytest.mark.parametrize("name", sorted(XORRISO))
def test_as_xorriso(name, home):
    run(f"platter cat {IMAGES / name} > disc.iso")
    (home / "expected").mkdir()
    run("xorriso -report_about FATAL -osirrox on:auto_chmod_off -indev disc.iso -extract / expected")
    trees.assert_same(without_devices(shown(name, home / "copy", modes=True)),
                      without_devices(trees.entries(home / "expected")))


@needs("7zz")
@pytest.mark.parametrize("name", sorted(SEVEN_ZIP))
def test_as_7zip(name, home):
    run(f"platter cat {IMAGES / name} > disc.img")
    run("7zz x -y -oexpected disc.img")
    found = shown(name, home / "copy")
    if name == "iso9660.raw":
        # Of a folder both its own record and its parent's have a time; Linux shows the one, 7-Zip the other.
        found["lost_found"] = replace(found["lost_found"], modified=1626962851)
    expected = {}
    for path, entry in trees.entries(home / "expected", modes=False).items():
        expected[path.lower() if name in CAPITALS else path] = entry
    trees.assert_same(found, expected)


@needs("mcopy")
@pytest.mark.parametrize("name", sorted(MTOOLS))
def test_as_mtools(name, home):
    run(f"platter cat {IMAGES / name} > disk.img")
    (home / "expected").mkdir()
    run(f"mcopy -s -n -p -m -i disk.img@@{MTOOLS[name]} '::*' expected")
    trees.assert_same(shown(name, home / "copy"),
                      trees.entries(home / "expected", modes=False))


def test_exfat(home):
    """util-linux's own: no other program at hand reads it."""
    shown("exfat.img.xz", home / "copy")
    assert {path.name: path.read_text() for path in (home / "copy").iterdir()} == {
        f"test.{number:02}": f"test.{number:02}\n" for number in range(100)}


def test_empty_fat(home):
    assert shown("fat.img.xz", home / "copy") == {}
