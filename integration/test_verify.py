"""`platter verify`: everything is read, every checksum is compared, all damage is listed."""

import errno
import json
import os
import struct
import subprocess
import time
import zlib

import pytest

from support.files import MIB, noise, read_at, write_at
from support.session import SOAK
from support.shell import attempt, eventually, mounted, needs, refused, run, start
from test_real_images import IMAGES

# A sample: a container with a check, tables with sums, blocks with and without one, a chain of parts.
CLEAN = ["compression-zlib.dmg", "ext2.qcow2", "ext2.vhd", "hello-world.img.gz", "fat.img.xz",
         "simple-pattern.cloop.bz2", "streamOptimized.vmdk", "swap.vhdx.gz", "joliet.iso",
         "twoGbMaxExtentSparse.vmdk"]


def verify(image, status=0):
    result = attempt(f"platter verify --json {image}")
    assert result.status == status, result
    report = json.loads(result.out)
    assert report["version"] == 1 and report["clean"] == (status == 0)
    return report


def flip(path, place):
    write_at(path, place, bytes([read_at(path, place, 1)[0] ^ 4]))


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.skipif(not IMAGES.exists(), reason="the shared images are not here")
def test_clean(name):
    report = verify(IMAGES / name)
    assert report["damage"] == [] and report["unlisted"] == 0
    assert all(check["wrong"] == check["unreadable"] == 0 for check in report["checks"])
    assert report["checks"] or report["withoutChecksums"]
    assert "no damage found" in run(f"platter verify {IMAGES / name}").out


@needs("xz")
def test_one_block_of_several(home):
    (home / "disk.img").write_bytes(noise(1, 4 * MIB))
    run("xz -0 -c --block-size=1MiB disk.img > disk.img.xz")
    verify("disk.img.xz")
    middle = os.stat("disk.img.xz").st_size // 2
    flip("disk.img.xz", middle + 5000)
    (damage,) = verify("disk.img.xz", 1)["damage"]
    assert damage["kind"] in ("unreadable", "checksum") and damage["container"] == "xz"
    assert 2 * MIB <= damage["start"] < damage["start"] + damage["length"] == 3 * MIB
    assert 0 < damage["fileOffset"] < 3 * os.stat("disk.img.xz").st_size // 4 + 100
    text = attempt("platter verify disk.img.xz")
    assert text.status == 1 and str(damage["start"]) in text.out and "disk.img.xz at" in text.out


@needs("gzip")
def test_a_checksum_without_a_place(home):
    """All that the sum is of, and what the mount gives of it is what is there."""
    (home / "disk.img").write_bytes(noise(2, 3 * MIB))
    run("gzip -1 -c disk.img > disk.img.gz")
    # A kept index is not trusted.
    run("platter hash disk.img.gz")
    flip("disk.img.gz", os.stat("disk.img.gz").st_size - 8)
    report = verify("disk.img.gz", 1)
    assert [(d["kind"], d["start"], d["length"]) for d in report["damage"]] == [
        ("checksum", 0, 3 * MIB)]
    assert {c["kind"]: c["wrong"] for c in report["checks"]} == {
        "member CRC-32": 1, "member length": 0}


def test_cannot_be_opened(home):
    (home / "bad.vhdx").write_bytes(b"vhdxfile" + bytes(4 * MIB))
    refused("platter verify bad.vhdx", "bad.vhdx", "at byte")


def cso(content, block=2048):
    """Of blocks that are deflated, and where each begins."""
    blocks, index = [], []
    count = len(content) // block
    place = 24 + 4 * (count + 1)
    for at in range(0, len(content), block):
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        blocks.append(packer.compress(content[at:at + block]) + packer.flush())
        index.append(place)
        place += len(blocks[-1])
    head = b"CISO" + struct.pack("<IQIBBH", 24, len(content), block, 1, 0, 0)
    return head + struct.pack(f"<{count + 1}I", *index, place) + b"".join(blocks), index


def qcow2(content, cluster=65536):
    """Of compressed clusters, and where each begins: header, L1 table, L2 table, refcounts as zeros."""
    count = len(content) // cluster
    head = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, len(content), 0, 1, cluster,
                       3 * cluster, 1, 0, 0, 0, 0, 0, 4, 104)
    places, table, data, place = [], b"", b"", 4 * cluster
    for at in range(0, len(content), cluster):
        packer = zlib.compressobj(6, zlib.DEFLATED, -12)
        packed = packer.compress(content[at:at + cluster]) + packer.flush()
        places.append(place)
        more = (place % 512 + len(packed) - 1) // 512
        table += struct.pack(">Q", 1 << 62 | more << 54 | place)
        data += packed
        place += len(packed)
    l1 = struct.pack(">Q", 1 << 63 | 2 * cluster).ljust(cluster, b"\0")
    return (head.ljust(cluster, b"\0") + l1 + table.ljust(cluster, b"\0") + bytes(cluster) + data,
            places)


# By suffix: what makes the image, and how large its blocks are; or the tool that does.
BLOCKS = {"cso": (cso, 2048), "qcow2": (qcow2, 65536)}
TOOLS = {"xz": "xz -0 -c --block-size=1MiB", "zst": "zstd -q -c", "bz2": "bzip2 -c",
         "lz4": "lz4 -q -c -B4 -BX", "gz": "gzip -1 -c"}


def spoiled(kind):
    """An image with one bad byte, and where the block that it is in is in the disk and the file, where
    that is known."""
    name = f"x.{kind}"
    content = noise(3, 4 * MIB)
    if kind in BLOCKS:
        make, size = BLOCKS[kind]
        data, places = make(content)
        with open(name, "wb") as file:
            file.write(data)
        # Deflate has no block of this type.
        write_at(name, places[20], b"\xff")
        return name, (20 * size, 21 * size - 1, places[20])
    with open("disk.img", "wb") as file:
        file.write(content)
    run(f"{TOOLS[kind]} disk.img > {name}")
    size = os.stat(name).st_size
    flip(name, size - 8 if kind == "gz" else size * 3 // 8)
    return name, None


@needs("gzip", "xz", "zstd", "bzip2", "lz4")
@pytest.mark.parametrize("kind", [*BLOCKS, *TOOLS])
def test_named_once_in_the_log(kind, home):
    """EIO for what a bad block touches, however often it is read; one line in the log, with the block's
    place in the disk and in the file."""
    name, place = spoiled(kind)
    assert verify(name, 1)["damage"]
    (home / "mnt").mkdir()
    daemon = start(f"exec platter mount --foreground {name} mnt", stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE)
    failed = 0
    try:
        assert eventually(lambda: os.path.exists("mnt/disk"), within=10)
        status = json.loads((home / "mnt/status.json").read_text())
        for _ in range(2):
            for at in range(0, os.stat("mnt/disk").st_size, 4096):
                try:
                    read_at("mnt/disk", at, 512)
                except OSError as error:
                    assert error.errno == errno.EIO
                    failed += 1
    finally:
        run("platter unmount mnt")
        log = daemon.communicate(timeout=20)[1].decode()
    if kind == "bz2":
        # Nothing but its end says how large it is: it is shown up to the damage.
        assert failed == 0 and any("before damage" in note for note in status["notes"])
        return
    lines = [line for line in log.splitlines() if "(at byte" in line]
    assert failed > 1 and len(lines) == 1, log
    assert name in lines[0] and "the disk cannot be read from byte" in lines[0]
    if place:
        first, last, stored = place
        assert f"(at byte {stored})" in lines[0]
        assert f"from byte {first} to {last}" in lines[0]


@needs("qemu-img")
def test_every_layer(home):
    """Damage that the top image covers is told, with the layer it is in."""
    data, places = qcow2(noise(4, 2 * MIB))
    (home / "base.qcow2").write_bytes(data)
    run("qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 top.qcow2")
    assert verify("top.qcow2")["compressedBlocks"] == 32
    run("qemu-io -c 'write 0 2M' top.qcow2")
    write_at("base.qcow2", places[7], b"\xff")
    (damage,) = verify("top.qcow2", 1)["damage"]
    assert damage["layer"] == 1 and damage["kind"] == "unreadable"
    assert (damage["start"], damage["length"]) == (7 * 65536, 65536)
    assert damage["path"].endswith("base.qcow2") and damage["fileOffset"] == places[7]


def test_damage_is_read_page_by_page(home):
    """A file that is closed because a page of it is bad gives up what the kernel reads ahead: also what only
    just came."""
    name, _ = spoiled("zst")
    end = time.monotonic() + (120 if SOAK else 4)
    # Of a dozen mounts one met it.
    while time.monotonic() < end:
        with mounted(name) as mnt:
            for at in range(0, os.stat(mnt / "disk").st_size, 4096):
                try:
                    read_at(mnt / "disk", at, 512)
                except OSError as error:
                    assert error.errno == errno.EIO
            assert json.loads((mnt / "status.json").read_text())["failedReads"] > 0
