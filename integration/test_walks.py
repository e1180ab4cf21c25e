"""Walks through a tree of files: what `find`, `ls -lR` and `tar` ask of a mount, and how often."""

import ctypes
import errno
import json
import mmap
import os
import re
import threading
import time
from pathlib import Path

import pytest

from support import trees
from support.files import digest
from support.shell import mounted, needs, run

FOLDERS, FILES = 40, 400


@pytest.fixture(scope="module")
def disc(library):
    """Small folders, and one that is larger than those whose files a listing may leave out."""
    tree = library / "walk"
    for number in range(FOLDERS):
        (tree / f"folder-{number}").mkdir(parents=True)
    (tree / "large").mkdir()
    for number in range(FILES):
        folder = tree / ("large" if number < 100 else f"folder-{number % FOLDERS}")
        (folder / f"file-{number}").write_bytes(b"%d" % number * 100)
    iso = library / "walk.iso"
    run(f"xorriso -report_about WARNING -as mkisofs -r -o {iso} {tree}")
    return iso, tree


def answers(mnt):
    """How often the mount's daemon has written to the kernel."""
    pid = next(mount["daemonPid"] for mount in json.loads(run("platter list --json").out)["mounts"]
               if Path(mount["mountPoint"]) == mnt.resolve())
    return int(re.search(r"syscw: (\d+)", Path(f"/proc/{pid}/io").read_text())[1])


def asked(mnt, command):
    before = answers(mnt)
    run(command)
    return answers(mnt) - before


@needs("xorriso")
def test_requests_of_walks(disc):
    """Bounds with some room for what the kernel asks of the mount itself."""
    iso, tree = disc
    with mounted(iso, "--files") as mnt:
        # A folder: its entries, and its end.
        assert asked(mnt, f"find {mnt}") <= 2 * (FOLDERS + 2) + 16
    with mounted(iso, "--files") as mnt:
        # And the files of the first folders, until it is known that somebody looks.
        assert asked(mnt, f"ls -lR {mnt}") <= 2 * (FOLDERS + 2) + 64 + 16
    with mounted(iso, "--files") as mnt:
        # And each file once, asked for or given before; now and then both happen to one.
        assert asked(mnt, f"tar -c -C {mnt} . | cat > /dev/null") <= (
            2 * (FOLDERS + 2) + 1.5 * FILES + 64 + 16)


@needs("xorriso")
def test_names_alone_and_then_all(disc):
    """Whether a listing told of files or not, they are the same."""
    iso, tree = disc
    expected = trees.entries(tree)
    with mounted(iso, "--files") as mnt:
        names = set(run(f"cd {mnt} && find .").out.split("\n"))
        assert names == set(run(f"cd {tree} && find .").out.split("\n"))
        trees.assert_same(
            trees.entries(mnt, modes=False), trees.entries(tree, modes=False))
        assert len(expected) == len(trees.entries(mnt))


@needs("xorriso")
def test_reads_without_opening(disc):
    iso, tree = disc
    with mounted(iso, "--files") as mnt:
        wrong = []

        def read(first):
            for number in range(first, FILES, 4):
                folder = "large" if number < 100 else f"folder-{number % FOLDERS}"
                name = f"{folder}/file-{number}"
                if digest(mnt / name) != digest(tree / name):
                    wrong.append(name)

        threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        path = mnt / "large/file-99"
        with open(path, "rb") as file:
            assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == path.stat().st_size
            with pytest.raises(OSError) as failure:
                os.lseek(file.fileno(), 10_000, os.SEEK_DATA)
            assert failure.value.errno == errno.ENXIO
        for flags in (os.O_WRONLY, os.O_RDWR):
            with pytest.raises(OSError) as failure:
                os.open(path, flags)
            assert failure.value.errno == errno.EROFS
        with pytest.raises(IsADirectoryError):
            open(mnt / "large", "rb")


def is_in_page_cache(path):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long]
    with open(path, "rb") as file:
        place = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    pages = (ctypes.c_ubyte * 1)()
    assert libc.mincore(ctypes.c_void_p(place), mmap.PAGESIZE, pages) == 0
    libc.munmap(ctypes.c_void_p(place), mmap.PAGESIZE)
    return bool(pages[0] & 1)


@needs("xorriso")
def test_small_files_are_read_ahead(disc):
    iso, tree = disc
    with mounted(iso, "--files") as mnt:
        paths = [mnt / "large" / entry.name for entry in os.scandir(mnt / "large")]
        for path in paths:
            path.stat()
        assert not any(is_in_page_cache(path) for path in paths)
        for path in paths[:8]:
            path.read_bytes()
        until = time.monotonic() + 10
        while not is_in_page_cache(paths[8]) and time.monotonic() < until:
            time.sleep(0.01)
        assert is_in_page_cache(paths[8])
        # Not all of them: that is for who goes on.
        assert not is_in_page_cache(paths[-1])
        for path in paths:
            assert path.read_bytes() == (tree / "large" / path.name).read_bytes()
    with mounted(iso, "--files") as mnt:
        Path("copy").mkdir()
        run(f"tar -c -C {mnt} . | tar -x -C copy")
        trees.assert_same(trees.entries("copy", modes=False), trees.entries(tree, modes=False))


def refusal(path, name):
    with pytest.raises(OSError) as failure:
        os.getxattr(path, name)
    return failure.value.errno


@needs("xorriso", "mkfs.fat")
def test_attributes_that_cannot_be(disc, home):
    """"Not supported" is asked for once, "there is none" for each file."""
    iso, _ = disc
    with mounted(iso, "--files") as mnt:
        path = mnt / "large/file-1"
        for name in ("system.posix_acl_access", "security.capability", "trusted.any"):
            assert refusal(path, name) == errno.EOPNOTSUPP
        assert refusal(path, "user.any") == errno.ENODATA
        assert os.listxattr(path) == []
    run("mkfs.fat -C floppy.img 1440")
    with mounted("floppy.img", "--files") as mnt:
        assert refusal(mnt, "user.any") == errno.EOPNOTSUPP
        assert os.listxattr(mnt) == []
