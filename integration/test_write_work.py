"""A day's work on one overlay, with the tools that people use; QEMU reads the same in it all along."""

import os
from pathlib import Path

import pytest

from support.files import digest, noise
from support.session import SOAK
from support.shell import attempt, eventually, mounted, needs, run
from support.work import status, work_disk

MAKEFILE = """\
CFLAGS = -O1 -Wall
sum: main.o add.o mul.o
\tcc -o $@ $^
%.o: %.c sum.h
\tcc $(CFLAGS) -c $<
"""
PROJECT = {
    "Makefile": MAKEFILE,
    "sum.h": "int add(int, int);\nint mul(int, int);\n",
    "add.c": '#include "sum.h"\nint add(int a, int b) { return a + b; }\n',
    "mul.c": '#include "sum.h"\nint mul(int a, int b) { return a * b; }\n',
    "main.c": '#include <stdio.h>\n#include "sum.h"\n'
              'int main(void) { printf("%d\\n", add(2, mul(4, 10))); return 0; }\n',
}
VERIFIED = ("--bs=4k-64k --verify=crc32c --verify_fatal=1 --allow_file_create=0 --end_fsync=1 "
            "--name=v")


def build_in(partition):
    """A small C project, on the partition's file system."""
    os.mkdir("files")
    run(f"timeout -k 5 60 fuse2fs -o rw,fakeroot {partition} files")
    try:
        os.mkdir("files/src")
        for name, text in PROJECT.items():
            Path("files/src", name).write_text(text)
        run("make -C files/src && cp files/src/sum built")
        assert "up to date" in run("make -C files/src").out, "it knows what it has built"
        run("tar cf files/src.tar -C files src && rm files/src/*.o")
    finally:
        run("fusermount3 -u files")
    assert run("./built").out == "42\n"
    assert eventually(lambda: attempt(f"e2fsck -fn {partition}").status == 0, within=10)


def same_to_qemu(disk):
    run(f"sync {disk} && qemu-img compare -U -f qcow2 -F raw changes.qcow2 {disk}", timeout=120)


@needs("sfdisk", "mkfs.ext4", "e2fsck", "mkfs.fat", "mcopy", "fio", "fuse2fs", "cc", "qemu-img",
       "debugfs")
@pytest.mark.parametrize("kind", ["raw", "vpc"] + (["qcow2", "vdi", "vhdx"] if SOAK else []))
def test_a_day_of_work(home, kind):
    work_disk()
    image = "work.img"
    if kind != "raw":
        image = f"work.{kind}"
        options = "-o force_size=on" if kind == "vpc" else ""
        run(f"qemu-img convert -f raw -O {kind} {options} work.img {image}")
    before = digest(image)
    option = "--overlay changes.qcow2"
    with mounted(image, option) as mnt:
        run(f"sfdisk -q --append {mnt}/disk", input=b"start=166000, size=30000\n")
        assert eventually(lambda: os.path.exists(mnt / "p3"))
        same_to_qemu(mnt / "disk")
        run(f"mkfs.ext4 -q -F {mnt}/p2 && e2fsck -fn {mnt}/p2")
        same_to_qemu(mnt / "disk")
        run(f"mkfs.fat -F 16 {mnt}/p1 && mcopy -i {mnt}/p1 - ::/A.TXT", input=noise(1, 300_000))
        assert run(f"mcopy -i {mnt}/p1 ::/A.TXT -").bytes == noise(1, 300_000)
        build_in(mnt / "p2")
        same_to_qemu(mnt / "disk")
        for pattern in ("randwrite", "write"):
            run(f"fio --filename={mnt}/p3 --size=12M --ioengine=psync --rw={pattern} {VERIFIED}")
        same_to_qemu(mnt / "disk")
        run(f"mdel -i {mnt}/p1 ::/A.TXT && e2fsck -fy {mnt}/p2")
        assert status(mnt)["failedWrites"] == 0
        whole = digest(mnt / "disk")
    run("qemu-img check changes.qcow2")
    assert digest(image) == before
    # The third partition in the place of a file, where a program may map it.
    Path("one").touch()
    with mounted(image, option, "--partition 3", at="one") as one:
        run(f"fio --filename={one} --size=12M --ioengine=mmap --rw=randwrite {VERIFIED}")
        third = digest(one)
    with mounted(image, option) as mnt:
        assert digest(mnt / "p3") == third
        assert digest(mnt / "disk") != whole
        run(f"e2fsck -fn {mnt}/p2")
        run(f"debugfs -R 'dump /src.tar src.tar' {mnt}/p2 && tar tf src.tar src/main.o")
        same_to_qemu(mnt / "disk")
    run("qemu-img check changes.qcow2")
    assert digest(image) == before
