"""Files that mean harm: whatever they say, an answer within 1 s and 64 MiB, in one line.

The project's own tests go through every row of HOSTILE.md; here the real program does, from the
command line to the mount, for those that would cost the most time or memory."""

import re
import struct
import time
from pathlib import Path

import pytest

from support.compressed import ZERO, cso, dmg, property_list, trailed
from support.files import MIB, noise, read_at, sparse_file, write_at
from support.images import (
    GPT, GPTEntry, boot_record, dynamic_vhd, mbr_entry, vhd_footer, write_boot_record)
from support.shell import attempt, needs, run, session
from support.vhdx import METADATA_AT, VHDX, sealed

pytestmark = needs("time")

MOST_SECONDS, MOST_KIB = 1.0, 64 * 1024
MOST_32, MOST_64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def u32(value):
    return struct.pack("<I", value)


def mbr(*entries, size=64 * MIB, records=()):
    path = sparse_file("hostile.img", size)
    write_boot_record(path, 0, *entries)
    for sector, *links in records:
        write_boot_record(path, sector, *links)


def long_chain(records):
    """So many extended boot records, each with a logical partition or without."""
    def build():
        path = sparse_file("hostile.img", 64 * MIB)
        write_boot_record(path, 0, mbr_entry(1, 131_000, 5))
        with open(path, "r+b") as file:
            for number in range(60_000):
                file.seek((1 + number) * 512 + 440)
                file.write(boot_record(
                    mbr_entry(1, 1) if records else bytes(16), mbr_entry(number + 1, 2, 5)))
    return build


def gpt(overrides=None, entries=None, size=64 * MIB, count=128, damage=()):
    path = sparse_file("hostile.img", size)
    GPT(entries or {1: GPTEntry(2048, 4095)}, overrides=overrides or {}, count=count).write(path)
    for offset, content in damage:
        write_at(path, offset, content)


def vhd(size=64 * MIB, **lies):
    dynamic_vhd("hostile.img", size, **lies)


MOUNTS = {
    "EBR that points to itself": lambda: mbr(
        mbr_entry(2048, 8192, 5), records=[(2048, mbr_entry(63, 100), mbr_entry(0, 8192, 5))]),
    "EBRs that point to each other": lambda: mbr(
        mbr_entry(2048, 8192, 5),
        records=[(2048, mbr_entry(63, 100), mbr_entry(1000, 8192, 5)),
                 (3048, mbr_entry(63, 100), mbr_entry(0, 8192, 5))]),
    "EBR that points to sector 0": lambda: mbr(
        mbr_entry(2048, 8192, 5),
        records=[(2048, mbr_entry(63, 100), mbr_entry(MOST_32 - 2047, 8192, 5))]),
    "60,000 EBRs": long_chain(True),
    "60,000 EBRs without a partition": long_chain(False),
    "entries of 2^32-1": lambda: mbr(*[mbr_entry(MOST_32, MOST_32)] * 4),
    "start and length that wrap": lambda: mbr(mbr_entry(2048, MOST_32), mbr_entry(MOST_32, 2)),
    "four chains into each other": lambda: mbr(
        *[mbr_entry(2048, 8192, 5)] * 4,
        records=[(2048, mbr_entry(63, 100), *[mbr_entry(n, 8192, 5) for n in (1, 2, 3)])]),
    "GPT of 2^32-1 entries": lambda: gpt({80: u32(MOST_32)}),
    "GPT with entries of 0 bytes": lambda: gpt({84: u32(0)}),
    "GPT with entries of 4 bytes": lambda: gpt({84: u32(4)}),
    "GPT with entries of 2^31 bytes": lambda: gpt({84: u32(1 << 31)}),
    "GPT with a header of 2^32-1 bytes": lambda: gpt({12: u32(MOST_32)}),
    "GPT whose table is past the disk": lambda: gpt({72: struct.pack("<Q", MOST_64)}),
    "GPT entry that ends before it starts": lambda: gpt(entries={1: GPTEntry(4096, 2048)}),
    "GPT entry up to 2^64-1": lambda: gpt(entries={1: GPTEntry(34, MOST_64)}),
    "GPT entry from 0 up to 2^64-1": lambda: gpt(entries={1: GPTEntry(0, MOST_64)}),
    "GPT entries that overlap": lambda: gpt(
        entries={n: GPTEntry(2048, 131_000) for n in range(1, 129)}),
    "GPT with both sums wrong": lambda: gpt(
        damage=[(512 + 16, b"\1\2\3\4"), (64 * MIB - 512 + 16, b"\1\2\3\4")]),
    "GPT with a backup that disagrees": lambda: gpt(damage=[(64 * MIB - 512 + 56, noise(1, 16))]),
    "GPT with 8,192 entries in use": lambda: gpt(
        entries={n: GPTEntry(4096, 131_000) for n in range(1, 8193)}, count=8192),
    "VHD whose only block lies on its table": lambda: vhd(2 * MIB, table=[3]),
    "VHD whose blocks are all the same": lambda: vhd(2000 * MIB, blocks=[0], table=[5 + 3] * 1000),
    "VHD whose blocks are past the end": lambda: vhd(2000 * MIB, table=[0xFFFFFFFE] * 1000),
    "VHD with a wrong footer and a good copy": lambda: (
        vhd(), write_at("hostile.img", Path("hostile.img").stat().st_size - 512, bytes(512))),
}

REFUSED = {
    "VHD table of 2^32-1 entries past the end": lambda: vhd(
        (1 << 41) - (1 << 21), entries=MOST_32),
    "VHD with blocks of 0 bytes": lambda: vhd(block_size=0),
    "VHD with blocks of 3 bytes": lambda: vhd(3 * 512, block_size=3),
    "VHD of 2^40 bytes with one entry": lambda: vhd(1 << 40, entries=1),
    "VHD of 2^64-1 bytes": lambda: Path("hostile.img").write_bytes(
        bytes(MIB) + vhd_footer(MOST_64, 2)),
    "VHD whose table is past the end": lambda: vhd(table_at=1 << 40),
    "VHD whose table is at 2^64-1": lambda: vhd(table_at=MOST_64),
    "VHD whose header is past the end": lambda: vhd(data_offset=1 << 40),
    "VHD whose header is at 2^64-1": lambda: vhd(data_offset=MOST_64 - 1),
    "VHD with both footers wrong": lambda: vhd(footer_sum_off=1),
    "VHD of an unknown type": lambda: Path("hostile.img").write_bytes(
        bytes(MIB) + vhd_footer(MIB, 99)),
    "VHD that is its own parent": lambda: vhd_child(),
}


def write(image):
    Path("hostile.img").write_bytes(image)


def cso_header(size=64 * MIB, block_size=2048, version=1, shift=0, index=b"", magic=b"CISO"):
    write(struct.pack("<4sIQIBBH", magic, 24, size, block_size, version, shift, 0) + index)


def cso_index(*changes, size=2 * MIB):
    """A good one, but for these entries."""
    image = bytearray(cso(bytes(size), "cso1"))
    for number, value in changes:
        struct.pack_into("<I", image, 24 + 4 * number, value)
    write(image)


def dmg_table(*entries, sectors=2048, count=None, first=0, data=b""):
    """One table with these chunks: type, first sector, sectors, offset, length."""
    chunks = b"".join(struct.pack(">IIQQQQ", kind, 0, *rest) for kind, *rest in entries)
    blob = struct.pack(">4sIQQQII24x136xI", b"mish", 1, first, sectors, 0, 0, 0,
                       len(entries) if count is None else count) + chunks
    write(trailed(data, property_list([blob]), sectors))


def dmg_list(text, size=None, padding=0):
    write(trailed(b"", text.encode(), 2048, plist_size=size))
    if padding:
        trailer = Path("hostile.img").read_bytes()[-512:]
        sparse_file("hostile.img", padding)
        with open("hostile.img", "r+b") as file:
            file.write(text.encode())
            file.seek(0, 2)
            file.write(trailer)


ZLIB, LZFSE, LZMA, BZIP2, ADC = 0x80000005, 0x80000007, 0x80000008, 0x80000006, 0x80000004

MOUNTS.update({
    "CSO whose index goes backwards": lambda: cso_index((5, 24), (6, 0)),
    "CSO whose index is past the end": lambda: cso_index((0, 0x7fffffff), (7, 0x7fffffff)),
    "CSO of 2^17 blocks that are one": lambda: cso_header(
        256 << 20, index=struct.pack("<I", 24 + 4 * (1 << 17) + 4) * ((1 << 17) + 1)),
    "CSO whose blocks are larger than they are": lambda: write(
        cso(bytes(MIB), "cso1", 1 << 18)[:16] + struct.pack("<I", 2048)
        + cso(bytes(MIB), "cso1", 1 << 18)[20:44] + bytes(4 * 510)),
    "CSO with a shift of 31": lambda: cso_header(
        1 << 40, 8 * MIB, shift=31, index=bytes(4 * (1 << 17) + 4)),
    "DMG with a raw chunk shorter than its sectors": lambda: dmg_table(
        (1, 0, 2048, 0, 1000), data=noise(1, 1000)),
    "DMG whose chunks are past the end": lambda: dmg_table(
        (1, 0, 1024, 1 << 62, 512 << 10), (ZLIB, 1024, 1024, MOST_64 >> 1, 1 << 20)),
    "DMG with chunks of 4 GiB": lambda: dmg_table(
        *((kind, n << 23, 1 << 23, 0, 1) for n, kind in enumerate((ZLIB, BZIP2, LZMA, ADC, LZFSE))),
        sectors=5 << 23, data=b"x"),
    "DMG with one chunk of 2^52 sectors of zeros": lambda: dmg_table(
        (ZERO, 0, 1 << 52, 0, 0), sectors=1 << 52),
    "DMG with 130,000 chunks": lambda: write(dmg(noise(1, 512) * 130_000, "raw", 1)),
})

REFUSED.update({
    "CSO with blocks of 0 bytes": lambda: cso_header(block_size=0),
    "CSO with blocks of 2^31 bytes": lambda: cso_header(block_size=1 << 31),
    "CSO of 2^64-1 bytes": lambda: cso_header(MOST_64),
    "CSO of 2^60 bytes": lambda: cso_header(1 << 60),
    "ZSO whose index is past the end": lambda: cso_header(1 << 40, magic=b"ZISO"),
    "DMG of 2^31 chunks": lambda: dmg_table((ZERO, 0, 2048, 0, 0), count=1 << 31),
    "DMG of 2^55 sectors": lambda: dmg_table((ZERO, 0, 1 << 55, 0, 0)),
    "DMG from sector 2^64-1 on": lambda: dmg_table((ZERO, 1, 2048, 0, 0), first=MOST_64),
    "DMG whose chunks overlap": lambda: dmg_table((ZERO, 0, 5, 0, 0), (ZERO, 4, 5, 0, 0)),
    "DMG with 1 GiB of XML": lambda: dmg_list("<plist>", 1 << 30, 1 << 30),
    "DMG with 8 MiB of XML that is none": lambda: dmg_list("<plist>" + "x" * (8 * MIB - 7)),
    "DMG with 10^5 nested levels": lambda: dmg_list("<plist>" + "<dict>" * 100_000),
    "DMG with 10^6 elements": lambda: dmg_list("<plist>" + "<a/>" * 1_000_000),
})


def vhd_child():
    """A differencing disk of itself, with a locator of 2^32-1 bytes besides."""
    vhd()
    footer = vhd_footer(64 * MIB, 4, data_offset=512)
    write_at("hostile.img", 512 + 40, footer[68:84])
    write_at("hostile.img", 0, footer)
    write_at("hostile.img", Path("hostile.img").stat().st_size - 512, footer)
    write_at("hostile.img", 512 + 64, "hostile.img".encode("utf-16-be"))
    write_at("hostile.img", 512 + 576, struct.pack(">4sIIIQ", b"W2ku", MOST_32, MOST_32, 0, 1536))


def vhdx(places=(), *, size=64 * MIB, log=b"", log_guid=bytes(16), **disk):
    """`places` says what stands elsewhere than it should, as (offset, bytes); headers and region tables
    are sealed again. The log is behind all the rest."""
    VHDX(size, **disk).write("hostile.img")
    end = Path("hostile.img").stat().st_size
    if log:
        write_at("hostile.img", end, log)
        places = [(at + place, content) for at in HEADERS_AT for place, content in (
            (48, log_guid), (68, struct.pack("<IQ", len(log), end)))] + list(places)
    for place, content in places:
        write_at("hostile.img", place, content)
    for at, length in [(at, 4096) for at in HEADERS_AT] + [(at, 65536) for at in REGIONS_AT]:
        write_at("hostile.img", at, sealed(read_at("hostile.img", at, length)))


HEADERS_AT, REGIONS_AT = (64 << 10, 128 << 10), (192 << 10, 256 << 10)
LOG_GUID = b"log of this time"


def both(starts, place, content):
    return [(start + place, content) for start in starts]


def log_entry(number, length=4096, tail=0, descriptors=0):
    return struct.pack(
        "<4sIIIQII16sQQ", b"loge", 0, length, tail, number, descriptors, 0, LOG_GUID, 0, 0
    ).ljust(4096, b"\0")


REFUSED.update({
    "VHDX with blocks of 0 bytes": lambda: vhdx([(METADATA_AT + 65536, bytes(4))]),
    "VHDX of 2^64-512 bytes": lambda: vhdx(
        [(METADATA_AT + 65536 + 8, struct.pack("<Q", MOST_64 - 511))]),
    "VHDX of 64 TiB with a table of 1 MiB": lambda: vhdx(
        [(METADATA_AT + 65536 + 8, struct.pack("<Q", 64 << 40))]),
    "VHDX with 2^32-1 regions": lambda: vhdx(both(REGIONS_AT, 8, struct.pack("<I", MOST_32))),
    "VHDX whose regions overlap": lambda: vhdx(
        both(REGIONS_AT, 32, struct.pack("<Q", METADATA_AT))),
    "VHDX whose table is past the end": lambda: vhdx(
        both(REGIONS_AT, 32, struct.pack("<QI", 1 << 40, 0xFFF00000))),
    "VHDX whose metadata are past their region": lambda: vhdx(
        [(METADATA_AT + 48, struct.pack("<II", MIB - 4, 8))]),
    "VHDX without a header": lambda: vhdx(both(HEADERS_AT, 0, b"HEAD")),
    "VHDX with a log of 2^32-1 descriptors": lambda: vhdx(
        log=sealed(log_entry(1, descriptors=MOST_32)).ljust(MIB, b"\0"), log_guid=LOG_GUID),
    "VHDX with a log of 4,096 entries on top of each other": lambda: vhdx(
        log=log_entry(1, 16 * MIB) * 4096, log_guid=LOG_GUID),
    "VHDX with a log whose tails lead nowhere": lambda: vhdx(
        log=b"".join(sealed(log_entry(n, tail=255 * 4096)) for n in range(1, 256)).ljust(
            MIB, b"\0"), log_guid=LOG_GUID),
    "VHDX that is its own parent": lambda: vhdx(
        parent=("hostile.img", "00000000-0000-0000-0000-000000000001")),
})


def measured(command):
    """Runs it, and holds it to its time and memory. The best of three, for the machine may be busy
    with something else."""
    for _ in range(3):
        result = attempt(f"/usr/bin/time -o usage -f '%e %M' {command}")
        # After a bad exit status a line before says so.
        seconds, memory = Path("usage").read_text().splitlines()[-1].split()
        if float(seconds) < MOST_SECONDS:
            break
        attempt("platter unmount mnt")
    assert float(seconds) < MOST_SECONDS, f"{seconds} s: {result}"
    assert int(memory) <= MOST_KIB, f"{memory} KiB: {result}"
    assert result.status in (0, 1), str(result)
    assert result.err.count("\n") == (1 if result.status else 0), str(result)
    return result


def memory_of_the_mount():
    return max(int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])
               for pid in session.processes())


@pytest.mark.parametrize("name", MOUNTS)
def test_shows_what_can_be_shown(name):
    """Such an image mounts, and its table is the part that is missing or damaged."""
    MOUNTS[name]()
    for verb in ("info", "info --json", "map"):
        result = measured(f"platter {verb} hostile.img")
        assert result.status == 0, str(result)
        assert len(result.out) < MIB
    Path("mnt").mkdir()
    assert measured("platter mount hostile.img mnt").status == 0
    try:
        begin = time.monotonic()
        run("ls -lR mnt && stat mnt/disk && head -c 4096 mnt/disk > /dev/null || true")
        assert time.monotonic() - begin < 2 * MOST_SECONDS
        assert memory_of_the_mount() <= MOST_KIB
    finally:
        run("platter unmount mnt")


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_cannot_be_shown(name):
    REFUSED[name]()
    Path("mnt").mkdir()
    for command in ("info hostile.img", "hash hostile.img", "mount hostile.img mnt"):
        result = measured(f"platter {command}")
        assert result.status == 1, str(result)
        assert result.err.startswith("platter: hostile.img: ") or (
            result.err.startswith("platter: /") and "hostile.img: " in result.err), result.err
        # Where in the file; a chain is refused as a whole.
        assert "at byte" in result.err or "the chain never ends" in result.err, result.err
