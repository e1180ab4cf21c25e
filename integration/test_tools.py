"""Tools that know nothing of Platter work on the files in a mount."""

import json
import os
from pathlib import Path

import pytest

from support.files import MIB, data_ranges, digest, noise
from support.images import BASIC_DATA, LINUX, PARTITIONS_OF_THAT_DISK, fixed_uuid
from support.session import ROOT
from support.shell import mounted, needs, run


@needs("mcopy")
def test_mtools(image):
    with mounted(image) as mnt:
        assert run(f"mdir -b -i {mnt}/p1").out == "::/HELLO.TXT\n"
        assert run(f"mcopy -i {mnt}/p1 ::/HELLO.TXT -").out == "Hello from the FAT partition\n"
        # Through the whole disk, as one would without Platter's partitions.
        assert run(f"mcopy -i {mnt}/disk@@1M ::/HELLO.TXT -").out.startswith("Hello")


@needs("fsck.fat", "e2fsck")
def test_file_system_checks(image):
    with mounted(image) as mnt:
        run(f"fsck.fat -n {mnt}/p1")
        run(f"e2fsck -fn {mnt}/p2")


@needs("fuse2fs")
def test_fuse2fs(image):
    if not ROOT:
        pytest.skip("fuse2fs as an ordinary user needs fusermount of FUSE 2")
    with mounted(image) as mnt:
        os.mkdir("files")
        run(f"fuse2fs -o ro {mnt}/p2 files")
        try:
            assert Path("files/hello.txt").read_text() == "Hello from the ext4 partition\n"
            assert Path("files/noise.bin").read_bytes() == noise("ext4", 3 * MIB)
        finally:
            run("fusermount3 -u files || umount files")


def test_debugfs(image):
    with mounted(image) as mnt:
        assert "Hello from" in run(f"debugfs -R 'cat hello.txt' {mnt}/by-label/helloext").out


@needs("blkid")
def test_blkid(image):
    with mounted(image) as mnt:
        said = run(f"blkid -p -o export {mnt}/p1").out.splitlines()
        assert {"TYPE=vfat", "LABEL=HELLOFAT", "UUID=1234-ABCD"} <= set(said)
        said = run(f"blkid -p -o export {mnt}/p2").out.splitlines()
        assert {"TYPE=ext4", "LABEL=helloext", f"UUID={fixed_uuid(200)}"} <= set(said)
        assert "PTTYPE=gpt" in run(f"blkid -p -o export {mnt}/disk").out.splitlines()


@needs("sfdisk")
def test_sfdisk(image):
    with mounted(image) as mnt:
        table = json.loads(run(f"sfdisk --json {mnt}/disk").out)["partitiontable"]
        found = {int(entry["node"].removeprefix(f"{mnt}/disk")):
                 (entry["start"] * 512, entry["size"] * 512) for entry in table["partitions"]}
        assert found == PARTITIONS_OF_THAT_DISK
        assert [entry["type"].lower() for entry in table["partitions"]] == [
            BASIC_DATA, LINUX, LINUX]
        run(f"sfdisk --verify {mnt}/disk")


@needs("qemu-img")
@pytest.mark.parametrize("format", ["raw", "qcow2", "vpc"])
def test_qemu_img(image, disk, format):
    with mounted(image) as mnt:
        run(f"qemu-img convert -f raw -O {format} {mnt}/disk copy")
        run(f"qemu-img compare -f raw -F {format} {disk} copy")
        assert os.stat("copy").st_blocks * 512 < 40 * MIB


@needs("qemu-img")
def test_qemu_img_sees_the_holes(image):
    with mounted(image) as mnt:
        ranges = json.loads(run(f"qemu-img map -f raw --output json {mnt}/disk").out)
        data = [(r["start"], r["start"] + r["length"]) for r in ranges if r["data"]]
        assert data == data_ranges(mnt / "disk")


def occupied(path):
    return os.stat(path).st_blocks * 512


@pytest.mark.parametrize("command", [
    "cp --sparse=auto {mnt}/disk copy",
    "cp {mnt}/disk copy",
    "tar -S -cf copy.tar -C {mnt} disk && test $(stat -c %s copy.tar) -lt 40000000 "
    "&& tar -xf copy.tar && mv disk copy",
])
def test_copies_are_as_sparse_as_the_image(disk, command):
    with mounted(disk) as mnt:
        run(command.format(mnt=mnt))
        run(f"cmp copy {disk}")
        # du counts blocks; a file's own tree of extents may add a few.
        assert occupied("copy") <= occupied(disk) + 64 * 1024


@pytest.mark.parametrize("number", PARTITIONS_OF_THAT_DISK)
def test_copies_of_partitions_are_sparse(image, number):
    with mounted(image) as mnt:
        run(f"cp --sparse=auto {mnt}/p{number} copy && cmp copy {mnt}/p{number}")
        stored = sum(end - start for start, end in data_ranges(mnt / f"p{number}"))
        assert occupied("copy") <= stored + 64 * 1024


def test_copy_of_a_vhd_is_as_sparse_as_the_vhd(vhd):
    with mounted(vhd) as mnt:
        run(f"cp {mnt}/disk copy")
        assert occupied("copy") <= occupied(vhd)


def test_du_and_ls(image):
    with mounted(image) as mnt:
        stored = sum(end - start for start, end in data_ranges(mnt / "disk"))
        assert int(run(f"du -B1 {mnt}/disk").out.split()[0]) == stored
        assert int(run(f"du -b {mnt}/disk").out.split()[0]) == 96 * MIB


def test_dd_and_checksums(image, disk):
    with mounted(image) as mnt:
        run(f"dd if={mnt}/disk bs=1M status=none | cmp - {disk}")
        run(f"dd if={mnt}/disk bs=512 skip=2048 count=1 status=none | "
            f"cmp -n 512 - <(tail -c +1048577 {disk})")
        run(f"platter hash {image} | sed 's,  .*,  {mnt}/disk,' | sha256sum --check")
        assert run(f"md5sum < {mnt}/p2").out.split()[0] == digest(mnt / "p2", "md5")


def test_find_and_cp(image):
    """Whatever walks a tree: every entry can be looked at."""
    with mounted(image) as mnt:
        run(f"find {mnt} -ls && find {mnt} -type l -exec readlink -e {{}} + && ls -laR {mnt}")
        run(f"cp -a {mnt} copy && diff -r --exclude status.json {mnt} copy")
        run("chmod u+w copy copy/by-*")  # So that whoever runs this can remove it.
