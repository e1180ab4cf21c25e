"""Disk images, made from the specifications or by the tools that everybody uses."""

import binascii
import struct
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from .files import MIB, noise, sparse_file, write_at
from .shell import run

LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
BASIC_DATA = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"


def fixed_uuid(number):
    """The same every time, so that a failure can be looked at again."""
    return str(uuid.UUID(int=(0x70617474 << 96) + number, version=4))


# MBR


def mbr_entry(start, sectors, kind=0x83, bootable=False):
    return struct.pack("<B3sB3sII", 0x80 if bootable else 0, b"\xfe\xff\xff", kind,
                       b"\xfe\xff\xff", start, sectors)


def boot_record(*entries, signature=0x01020304):
    """The last 72 bytes of an MBR's or EBR's first 512."""
    table = b"".join(entries).ljust(64, b"\0")
    return struct.pack("<IH", signature, 0) + table + b"\x55\xaa"


def write_boot_record(path, sector, *entries, sector_size=512, **options):
    write_at(path, sector * sector_size + 440, boot_record(*entries, **options))


# GPT (UEFI 2.10, section 5.3), with sectors of any size: sfdisk 2.38 knows only 512 for files.


@dataclass
class GPTEntry:
    first: int
    last: int
    kind: str = LINUX
    name: str = ""
    uuid: str = ""
    attributes: int = 0
    # In place of `name`, for what is no valid UTF-16.
    raw_name: bytes = b""

    def encoded(self, number):
        name = self.raw_name or self.name.encode("utf-16-le")
        return (uuid.UUID(self.kind).bytes_le
                + uuid.UUID(self.uuid or fixed_uuid(number)).bytes_le
                + struct.pack("<QQQ", self.first, self.last, self.attributes)
                + name[:72].ljust(72, b"\0"))


@dataclass
class GPT:
    """A GPT to be written to a disk. What a field overrides is written as it stands, with sums that
    are right: a table can lie and still add up."""

    entries: dict  # Number to GPTEntry.
    sector_size: int = 512
    count: int = 128
    # Offset in the header to bytes, put there before its checksum is computed.
    overrides: dict = field(default_factory=dict)

    def write(self, path):
        sectors = Path(path).stat().st_size // self.sector_size
        array = bytearray(self.count * 128)
        for number, entry in self.entries.items():
            array[(number - 1) * 128:number * 128] = entry.encoded(number)
        array_sectors = -(-len(array) // self.sector_size)
        last = sectors - 1
        write_boot_record(
            path, 0, mbr_entry(1, min(last, 0xFFFFFFFF), 0xEE), signature=0,
            sector_size=self.sector_size)
        for place, other, array_at in ((1, last, 2), (last, 1, last - array_sectors)):
            header = bytearray(struct.pack(
                "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, place, other,
                2 + array_sectors, last - array_sectors - 1,
                uuid.UUID(fixed_uuid(999)).bytes_le, array_at, self.count, 128,
                binascii.crc32(array)))
            for offset, content in self.overrides.items():
                header[offset:offset + len(content)] = content
            struct.pack_into("<I", header, 16, binascii.crc32(header))
            write_at(path, place * self.sector_size, header)
            write_at(path, array_at * self.sector_size, array)
        return path


# VHD (Virtual Hard Disk Image Format Specification 1.0)


def vhd_checksum(block, at):
    return ~(sum(block) - sum(block[at:at + 4])) & 0xFFFFFFFF


def vhd_footer(size, kind, *, data_offset=0xFFFFFFFFFFFFFFFF):
    footer = bytearray(struct.pack(
        ">8sIIQI4sI4sQQHBBI", b"conectix", 2, 0x10000, data_offset, 0, b"plat", 0x10000, b"Wi2k",
        size, size, 0, 0, 0, kind)).ljust(512, b"\0")
    footer[68:84] = uuid.UUID(fixed_uuid(1)).bytes
    struct.pack_into(">I", footer, 64, vhd_checksum(footer, 64))
    return bytes(footer)


def fixed_vhd(path, content):
    Path(path).write_bytes(content + vhd_footer(len(content), 2))
    return path


def dynamic_vhd(path, size, *, blocks=(), entries=None, block_size=2 * MIB, table_at=1536,
                table=None, data_offset=512, footer_sum_off=0, header_sum_off=0):
    """`blocks` are the numbers of the blocks that are there, each filled with its own noise. The
    rest is for saying what is not so."""
    count = -(-size // block_size) if block_size else 1
    written = [0xFFFFFFFF] * min(count, 4096)
    data_at = -(-(1536 + 4 * len(written)) // 512)
    bitmap = b"\xff" * (-(-block_size // 512 // 8 // 512) * 512) if block_size else b""
    stored = b""
    for number in blocks:
        written[number] = data_at + len(stored) // 512
        stored += bitmap + noise(number, block_size)
    header = bytearray(struct.pack(
        ">8sQQIIII", b"cxsparse", 0xFFFFFFFFFFFFFFFF, table_at, 0x10000,
        len(written) if entries is None else entries, block_size, 0)).ljust(1024, b"\0")
    struct.pack_into(">I", header, 36, vhd_checksum(header, 36) ^ header_sum_off)
    footer = bytearray(vhd_footer(size, 3, data_offset=data_offset))
    struct.pack_into(">I", footer, 64, vhd_checksum(footer, 64) ^ footer_sum_off)
    words = struct.pack(f">{len(written)}I", *(table or written))
    body = (bytes(footer) + bytes(header) + words).ljust(data_at * 512, b"\xff") + stored
    Path(path).write_bytes(body + bytes(footer))
    return path


# Disks with file systems in them


def file_system_disk(path):
    """A 96 MiB GPT disk as people have them: a FAT partition with a file, an ext4 one with another,
    a third without a file system, and plenty of holes. Gives the sizes and starts in bytes."""
    sparse_file(path, 96 * MIB)
    run(f"sfdisk -q {path}", input=f"""label: gpt
label-id: {fixed_uuid(100)}
1 : start=2048, size=32768, type={BASIC_DATA}, uuid={fixed_uuid(101)}, name="Boot files"
2 : start=65536, size=65536, type={LINUX}, uuid={fixed_uuid(102)}, name="root"
7 : start=163840, size=8192, type={LINUX}, uuid={fixed_uuid(107)}, name="bare"
""".encode())
    run(f"mkfs.fat -F 16 -n HELLOFAT -i 1234abcd --offset 2048 {path} 16384")
    run(f"mcopy -i {path}@@1M - ::/HELLO.TXT", input=b"Hello from the FAT partition\n")
    tree = Path(f"{path}.tree")
    tree.mkdir()
    (tree / "hello.txt").write_text("Hello from the ext4 partition\n")
    (tree / "noise.bin").write_bytes(noise("ext4", 3 * MIB))
    run(f"mkfs.ext4 -q -d {tree} -L helloext -U {fixed_uuid(200)} -E offset={32 * MIB} "
        f"{path} 32768k")
    write_at(path, 80 * MIB, noise("bare", 100_000))
    return path


PARTITIONS_OF_THAT_DISK = {1: (MIB, 16 * MIB), 2: (32 * MIB, 32 * MIB), 7: (80 * MIB, 4 * MIB)}
