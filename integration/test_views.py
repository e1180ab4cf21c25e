"""What the files in a mount say of themselves: sizes, times, modes, holes."""

import errno
import mmap
import os
import stat
from pathlib import Path

import pytest

from support.files import MIB, data_ranges, sparse_file, write_at
from support.images import GPT, PARTITIONS_OF_THAT_DISK, GPTEntry, dynamic_vhd
from support.shell import attempt, mounted, run


def test_sizes_times_and_modes(image):
    run(f"cp --sparse=always {image} own; touch -d '2001-02-03 04:05:06.789 UTC' own")
    with mounted("own") as mnt:
        assert os.stat(mnt).st_mode == stat.S_IFDIR | 0o500
        for name, size in [("disk", 96 * MIB)] + [
                (f"p{number}", size) for number, (_, size) in PARTITIONS_OF_THAT_DISK.items()]:
            status = os.stat(mnt / name)
            assert status.st_size == size
            assert status.st_mode == stat.S_IFREG | 0o400
            assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
            assert status.st_mtime_ns == 981173106_789000000
            assert status.st_nlink == 1


@pytest.mark.parametrize("flag", ["O_RDWR", "O_WRONLY"])
def test_refuses_to_be_opened_for_writing(image, flag):
    with mounted(image) as mnt:
        for name in ("disk", "p1", "status.json"):
            with pytest.raises(OSError) as error:
                os.open(mnt / name, getattr(os, flag))
            assert error.value.errno in (errno.EROFS, errno.EACCES)


@pytest.mark.parametrize("command", [
    "rm {mnt}/p1", "mv {mnt}/p1 {mnt}/p9", "touch {mnt}/new", "mkdir {mnt}/new",
    "chmod 777 {mnt}/p1", "ln {mnt}/p1 {mnt}/p9", "truncate -s 0 {mnt}/p1", "rm {mnt}/by-label/*"])
def test_nothing_can_be_changed(disk, command):
    with mounted(disk) as mnt:
        listed = run(f"ls -lR {mnt} | grep -v status").out
        result = attempt(command.format(mnt=mnt))
        assert result.status != 0 and "Read-only file system" in result.err
        assert run(f"ls -lR {mnt} | grep -v status").out == listed


def test_directories_can_be_walked(image):
    with mounted(image) as mnt:
        listed = run(f"cd {mnt} && find . -printf '%y %p\n' | sort").out.splitlines()
        assert {"f ./disk", "d ./by-label", "l ./by-label/HELLOFAT"} <= set(listed)
        # What readdir says of an entry is what stat says of it.
        for entry in os.scandir(mnt):
            status = os.lstat(entry.path)
            assert entry.inode() == status.st_ino
            assert entry.is_dir() == stat.S_ISDIR(status.st_mode)
        # A listing that is continued, and one that is begun again.
        assert os.listdir(mnt) == os.listdir(mnt)
        assert attempt(f"ls {mnt}/p3").status != 0
        assert attempt(f"ls {mnt}/disk/x").status != 0


def test_a_long_directory():
    """More entries than one reply holds."""
    path = sparse_file("many.img", 64 * MIB)
    GPT({n: GPTEntry(2048 + n * 8, 2048 + n * 8 + 7, name=f"a name of some length, the {n}th")
         for n in range(1, 1001)}, count=1024).write(path)
    with mounted(path) as mnt:
        assert len(os.listdir(mnt)) == 1 + 1000 + 4 + 1 + 1
        assert len(set(os.listdir(mnt / "by-partlabel"))) == 1000
        assert (mnt / "by-partlabel/a\\x20name\\x20of\\x20some\\x20length\\x2c\\x20the\\x20999th"
                ).resolve() == mnt / "p999"


def test_statfs(image):
    with mounted(image) as mnt:
        status = os.statvfs(mnt)
        assert status.f_blocks * status.f_frsize == 96 * MIB
        assert status.f_bfree == status.f_bavail == 0
        assert status.f_namemax == 255
        assert status.f_flag & os.ST_RDONLY
        run(f"df {mnt} && df -i {mnt}")


def test_seek_tells_data_from_holes(disk):
    """A view of a raw file has that file's holes."""
    with mounted(disk) as mnt:
        assert data_ranges(mnt / "disk") == data_ranges(disk)
        for number, (start, size) in PARTITIONS_OF_THAT_DISK.items():
            assert data_ranges(mnt / f"p{number}") == [
                (a - start, b - start) for a, b in data_ranges(disk, start, start + size)]


def test_seek_answers_exactly():
    path = sparse_file("holes.img", 8 * MIB)
    write_at(path, 2 * MIB, b"x" * MIB)
    with mounted(path) as mnt, open(mnt / "disk", "rb") as file:
        def seek(offset, whence):
            return os.lseek(file.fileno(), offset, whence)

        assert seek(0, os.SEEK_DATA) == 2 * MIB
        assert seek(0, os.SEEK_HOLE) == 0
        assert seek(2 * MIB, os.SEEK_DATA) == 2 * MIB
        assert seek(2 * MIB + 1, os.SEEK_HOLE) == 3 * MIB
        assert seek(5 * MIB, os.SEEK_HOLE) == 5 * MIB
        assert seek(8 * MIB - 1, os.SEEK_HOLE) == 8 * MIB - 1
        for offset, whence in ((3 * MIB, os.SEEK_DATA), (8 * MIB, os.SEEK_DATA),
                               (8 * MIB, os.SEEK_HOLE), (1 << 40, os.SEEK_HOLE)):
            with pytest.raises(OSError) as error:
                seek(offset, whence)
            assert error.value.errno == errno.ENXIO
        assert seek(0, os.SEEK_END) == 8 * MIB


def test_blocks_of_a_dynamic_vhd():
    """One block of five is there: so says st_blocks, so says SEEK_DATA."""
    path = dynamic_vhd("five.vhd", 10 * MIB, blocks=[3])
    with mounted(path) as mnt:
        assert data_ranges(mnt / "disk") == [(6 * MIB, 8 * MIB)]
        assert os.stat(mnt / "disk").st_blocks == 2 * MIB // 512


def test_blocks_are_exact(image):
    with mounted(image) as mnt:
        for name in ("disk", "p1", "p2", "p7"):
            status = os.stat(mnt / name)
            counted = sum(b - a for a, b in data_ranges(mnt / name))
            assert status.st_blocks == -(-counted // 512)
            assert status.st_blocks < status.st_size // 512


def test_blocks_of_a_full_disk(home):
    Path("full.img").write_bytes(os.urandom(MIB))
    with mounted("full.img") as mnt:
        assert os.stat(mnt / "disk").st_blocks == MIB // 512


def test_a_disk_larger_than_its_host():
    """2,040 GiB, the most a VHD holds: nothing takes time or space with the size."""
    size = 2040 << 30
    run("qemu-img create -q -f vpc -o subformat=dynamic,force_size=on huge.vhd 2040G")
    with mounted("huge.vhd") as mnt:
        assert os.stat(mnt / "disk").st_size == size
        assert os.stat(mnt / "disk").st_blocks == 0
        assert data_ranges(mnt / "disk") == []
        with open(mnt / "disk", "rb") as file:
            assert os.pread(file.fileno(), MIB, size - MIB) == bytes(MIB)


def test_an_odd_size():
    """A file that is no whole number of sectors keeps its size, to the byte."""
    Path("odd.img").write_bytes(b"a" * 1_000_003)
    with mounted("odd.img") as mnt:
        assert os.stat(mnt / "disk").st_size == 1_000_003
        run(f"cmp {mnt}/disk odd.img")


def test_views_can_be_mapped(image, disk):
    with mounted(image) as mnt, open(mnt / "p2", "rb") as view, open(disk, "rb") as whole:
        with mmap.mmap(view.fileno(), 0, prot=mmap.PROT_READ) as ours, mmap.mmap(
                whole.fileno(), 0, prot=mmap.PROT_READ) as theirs:
            assert ours[:] == theirs[32 * MIB:64 * MIB]
