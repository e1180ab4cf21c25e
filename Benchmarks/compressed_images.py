"""The test disk compressed, in every format: made by the tools that people use, or, where Debian has
none, by the writers of the integration tests."""

import ctypes
import os
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import images
from images import MIB, Image

SUPPORT = Path(__file__).resolve().parent.parent / "integration"

FRAME = 4 * MIB
CLOOP_BLOCK = 65536
CSO_BLOCK = 2048
images.MAKERS |= {"gzip": "gzip", "xz": "xz-utils", "zstd": "zstd", "pzstd": "zstd",
                  "bzip2": "bzip2", "lz4": "lz4", "7z": "7zip"}


@dataclass(frozen=True)
class Kind:
    """One way to compress a disk."""
    title: str
    suffix: str         # of the disk's name, in place of .img
    make: object        # (raw path, path to make)
    format: str = ""    # as QEMU names it; empty where QEMU does not read it
    reference: tuple[str, ...] = ()  # the command that unpacks it to standard output by one thread
    package: str = ""   # that has the command

    def image(self, raw):
        stem = raw.path.with_suffix("")
        path = images.kept(Path(f"{stem}{self.suffix}"), lambda path: self.make(raw.path, path))
        return Image(path, self.format, raw.size, raw.path)


def by_qemu(format, options):
    def make(raw, path):
        images.run("qemu-img", "convert", "-c", "-f", "raw", "-O", format, "-o", options, raw, path)
    return make


def by_tool(*words):
    """What the tool writes to standard output for the disk on its standard input."""
    def make(raw, path):
        with open(raw, "rb") as source, open(path, "wb") as target:
            images.run(*words, stdin=source, stdout=target)
    return make


def by_pzstd(raw, path):
    images.run("pzstd", "-q", "-p", "2", raw, "-o", path)


def zstandard_frames(with_table):
    """A frame for each 4 MiB; with the seek table of the seekable format (zstd's
    contrib/seekable_format/zstd_seekable_compression_format.md) or without."""
    def make(raw, path):
        entries = b""
        part = path.with_suffix(".part")
        with open(raw, "rb") as source, open(path, "wb") as target:
            while piece := source.read(FRAME):
                part.write_bytes(piece)
                begin = target.tell()
                with open(part, "rb") as stored:
                    images.run("zstd", "-q", "-c", "-3", "--no-check", stdin=stored, stdout=target)
                target.seek(0, os.SEEK_END)
                entries += struct.pack("<II", target.tell() - begin, len(piece))
            if with_table:
                table = entries + struct.pack("<IBI", len(entries) // 8, 0, 0x8F92EAB1)
                target.write(struct.pack("<II", 0x184D2A5E, len(table)) + table)
        part.unlink()
    return make


def by_writer(name, *arguments):
    """By a function of integration/support/compressed.py: content in, image out."""
    def make(raw, path):
        sys.path.insert(0, str(SUPPORT))
        try:
            from support import compressed
        finally:
            sys.path.remove(str(SUPPORT))
        path.write_bytes(getattr(compressed, name)(raw.read_bytes(), *arguments))
    return make


def cso(kind):
    """cso1 (deflate), cso2 (every other block LZ4 where that is shorter than plain), zso (LZ4): as
    docs/formats/cso.md has it. A block that does not get shorter is plain."""
    def make(raw, path):
        lz4 = lz4_compressor()
        size = raw.stat().st_size
        count = -(-size // CSO_BLOCK)
        place = 24 + 4 * (count + 1)
        index = []
        with open(raw, "rb") as source, open(path, "wb") as target:
            target.seek(place)
            for number in range(count):
                block = source.read(CSO_BLOCK)
                is_lz4 = kind == "zso" or kind == "cso2" and number % 2
                packed = lz4(block) if is_lz4 else deflated(block)
                is_plain = len(packed) + 1 >= len(block)
                packed = block if is_plain else packed
                is_marked = is_lz4 and not is_plain if kind == "cso2" else is_plain
                target.write(packed)
                index.append(place | is_marked << 31)
                place += len(packed)
            index.append(place)
            target.seek(0)
            target.write(struct.pack(
                "<4sIQIBBH", b"ZISO" if kind == "zso" else b"CISO", 24, size, CSO_BLOCK,
                2 if kind == "cso2" else 1, 0, 0))
            target.write(struct.pack(f"<{len(index)}I", *index))
    return make


def deflated(block):
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(block) + packer.flush()


def lz4_compressor():
    """One block to one block, for which the lz4 tool has no command."""
    library = ctypes.CDLL("liblz4.so.1")
    target = ctypes.create_string_buffer(2 * CSO_BLOCK)

    def compress(block):
        count = library.LZ4_compress_default(block, target, len(block), len(target))
        return target.raw[:count]
    return compress


def cloop(raw, path):
    """Version 2 as create_compressed_fs lays it out: docs/formats/cloop.md."""
    size = raw.stat().st_size
    count = -(-size // CLOOP_BLOCK)
    place = 128 + 8 + 8 * (count + 1)
    offsets = [place]
    with open(raw, "rb") as source, open(path, "wb") as target:
        target.seek(place)
        while block := source.read(CLOOP_BLOCK):
            packed = zlib.compress(block, 6)
            target.write(packed)
            offsets.append(offsets[-1] + len(packed))
        target.seek(0)
        preamble = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"
        target.write(preamble.ljust(128, b"\0") + struct.pack(">II", CLOOP_BLOCK, count)
                     + struct.pack(f">{len(offsets)}Q", *offsets))


def by_7z(raw, path):
    images.run("7z", "a", "-tzip", "-mm=Deflate", "-mx=5", "-bso0", "-bsp0", path, raw)


QCOW2_ZLIB = Kind("qcow2, zlib", "-zlib.qcow2", by_qemu("qcow2", "compression_type=zlib"), "qcow2")
QCOW2_ZSTD = Kind("qcow2, zstd", "-zstd.qcow2", by_qemu("qcow2", "compression_type=zstd"), "qcow2")
VMDK = Kind("VMDK, streamOptimized", "-stream.vmdk",
            by_qemu("vmdk", "subformat=streamOptimized"), "vmdk")
GZIP = Kind("gzip -6", ".img.gz", by_tool("gzip", "-6", "-c"), "",
            ("gzip", "-dc"), "gzip")
XZ_BLOCKS = Kind("xz, blocks of 4 MiB", "-4MiB.img.xz",
                 by_tool("xz", "-T0", "--block-size=4MiB", "-c"), "", ("xz", "-T1", "-dc"), "xz-utils")
XZ_THREADED = Kind("xz -T0, blocks of 24 MiB", "-24MiB.img.xz", by_tool("xz", "-T2", "-c"), "",
                   ("xz", "-T1", "-dc"), "xz-utils")
XZ_SINGLE = Kind("xz, one block", ".img.xz", by_tool("xz", "-T1", "-c"), "",
                 ("xz", "-T1", "-dc"), "xz-utils")
ZSTD_SINGLE = Kind("zstd, one frame", ".img.zst", by_tool("zstd", "-q", "-3", "-c"), "",
                   ("zstd", "-q", "-dc"), "zstd")
ZSTD_FRAMES = Kind("zstd, frames of 4 MiB", "-4MiB.img.zst", zstandard_frames(False), "",
                   ("zstd", "-q", "-dc"), "zstd")
ZSTD_SEEKABLE = Kind("zstd, seekable, 4 MiB", "-seekable.img.zst", zstandard_frames(True), "",
                     ("zstd", "-q", "-dc"), "zstd")
ZSTD_PARALLEL = Kind("zstd, by pzstd", "-pzstd.img.zst", by_pzstd, "",
                     ("zstd", "-q", "-dc"), "zstd")
BZIP2 = Kind("bzip2", ".img.bz2", by_tool("bzip2", "-9", "-c"), "", ("bzip2", "-dc"), "bzip2")
LZ4_LARGE = Kind("LZ4, blocks of 4 MiB", "-4MiB.img.lz4", by_tool("lz4", "-q", "-B7", "-c"), "",
                 ("lz4", "-q", "-dc"), "lz4")
LZ4_SMALL = Kind("LZ4, blocks of 64 KiB", "-64KiB.img.lz4", by_tool("lz4", "-q", "-B4", "-c"), "",
                 ("lz4", "-q", "-dc"), "lz4")
LZ4_LINKED = Kind("LZ4, linked blocks", "-linked.img.lz4",
                  by_tool("lz4", "-q", "-B4", "-BD", "-c"), "", ("lz4", "-q", "-dc"), "lz4")
CSO = Kind("CSO", ".cso", cso("cso1"))
CSO2 = Kind("CSO 2", ".cso2", cso("cso2"))
ZSO = Kind("ZSO", ".zso", cso("zso"))
DAX = Kind("DAX", ".dax", by_writer("dax"))
DMG = Kind("DMG, zlib", ".dmg", by_writer("dmg", "zlib"), "dmg")
CLOOP = Kind("cloop", ".cloop", cloop, "cloop")
ZIP = Kind("ZIP, deflated", ".zip", by_7z, "", ("7z", "x", "-so", "-mmt=1"), "7zip")

ALL = (QCOW2_ZLIB, QCOW2_ZSTD, VMDK, GZIP, ZSTD_SINGLE, ZSTD_FRAMES, ZSTD_SEEKABLE, ZSTD_PARALLEL,
       LZ4_LARGE, LZ4_SMALL, LZ4_LINKED, ZIP, XZ_BLOCKS, XZ_THREADED, XZ_SINGLE, BZIP2, CSO, CSO2,
       ZSO, DAX, DMG, CLOOP)
