"""Views that overlap: what one was told, every one says, whoever writes at once."""

import errno
import mmap
import os
import time
from pathlib import Path

import pytest

from support.files import MIB, noise, read_at, sparse_file, write_at
from support.hammers import Hammers
from support.images import mbr_entry, write_boot_record
from support.session import SOAK
from support.shell import mounted, needs, run
from support.views import Views
from support.work import P1, P2, small_disk, status


@pytest.mark.parametrize("option", ["--write", "--scratch"])
@pytest.mark.parametrize("first", ["disk", "p1", "p2"])
def test_views_against_a_model(home, option, first):
    """What one view was told, every view says: with the disk cached, and with a partition."""
    image = small_disk()
    model = bytearray(Path(image).read_bytes())
    with mounted(image, option) as mnt:
        views = {"disk": (0, MIB), "p1": P1, "p2": P2}
        names = [first] + [name for name in views if name != first]
        seed = int.from_bytes(os.urandom(4), "big") if SOAK else 4711
        test = Views(seed, model, [(mnt / name, *views[name]) for name in names])
        end = time.monotonic() + (60 if SOAK else 3)
        try:
            while time.monotonic() < end:
                test.step()
            test.check()
            assert test.map is not None, "the view that was opened first is the one that is cached"
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        finally:
            test.close()
    if option == "--write":
        assert Path(image).read_bytes() == model


@needs("qemu-img")
@pytest.mark.parametrize("option, soak", [
    ("--overlay w.qcow2", 600), ("--scratch", 60), ("--write", 60), ("--cache=none --write", 60)])
def test_many_writers_do_not_lock_each_other_out(home, option, soak):
    """Sixteen over three views, of which one is cached, and mapped by some."""
    seconds = soak if SOAK else 4
    with mounted(small_disk(), option) as mnt:
        with Hammers(mnt, seconds) as hammers:
            counts, mapped = hammers.counts()
        assert min(counts) > 10
        assert (mapped > 0) == ("none" not in option)
        disk = (mnt / "disk").read_bytes()
        for name, (offset, size) in (("p1", P1), ("p2", P2)):
            assert (mnt / name).read_bytes() == disk[offset:offset + size]
        assert status(mnt)["failedWrites"] == 0
        print(f"{option}: {sum(counts)} operations in {seconds} s")
    if "overlay" in option:
        run("qemu-img check w.qcow2")
        with mounted("small.img", option) as mnt:
            assert (mnt / "disk").read_bytes() == disk


def test_partitions_that_overlap_each_other(home):
    """As a hybrid or a broken table has them: at most one of three views is cached."""
    image = sparse_file("overlap.img", MIB)
    write_boot_record(image, 0, mbr_entry(63, 1037), mbr_entry(501, 900))
    model = bytearray(image.read_bytes())
    with mounted(image, "--scratch") as mnt:
        views = [("p2", 501 * 512, 900 * 512), ("p1", *P1), ("disk", 0, MIB)]
        test = Views(1, model, [(mnt / name, *window) for name, *window in views])
        try:
            for _ in range(3000):
                test.step()
            test.check()
        finally:
            test.close()


def test_a_mapping_and_the_other_views(home):
    with mounted(small_disk(), "--write") as mnt, open(mnt / "p1", "r+b") as file:
        with mmap.mmap(file.fileno(), 0) as view, open(mnt / "disk", "r+b", buffering=0) as disk:
            assert view[5000:5004] == bytes(4)
            os.pwrite(disk.fileno(), b"disk", P1[0] + 5000)
            assert view[5000:5004] == b"disk"
            view[5000:5004] = b"view"
            view.flush()
            assert os.pread(disk.fileno(), 4, P1[0] + 5000) == b"view"
            # Two views that are not cached at once cannot both be mapped.
            with pytest.raises(OSError) as error:
                mmap.mmap(disk.fileno(), 0)
            assert error.value.errno == errno.ENODEV


@needs("sfdisk")
def test_a_new_table_is_shown(home):
    with mounted(small_disk(), "--write") as mnt:
        write_at(mnt / "p2", 0, b"second")
        one, two = os.stat(mnt / "p1").st_ino, os.stat(mnt / "p2").st_ino
        with open(mnt / "p2", "r+b", buffering=0) as old:
            run(f"sfdisk -q --force {mnt}/disk", input=b"label: dos\n1: start=63, size=1037\n"
                b"2: start=1101, size=99\n3: start=1300, size=100\n")
            assert {name for name in os.listdir(mnt) if name[0] == "p"} == {"p1", "p2", "p3"}
            assert os.stat(mnt / "p1").st_ino == one, "the same window keeps its inode"
            assert os.stat(mnt / "p2").st_ino != two, "another window is another inode"
            assert os.stat(mnt / "p2").st_size == 99 * 512
            assert os.stat(mnt / "p3").st_size == 100 * 512
            assert len(os.listdir(mnt / "by-partuuid")) == 3
            # The old window is still what it was, and the same bytes as the new one.
            assert os.fstat(old.fileno()).st_size == P2[1] and old.read(6) == b"second"
            os.pwrite(old.fileno(), b"through the old", 512)
            assert read_at(mnt / "p2", 0, 15) == b"through the old"
            write_at(mnt / "p2", 0, b"through the new")
            assert os.pread(old.fileno(), 15, 512) == b"through the new"
        run(f"sfdisk -q --delete {mnt}/disk 1")
        assert not os.path.exists(mnt / "p1")


def test_times_and_blocks_follow(home):
    image = small_disk()
    run(f"touch -d '2001-02-03 04:05:06 UTC' {image}")
    with mounted(image, "--write") as mnt:
        assert os.stat(mnt / "p1").st_mtime == 981173106
        assert os.stat(mnt / "p1").st_blocks == 0
        write_at(mnt / "disk", 128 * 1024, noise(1, 8192))
        assert os.stat(mnt / "p1").st_blocks >= 16
        assert time.time() - os.stat(mnt / "p1").st_mtime < 60
        assert os.stat(mnt / "disk").st_mode & 0o777 == 0o600
