"""Ends that are kept, sizes that stay, names that stay."""

import errno
import os
from pathlib import Path

import pytest

from support.files import MIB, noise, read_at, sparse_file, write_at
from support.shell import attempt, eventually, mounted, run, session
from support.views import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate
from support.work import P1, small_disk, status, work_disk


def test_past_the_end(home):
    with mounted(small_disk(), "--write") as mnt:
        write_at(mnt / "p2", 0, b"neighbour")
        for name, size in (("p1", P1[1]), ("disk", MIB)):
            with open(mnt / name, "r+b", buffering=0) as file:
                assert os.pwrite(file.fileno(), b"x" * 100, size - 10) == 10
                for offset in (size, size + 4096, 1 << 40):
                    with pytest.raises(OSError) as error:
                        os.pwrite(file.fileno(), b"x", offset)
                    assert error.value.errno == errno.ENOSPC
                assert os.fstat(file.fileno()).st_size == size
            full = attempt(f"dd if=/dev/zero of={mnt}/{name} bs=10000 conv=notrunc", timeout=30)
            assert full.status == 1 and "No space left" in full.err
            assert f"{size} bytes" in full.err
            if name == "p1":
                assert read_at(mnt / "p2", 0, 100) == b"neighbour".ljust(100, b"\0")


def test_past_the_end_of_the_one_view(home):
    """The kernel collects what is written here and finds out later."""
    Path("one").touch()
    with mounted(small_disk(), "--write", at="one") as one:
        with open(one, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"x" * 100, MIB - 10)
            with pytest.raises(OSError) as error:
                os.fsync(file.fileno())
            assert error.value.errno == errno.ENOSPC
            assert os.pread(file.fileno(), 10, MIB - 10) == b"x" * 10
        assert eventually(lambda: os.stat(one).st_size == MIB)
        assert "No space left" in attempt(f"dd if=/dev/zero of={one} bs=1M", timeout=60).err
        assert eventually(lambda: os.stat(one).st_size == MIB)
        assert Path(one).read_bytes() == bytes(MIB)


def test_the_file_below_the_mount_is_left_alone(home):
    """The daemon sets the size of the mounted file; when the mount goes meanwhile, another file is in
    its place: the user's own, or the image itself."""
    image = small_disk()
    Path("one").write_bytes(b"precious")
    for _ in range(10):
        run(f"platter mount --write {image} one")
        with open("one", "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"x", 4 * MIB)
            run("platter unmount --lazy one")
        assert eventually(lambda: not session.processes())
        assert Path("one").read_bytes() == b"precious"
    for _ in range(10):
        run(f"platter mount --write {image} {image}")
        with open(image, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"new", MIB - 3)
            os.pwrite(file.fileno(), b"x", 4 * MIB)
            run(f"platter unmount --lazy {image}")
        assert eventually(lambda: not session.processes())
        assert os.path.getsize(image) == MIB and read_at(image, MIB - 3, 3) == b"new"


@pytest.mark.parametrize("one", [False, True])
def test_sizes_stay(home, one):
    Path("one").touch()
    image = work_disk()
    with mounted(image, "--scratch", at="one" if one else "mnt") as mnt:
        file = mnt if one else mnt / "disk"
        size = 96 * MIB
        for wanted in (1, size - 1, size + 1, 2 * size):
            assert "not permitted" in attempt(f"truncate -s {wanted} {file}").err
        run(f"truncate -s {size} {file}")
        assert os.stat(file).st_size == size
        # O_TRUNC empties nothing, as on a block device.
        write_at(file, 10 * MIB, b"stays")
        run(f"echo hello > {file}")
        assert os.stat(file).st_size == size
        assert read_at(file, 0, 6) == b"hello\n" and read_at(file, 10 * MIB, 5) == b"stays"
        run(f"dd if=/dev/urandom of={file} bs=1M count=2 status=none && sync {file}")
        assert read_at(file, 10 * MIB, 5) == b"stays"
        with open(file, "r+b") as handle:
            for mode, offset, length, number in (
                    (0, size - 1, 2, errno.ENOSPC), (0, size, 1, errno.ENOSPC),
                    (ZERO_RANGE, size - 1, 2, errno.ENOSPC), (8, 0, 4096, errno.EOPNOTSUPP)):
                with pytest.raises(OSError) as error:
                    fallocate(handle.fileno(), mode, offset, length)
                assert error.value.errno == number
            fallocate(handle.fileno(), 0, 0, size)
            fallocate(handle.fileno(), PUNCH_HOLE | KEEP_SIZE, 10 * MIB, 10)
            assert os.fstat(handle.fileno()).st_size == size
        assert read_at(file, 10 * MIB, 5) == bytes(5)


@pytest.mark.parametrize("one", [False, True])
def test_copies_are_exact(home, one):
    """cp skips the holes of what it copies, and trusts that it has emptied its target."""
    Path("one").touch()
    image = work_disk()
    sparse = sparse_file("sparse", 96 * MIB)
    for place in (5 * MIB, 40 * MIB, 41 * MIB + 4096):
        write_at(sparse, place, noise(place, 70_000))
    with mounted(image, "--scratch", at="one" if one else "mnt") as mnt:
        file = mnt if one else mnt / "disk"
        run(
            f"dd if=/dev/urandom of={file} bs=1M count=96 status=none")
        run(f"cp -p {sparse} {file} && cmp {sparse} {file}")
        run(f"cp --sparse=always /bin/bash {file} && cmp -n $(stat -Lc %s /bin/bash) /bin/bash {file}")
        run(f"chmod 600 {file} && touch {file} && chown $(id -u) {file}")


@pytest.mark.parametrize("command", [
    "rm {mnt}/p1", "mv {mnt}/p1 {mnt}/p9", "touch {mnt}/new", "mkdir {mnt}/new",
    "ln {mnt}/p1 {mnt}/p9", "ln -s p1 {mnt}/p9", "rm {mnt}/by-partuuid/*",
    "echo > {mnt}/status.json"])
def test_names_stay(home, command):
    with mounted(small_disk(), "--write") as mnt:
        listed = run(f"ls -lR {mnt} | grep -v status").out
        assert attempt(command.format(mnt=mnt)).status != 0
        assert run(f"ls -lR {mnt} | grep -v status").out == listed
