"""One disk of known bytes, compressed in every way there is, and what its mounts take of the memory."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .compressed import cso, dmg
from .files import MIB, noise
from .shell import quoted, run


@dataclass(frozen=True)
class Kind:
    """How a disk is compressed: a shell line from $IN to $OUT, or a function from path to path."""

    make: object
    tools: tuple = ()
    usual: bool = False  # Also without PLATTER_SOAK.
    decoder: int = 0     # What one decoder takes, where the cache's size makes no room for it; in MiB.


def as_dmg(chunk_sectors):
    return lambda disk, made: made.write_bytes(
        dmg(disk.read_bytes(), "zlib", chunk_sectors=chunk_sectors, level=1))


def as_cso(disk, made):
    made.write_bytes(cso(disk.read_bytes(), "cso1", level=1))


def as_zip(disk, made):
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(disk, "disk.img")


KINDS = {
    "gz": Kind("gzip -1 -c $IN > $OUT", ("gzip",), usual=True),
    "bz2": Kind("bzip2 -1 -c $IN > $OUT", ("bzip2",)),
    "blocks.xz": Kind("xz -0 -T2 --block-size=4MiB -c $IN > $OUT", ("xz",)),
    "one.xz": Kind("xz -0 -T1 -c $IN > $OUT", ("xz",)),
    "wide.xz": Kind("xz -T1 --lzma2=preset=0,dict=64MiB -c $IN > $OUT", ("xz",), decoder=65),
    "zst": Kind("zstd -q -3 -c $IN > $OUT", ("zstd",), usual=True),
    "wide.zst": Kind("zstd -q -3 --zstd=wlog=23 -c $IN > $OUT", ("zstd",)),
    "widest.zst": Kind("zstd -q -3 --long=27 -c $IN > $OUT", ("zstd",), decoder=128),
    "lz4": Kind("lz4 -q -f -BX $IN $OUT", ("lz4",)),
    "linked.lz4": Kind("lz4 -q -f -BD $IN $OUT", ("lz4",), usual=True),
    "legacy.lz4": Kind("lz4 -q -f -l $IN $OUT", ("lz4",)),
    "zlib.qcow2": Kind("qemu-img convert -c -O qcow2 $IN $OUT", ("qemu-img",)),
    "zstd.qcow2": Kind(
        "qemu-img convert -c -O qcow2 -o compression_type=zstd $IN $OUT", ("qemu-img",), usual=True),
    "large.qcow2": Kind(
        "qemu-img convert -c -O qcow2 -o compression_type=zstd,cluster_size=2M $IN $OUT", ("qemu-img",)),
    "vmdk": Kind("qemu-img convert -O vmdk -o subformat=streamOptimized $IN $OUT", ("qemu-img",)),
    "dmg": Kind(as_dmg(chunk_sectors=2048)),
    "large.dmg": Kind(as_dmg(chunk_sectors=32768)),
    "cso": Kind(as_cso),
    "zip": Kind(as_zip),
    "qcow2.gz": Kind(
        "qemu-img convert -c -O qcow2 -o compression_type=zstd $IN between && gzip -1 -c between > $OUT "
        "&& rm between", ("qemu-img", "gzip")),
    "gz.xz": Kind("gzip -1 -c $IN | xz -0 -T2 --block-size=4MiB > $OUT", ("gzip", "xz")),
}


def known_disk(path, mebibytes):
    """Programs, noise and zeros."""
    files = (file for folder in ("/usr/bin", "/usr/lib") for file in sorted(Path(folder).rglob("*"))
             if file.is_file() and not file.is_symlink() and file.stat().st_size > MIB // 4)
    with open(path, "wb") as disk:
        for number in range(mebibytes):
            if number % 8 == 3:
                piece = noise(number, MIB)
            elif number % 8 == 6:
                piece = bytes(MIB)
            else:
                piece = next(files, path).read_bytes()[:MIB].ljust(MIB, b"\xa5")
            disk.write(piece)
    return path


def packed(kind, disk):
    """The disk in a file of this kind, beside it."""
    made = Path(f"{disk}.{kind}")
    if not made.exists():
        make = KINDS[kind].make
        if callable(make):
            make(disk, made)
        else:
            run(f"IN={quoted(disk)} OUT={quoted(made)}; {make}", timeout=600)
    return made


def bound(kind, cache):
    """What a mount may take at most, in MiB, with a block cache of so many (docs/SECURITY.md)."""
    return max(cache + 40, KINDS[kind].decoder + 48 if KINDS[kind].decoder else 0)


def memory(pid, field):
    """`VmRSS`, or `VmHWM`, the most that it was; in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024


def readers(folder):
    """The program of readers.c, made in this folder."""
    program = folder / "readers"
    if not program.exists():
        source = Path(__file__).with_name("readers.c")
        run(f"cc -Wall -O1 -pthread -o {quoted(program)} {quoted(source)}")
    return program
