"""VHDX images, made from [MS-VHDX], which names the sections in comments here."""

import struct
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from .files import MIB

BAT = "2dc27766-f623-4200-9d64-115e9bfd4a08"
METADATA = "8b7ca206-4790-4b9a-b8fe-575f050f886e"
FILE_PARAMETERS = "caa16737-fa36-4d43-b3b6-33f0aa44e76b"
DISK_SIZE = "2fa54224-cd1b-4876-b211-5dbed83bf4b8"
DISK_ID = "beca12ab-b2e6-4523-93ef-c309e000c746"
LOGICAL_SECTOR = "8141bf1d-a96f-4709-ba47-f233a8faab5f"
PHYSICAL_SECTOR = "cda348c7-445d-4471-9cc9-e9885251c556"
PARENT_LOCATOR = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c"
LOCATOR_TYPE = "b04aefb7-d19e-4a81-b789-25b8e9445913"

# 2.5.1.1
NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT, PARTIALLY_PRESENT = 0, 1, 2, 3, 6, 7

LOG_AT, METADATA_AT, BAT_AT, BLOCKS_AT = MIB, 2 * MIB, 3 * MIB, 4 * MIB


def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = crc_table()


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def guid(text):
    return uuid.UUID(text).bytes_le


@dataclass
class VHDX:
    """A disk whose block table fits in 1 MiB."""

    size: int
    block_size: int = MIB
    sector_size: int = 512
    blocks: dict = field(default_factory=dict)  # Number to content, a block long.
    owned: dict = field(default_factory=dict)   # Number to set of sectors; without: all are.
    states: dict = field(default_factory=dict)  # Of blocks that are not stored.
    parent: tuple = None                        # Its name and its data write GUID.
    data_write_guid: str = "00000000-0000-0000-0000-000000000001"

    @property
    def count(self):
        return -(-self.size // self.block_size)

    def over(self, below=b""):
        """What the disk holds over a parent that holds this."""
        below = below.ljust(self.size, b"\0")
        pieces = []
        for number in range(self.count):
            start = number * self.block_size
            under = below[start:start + self.block_size]
            if number not in self.blocks:
                is_parents = self.parent and self.states.get(number, NOT_PRESENT) == NOT_PRESENT
                pieces.append(under if is_parents else bytes(self.block_size))
            elif number not in self.owned:
                pieces.append(self.blocks[number])
            else:
                piece = bytearray(under.ljust(self.block_size, b"\0"))
                for sector in self.owned[number]:
                    place = slice(sector * self.sector_size, (sector + 1) * self.sector_size)
                    piece[place] = self.blocks[number][place]
                pieces.append(bytes(piece))
        return b"".join(pieces)[:self.size]

    def write(self, path):
        chunk_ratio = (1 << 23) * self.sector_size // self.block_size  # 2.4
        sectors = self.block_size // self.sector_size
        table = bytearray(MIB)
        bitmaps = {}
        stored = []
        place = BLOCKS_AT
        for number in range(self.count):
            entry = self.states.get(number, NOT_PRESENT)
            if number in self.blocks:
                entry = place | (PARTIALLY_PRESENT if number in self.owned else FULLY_PRESENT)
                stored.append(self.blocks[number])
                place += self.block_size
            struct.pack_into("<Q", table, 8 * (number + number // chunk_ratio), entry)
            if number not in self.owned:
                continue
            # There even where no sector of the block is this file's.
            bits = bitmaps.setdefault(number // chunk_ratio, bytearray(MIB))
            for sector in self.owned[number]:
                bit = number % chunk_ratio * sectors + sector
                bits[bit // 8] |= 1 << bit % 8
        for chunk, bits in bitmaps.items():
            struct.pack_into("<Q", table, 8 * (chunk * (chunk_ratio + 1) + chunk_ratio), place | 6)
            stored.append(bits)
            place += MIB
        with open(path, "wb") as file:
            def put(at, content):
                file.seek(at)
                file.write(content)

            put(0, b"vhdxfile" + "platter".encode("utf-16-le"))
            put(64 << 10, self.header(1))
            put(128 << 10, self.header(2))
            put(192 << 10, self.regions())
            put(256 << 10, self.regions())
            put(METADATA_AT, self.metadata())
            put(BAT_AT, table)
            put(BLOCKS_AT, b"".join(stored))
            file.truncate(place)
        return Path(path)

    def header(self, sequence):  # 2.2.2
        return sealed(struct.pack(
            "<4sIQ16s16s16sHHIQ", b"head", 0, sequence, guid(self.data_write_guid),
            guid(self.data_write_guid), bytes(16), 0, 1, MIB, LOG_AT).ljust(4096, b"\0"))

    def regions(self):  # 2.2.3
        entries = b"".join(
            struct.pack("<16sQII", guid(name), at, MIB, 1)
            for name, at in ((BAT, BAT_AT), (METADATA, METADATA_AT)))
        return sealed((struct.pack("<4sIII", b"regi", 0, 2, 0) + entries).ljust(65536, b"\0"))

    def metadata(self):  # 2.6
        items = [
            (FILE_PARAMETERS, struct.pack("<II", self.block_size, 2 if self.parent else 0), 4),
            (DISK_SIZE, struct.pack("<Q", self.size), 6),
            (DISK_ID, guid(self.data_write_guid), 6),
            (LOGICAL_SECTOR, struct.pack("<I", self.sector_size), 6),
            (PHYSICAL_SECTOR, struct.pack("<I", 4096), 6),
        ]
        if self.parent:
            items.append((PARENT_LOCATOR, self.locator(), 4))
        table, content = b"", b""
        for name, item, flags in items:
            table += struct.pack("<16sIIII", guid(name), 65536 + len(content), len(item), flags, 0)
            content += item
        head = struct.pack("<8sHH20x", b"metadata", 0, len(items))
        return (head + table).ljust(65536, b"\0") + content

    def locator(self):  # 2.6.2.6
        name, linkage = self.parent
        pairs = [("relative_path", name), ("parent_linkage", "{%s}" % linkage)]
        entries, strings = b"", b""
        for pair in pairs:
            key, value = (text.encode("utf-16-le") for text in pair)
            at = 20 + 12 * len(pairs) + len(strings)
            entries += struct.pack("<IIHH", at, at + len(key), len(key), len(value))
            strings += key + value
        return struct.pack("<16sHH", guid(LOCATOR_TYPE), 0, len(pairs)) + entries + strings


def sealed(structure):
    """With its checksum, which is computed with zero in its place."""
    checksum = crc32c(structure[:4] + bytes(4) + structure[8:])
    return structure[:4] + struct.pack("<I", checksum) + structure[8:]
