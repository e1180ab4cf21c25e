"""Images made of separately compressed blocks, from their specifications, by Python's own codecs and
the lz4 tool."""

import base64
import bz2
import lzma
import struct
import zlib
from pathlib import Path

from .shell import run


def deflated(content, level):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def blocks_of(content, size):
    return [content[at:at + size] for at in range(0, len(content), size)]


LZ4_BLOCK = 65536


def lz4_blocks(content):
    """The blocks of an LZ4 frame of 64 KiB blocks (lz4's doc/lz4_Frame_format.md); None for those that
    it does not compress."""
    Path("plain.lz4in").write_bytes(content)
    run("lz4 -q -f -B4 --no-frame-crc plain.lz4in packed.lz4out")
    frame = Path("packed.lz4out").read_bytes()
    assert frame[:4] == b"\x04\x22\x4d\x18" and frame[4] & 0x2c == 0x20, "blocks that stand alone"
    place, found = 7, []
    while (word := struct.unpack_from("<I", frame, place)[0]) != 0:
        size = word & 0x7fffffff
        found.append(None if word >> 31 else frame[place + 4:place + 4 + size])
        place += 4 + size
    return found


def cso(content, kind, block_size=2048, level=6, shift=0):
    """`kind`: cso1, cso2 or zso. As maxcso lays them out: a block that does not get shorter is plain."""
    header = struct.pack(
        "<4sIQIBBH", b"ZISO" if kind == "zso" else b"CISO", 24, len(content), block_size,
        2 if kind == "cso2" else 1, shift, 0)
    blocks = blocks_of(content, block_size)
    quick = lz4_blocks(content) if kind != "cso1" else [None] * len(blocks)
    unit = 1 << shift
    index, pieces, place = [], [], 24 + 4 * (len(blocks) + 1)
    for number, (block, lz4) in enumerate(zip(blocks, quick, strict=True)):
        padding = -place % unit
        choices = {"cso1": [deflated(block, level)], "zso": [lz4 or block],
                   "cso2": [deflated(block, level)] + ([lz4] if lz4 and number % 2 else [])}[kind]
        best = choices[-1]
        is_plain = len(best) + unit >= len(block)
        if is_plain:
            best = block.ljust(block_size, b"\0") if kind == "cso2" else block
        is_marked = best is lz4 if kind == "cso2" else is_plain
        index.append((place + padding) >> shift | is_marked << 31)
        pieces += [bytes(padding), best]
        place += padding + len(best)
    padding = -place % unit
    index.append((place + padding) >> shift)
    return header + struct.pack(f"<{len(index)}I", *index) + b"".join(pieces) + bytes(padding)


def dax(content, level=6, areas=()):
    frames = blocks_of(content, 8192)
    place = 32 + 6 * len(frames) + 8 * len(areas)
    offsets, lengths, pieces = [], [], []
    for number, frame in enumerate(frames):
        is_plain = any(first <= number < first + count for first, count in areas)
        piece = frame if is_plain else zlib.compress(frame, level)
        offsets.append(place)
        lengths.append(8192 if is_plain else len(piece))
        pieces.append(piece)
        place += len(piece)
    return (struct.pack("<4sIII16x", b"DAX\0", len(content), 1 if areas else 0, len(areas))
            + struct.pack(f"<{len(frames)}I{len(frames)}H", *offsets, *lengths)
            + b"".join(struct.pack("<II", *area) for area in areas) + b"".join(pieces))


# DMG (libmodi's "Mac OS disk image types")


def adc(content):
    """Apple Data Compression by a simple search for what was there before."""
    packed, literals, seen, place = bytearray(), bytearray(), {}, 0

    def flush():
        for at in range(0, len(literals), 128):
            piece = literals[at:at + 128]
            packed.append(0x80 | len(piece) - 1)
            packed.extend(piece)
        literals.clear()

    while place < len(content):
        key = content[place:place + 4]
        before = seen.get(key)
        seen[key] = place
        if before is None or place - before > 65536 or len(key) < 4:
            literals.append(content[place])
            place += 1
            continue
        length = 4
        while length < 67 and place + length < len(content) \
                and content[before + length] == content[place + length]:
            length += 1
        flush()
        distance = place - before - 1
        if length <= 18 and distance < 1024:
            packed += bytes([length - 3 << 2 | distance >> 8, distance & 255])
        else:
            packed += bytes([0x40 | length - 4, distance >> 8, distance & 255])
        place += length
    flush()
    return bytes(packed)


ZERO, RAW, IGNORE = 0, 1, 2
CODECS = {
    "adc": (0x80000004, lambda content, level: adc(content)),
    "zlib": (0x80000005, zlib.compress),
    "bzip2": (0x80000006, lambda content, level: bz2.compress(content, max(1, level))),
    "lzma": (0x80000008, lambda content, level: lzma.compress(content, preset=min(level, 6))),
}


def dmg(content, codec, chunk_sectors=512, level=6, tables=1):
    """Chunks of zeros are not stored, and chunks that do not get shorter are raw."""
    sectors = len(content) // 512
    kind, pack = CODECS.get(codec, (RAW, None))
    per_table = -(-sectors // tables)
    data, blobs, sums = bytearray(), [], b""
    for table, first in enumerate(range(0, sectors, per_table)):
        part = content[first * 512:(first + per_table) * 512]
        entries, summed = bytearray(), 0
        for number, chunk in enumerate(blocks_of(part, chunk_sectors * 512)):
            stored, is_zero = b"", not any(chunk)
            if is_zero:
                this = IGNORE if number % 2 else ZERO
            else:
                stored = pack(chunk, level) if pack else chunk
                this = kind
                if len(stored) >= len(chunk):
                    stored, this = chunk, RAW
            if this != IGNORE:
                summed = zlib.crc32(chunk, summed)
            entries += struct.pack(">IIQQQQ", this, 0, number * chunk_sectors, len(chunk) // 512,
                                   len(data), len(stored))
            data += stored
        entries += struct.pack(">IIQQQQ", 0xffffffff, 0, len(part) // 512, 0, len(data), 0)
        checksum = struct.pack(">II128s", 2, 32, struct.pack(">I", summed))
        sums += struct.pack(">I", summed)
        blobs.append(struct.pack(">4sIQQQII24x", b"mish", 1, first, len(part) // 512, 0,
                                 chunk_sectors + 8, table)
                     + checksum + struct.pack(">I", len(entries) // 40) + entries)
    return trailed(bytes(data), property_list(blobs), sectors, sums)


def property_list(blobs):
    entries = "".join(
        f"<dict><key>Attributes</key><string>0x0050</string><key>CFName</key>"
        f"<string>part {number}</string><key>Data</key><data>\n"
        f"{base64.encodebytes(blob).decode()}</data><key>ID</key><string>{number}</string>"
        f"<key>Name</key><string>part {number}</string></dict>\n"
        for number, blob in enumerate(blobs))
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST '
            '1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">\n'
            f"<dict><key>resource-fork</key><dict><key>blkx</key><array>\n{entries}</array></dict>"
            "</dict></plist>\n").encode()


def trailed(data, plist, sectors, sums=b"", plist_size=None):
    def checksum(content):
        return struct.pack(">II128s", 2, 32, struct.pack(">I", zlib.crc32(content)))

    koly = struct.pack(
        ">4sIIIQQQQQII16s", b"koly", 4, 512, 1, 0, 0, len(data), 0, 0, 1, 1, bytes(16))
    koly += checksum(data)
    koly += struct.pack(">QQ120x", len(data), len(plist) if plist_size is None else plist_size)
    koly += checksum(sums) + struct.pack(">IQ12x", 1, sectors)
    assert len(koly) == 512
    return data + plist + koly
