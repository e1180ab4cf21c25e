"""CSO, ZSO, DAX, DMG and ZIP: what is read is what was compressed, and what independent tools read."""

import base64
import hashlib
import json
import os
import random
import re
import zipfile
from pathlib import Path

import pytest

from support.compressed import CODECS, LZ4_BLOCK, cso, dax, dmg
from support.files import MIB, digest, noise, read_at, sparse_file, write_at
from support.session import SOAK
from support.shell import mounted, needs, refused, run

ROUNDS = 40 if SOAK else 3


def mixed(seed, size):
    """Noise, text and zeros, in runs that do not care for blocks."""
    numbers = random.Random(seed)
    content = bytearray()
    while len(content) < size:
        length = numbers.randint(1, 200_000)
        content += numbers.choice((
            numbers.randbytes(length), bytes(length), b"Where is it? " * (length // 13 + 1)))
    return bytes(content[:size])


def check(content, image="x.img"):
    expected = hashlib.sha256(content).hexdigest()
    assert run(f"platter hash {image}").out.split()[0] == expected
    with mounted(image) as mnt:
        assert os.stat(mnt / "disk").st_size == len(content)
        assert digest(mnt / "disk") == expected
        numbers = random.Random(len(content))
        for _ in range(50):
            at = numbers.randrange(len(content))
            count = numbers.randint(1, 100_000)
            assert read_at(mnt / "disk", at, count) == content[at:at + count]


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("kind", ["cso1", "cso2", "zso", "dax"])
@needs("lz4")
def test_generated_discs(kind, seed):
    numbers = random.Random(f"{kind}{seed}")
    content = mixed(seed, numbers.randint(1, 3 * MIB))
    if kind == "dax":
        frames = -(-len(content) // 8192)
        areas = [(numbers.randrange(frames), numbers.randint(1, 9))
                 for _ in range(numbers.randint(0, 5))]
        image = dax(content, numbers.randint(0, 9), areas)
    else:
        size = 2 ** numbers.randint(9, 18) if kind == "cso1" else LZ4_BLOCK
        image = cso(content, kind, size, numbers.randint(0, 9), numbers.choice((0, 0, 1, 4, 7)))
    Path("x.img").write_bytes(image)
    check(content)


@needs("7zz", "dmg2img", "qemu-img")
@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("codec", ["raw", *CODECS])
def test_generated_dmg(codec, seed, home):
    numbers = random.Random(f"{codec}{seed}")
    # The ADC encoder above is not fast.
    content = mixed(seed, 512 * numbers.randint(1, 600 if codec == "adc" else 6000))
    Path("x.img").write_bytes(
        dmg(content, codec, numbers.randint(1, 1500), numbers.randint(0, 9), numbers.randint(1, 5)))
    check(content)
    ask_oracles(content, codec)


ORACLES = {"7zz": ["raw", *CODECS], "dmg2img": ["raw", "adc", "zlib", "bzip2"],
           "qemu-img": ["raw", "zlib"]}


def ask_oracles(content, codec):
    os.rename("x.img", "x.dmg")
    for tool in [tool for tool, codecs in ORACLES.items() if codec in codecs]:
        if tool == "7zz":
            out = run("7zz x -so -tdmg x.dmg").bytes
        elif tool == "dmg2img":
            run("dmg2img -s -i x.dmg -o x.out")
            # It leaves out what is nothing but zeros at the end.
            out = Path("x.out").read_bytes().ljust(len(content), b"\0")
        else:
            run("qemu-img convert -f dmg -O raw x.dmg x.out")
            out = Path("x.out").read_bytes()
        assert hashlib.sha256(out).digest() == hashlib.sha256(content).digest(), tool


def oracles(codec):

    reads = {"7zz": ["raw", *CODECS], "dmg2img": ["raw", "adc", "zlib", "bzip2"],
             "qemu-img": ["raw", "zlib"]}
    return [tool for tool, codecs in reads.items()
            if codec in codecs and shutil.which(tool, path=SYSTEM_PATH)]


# Partitions inside, and writes on top


P1, P2 = (MIB, 4 * MIB), (6 * MIB, 2 * MIB)


@pytest.fixture
def small():
    """A FAT file system and noise."""
    disk = sparse_file("disk.ima", 10 * MIB)
    run(f"sfdisk -q {disk}", input=b"label: dos\n1: start=2048, size=8192, type=6\n"
        b"2: start=12288, size=4096\n")
    run(f"mkfs.fat -F 12 -n HELLO --offset 2048 {disk} 4096")
    write_at(disk, P2[0], noise("p2", P2[1]))
    return disk


def packed(kind, disk):
    content = disk.read_bytes()
    if kind in ("img.zip", "imz"):
        with zipfile.ZipFile("x." + kind, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.write(disk, "disk.ima")
    else:
        Path("x." + kind).write_bytes({
            "cso": lambda: cso(content, "cso1", 16384, 1), "dax": lambda: dax(content, 1),
            "zso": lambda: cso(content, "zso", LZ4_BLOCK),
            "dmg": lambda: dmg(content, "zlib", 2048, 1)}[kind]())
    return Path("x." + kind)


@needs("lz4", "mkfs.fat", "sfdisk")
@pytest.mark.parametrize("kind", ["cso", "zso", "dax", "dmg", "img.zip", "imz"])
def test_partitions_and_writes_on_top(kind, small):
    image = packed(kind, small)
    before, whole = digest(image), digest(small)
    with mounted(image) as mnt:
        assert digest(mnt / "disk") == whole
        assert digest(mnt / "p1") == digest(small, offset=P1[0], length=P1[1])
        assert digest(mnt / "p2") == digest(small, offset=P2[0], length=P2[1])
        assert (mnt / "by-label/HELLO").resolve() == mnt / "p1"
    content = bytearray(small.read_bytes())
    content[P2[0] + 1000:P2[0] + 10000] = noise(1, 9000)
    expected = hashlib.sha256(content).hexdigest()
    for option in ("--scratch", "--overlay changes.qcow2"):
        with mounted(image, option) as mnt:
            write_at(mnt / "p2", 1000, noise(1, 9000))
            assert digest(mnt / "disk") == expected
    with mounted(image, "--overlay changes.qcow2") as mnt:
        assert digest(mnt / "disk") == expected
    assert run("platter hash changes.qcow2").out.split()[0] == expected
    assert digest(image) == before
    # Into such an image nothing can be written.
    refused(f"platter mount --write {image} mnt", str(image))


# ZIP


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip(method, home):
    for seed in range(ROUNDS):
        numbers = random.Random(seed)
        content = mixed(seed, numbers.randint(1, 6 * MIB))
        with zipfile.ZipFile("x.img", "w", method, compresslevel=numbers.randint(0, 9)) as archive:
            archive.writestr("folder/", "")
            # In pieces and without a size before: with a data descriptor, or as ZIP64.
            with archive.open("folder/a.iso", "w", force_zip64=seed % 2 == 1) as member:
                for at in range(0, len(content), 100_000):
                    member.write(content[at:at + 100_000])
            archive.comment = b"PK" * seed
        check(content)


def test_zip_of_several(home):
    with zipfile.ZipFile("several.zip", "w") as archive:
        for name in ("one.img", "two.img", "three.txt"):
            archive.writestr(name, name)
    for verb in ("info", "hash", "mount"):
        refused(f"platter {verb} several.zip", "several.zip", "one.img", "two.img", "3 files")


def test_an_image_in_another_format_in_a_zip(home, vhd, disk):
    with zipfile.ZipFile("x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(vhd, "disk.vhd")
    told = json.loads(run("platter info --json x.zip").out)
    assert told["format"] == "vhd"
    assert run("platter hash x.zip").out.split()[0] == run(f"platter hash {vhd}").out.split()[0]


# DMG: what is not read, and large tables


def test_lzfse_is_said_and_the_rest_is_there(home):
    content = noise(1, 3 * 65536)
    image = bytearray(dmg(content, "raw", 128))
    # The second of three raw chunks becomes one of LZFSE.
    text = re.search(rb"<data>\n(.*?)</data>", image, re.S)
    blob = bytearray(base64.decodebytes(text[1]))
    blob[204 + 40:204 + 44] = (0x80000007).to_bytes(4, "big")
    image[text.start(1):text.end(1)] = base64.encodebytes(blob)
    Path("x.dmg").write_bytes(image)
    told = json.loads(run("platter info --json x.dmg").out)
    assert any("LZFSE" in note for note in told["notes"])
    refused("platter hash x.dmg", "x.dmg", "LZFSE", "at byte 65536")
    with mounted("x.dmg") as mnt:
        assert read_at(mnt / "disk", 0, 65536) == content[:65536]
        assert read_at(mnt / "disk", 2 * 65536, 65536) == content[2 * 65536:]
        with pytest.raises(OSError):
            read_at(mnt / "disk", 100_000, 1)
