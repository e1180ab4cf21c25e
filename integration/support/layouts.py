"""Random partition layouts: what sfdisk is told to make, and what it then says that it made."""

import json
import random
from pathlib import Path

from .files import MIB, noise, sparse_file, write_at
from .images import BASIC_DATA, GPT, LINUX, GPTEntry, fixed_uuid, mbr_entry, write_boot_record
from .shell import run

MBR_TYPES = ["0c", "07", "83", "82", "8e", "a5", "fd", "ef", "da"]
GPT_TYPES = [LINUX, BASIC_DATA, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
             "21686148-6449-6e6f-744e-656564454649"]
WORDS = ["root", "EFI System", "data, more", "größe", "数据", "x" * 36, "a/b", "💾 disk"]


def free_places(random, first, end, count, *, gap=0):
    """`count` ranges of sectors between `first` and `end`, in order, none touching another's first
    `gap` sectors before it. Fewer where the room is short."""
    if end <= first:
        return []
    unit = random.choice([1, 8, 63, 2048])
    cuts = sorted(random.sample(range(first, end), min(2 * count, end - first)))
    places = []
    last = first
    for start, stop in zip(cuts[::2], cuts[1::2]):
        start = -(-max(start, last + gap) // unit) * unit
        # Every other time, right behind the one before.
        if places and random.random() < 0.3 and gap == 0:
            start = last
        if start < stop:
            places.append((start, stop - start))
            last = stop
    return places


def scatter(path, random, places, sector_size, seed):
    """Random data where a partition starts and ends, and in some of the space between."""
    size = Path(path).stat().st_size
    for index, (start, sectors) in enumerate(places):
        count = min(sectors * sector_size, random.choice([512, 4096, 70_001]))
        content = noise(f"{seed}/{index}", count)
        write_at(path, start * sector_size, content)
        write_at(path, (start + sectors) * sector_size - count, content[::-1])
    for index in range(3):
        place = random.randrange(MIB // 2, size - MIB)
        write_at(path, place, noise(f"{seed}/gap/{index}", random.randrange(1, 100_000)))


def partition(number, start, sectors, kind, *, bootable=False, name=None, uuid=None,
              sector_size=512):
    """One partition, in the words of `info --json`."""
    return {"number": number, "start": start * sector_size, "size": sectors * sector_size,
            "type": kind, "bootable": bootable, "name": name, "uuid": uuid}


def as_sfdisk_says(path):
    table = json.loads(run(f"sfdisk --json {path}").out)["partitiontable"]
    found = []
    for entry in table.get("partitions", []):
        number = int(entry["node"].removeprefix(str(path)))
        if table["label"] == "dos":
            uuid = f"{int(table['id'], 16):08x}-{number:02x}"
            kind = f"{int(entry['type'], 16):02x}"
            bootable = entry.get("bootable", False)
        else:
            uuid, kind = entry["uuid"].lower(), entry["type"].lower()
            bootable = "LegacyBIOSBootable" in entry.get("attrs", "")
        found.append(partition(number, entry["start"], entry["size"], kind, bootable=bootable,
                               name=entry.get("name") or None, uuid=uuid))
    return sorted(found, key=lambda entry: entry["number"])


def mbr(path, random, seed):
    """Primaries in any order and with gaps in their numbers, and in half of all layouts an extended
    partition with logicals."""
    sectors = path.stat().st_size // 512
    numbers = random.sample([1, 2, 3, 4], random.randrange(0, 5))
    places = free_places(random, 63, sectors, len(numbers))
    random.shuffle(places)
    lines = []
    inside = []
    extended = random.choice(numbers) if numbers and random.random() < 0.5 else None
    for number, (start, count) in zip(numbers, places):
        kind = random.choice(MBR_TYPES)
        if number == extended and count > 64:
            kind = random.choice(["05", "0f"])
            # sfdisk wants a megabyte before each, and puts the record somewhere in it.
            inside = free_places(random, start + 2048, start + count, random.randrange(0, 9),
                                 gap=2049)
            inside = [(a, b) for a, b in inside if a + b <= start + count]
        flag = ", bootable" if random.random() < 0.2 else ""
        lines.append(f"{number} : start={start}, size={count}, type={kind}{flag}")
    for number, (start, count) in enumerate(inside, 5):
        lines.append(f"{number} : start={start}, size={count}, type={random.choice(MBR_TYPES)}")
    # Before the table: what would be an extended partition's data is where its records go.
    scatter(path, random, places + inside, 512, seed)
    script = f"label: dos\nlabel-id: 0x{random.randrange(1, 1 << 32):08x}\n" + "\n".join(lines)
    run(f"sfdisk -q --wipe never --wipe-partitions never {path}", input=script.encode() + b"\n")
    return as_sfdisk_says(path)


def gpt(path, random, seed):
    sectors = path.stat().st_size // 512
    places = free_places(random, 2048, sectors - 34, random.randrange(0, 12))
    numbers = random.sample(range(1, 129), len(places))
    lines = []
    for number, (start, count) in zip(numbers, places):
        flag = ', attrs="LegacyBIOSBootable"' if random.random() < 0.2 else ""
        name = random.choice(WORDS + [""])
        lines.append(f'{number} : start={start}, size={count}, type={random.choice(GPT_TYPES)}, '
                     f'uuid={fixed_uuid(random.randrange(1 << 32))}, name="{name}"{flag}')
    scatter(path, random, places, 512, seed)
    script = "label: gpt\nfirst-lba: 34\n" + "\n".join(lines)
    run(f"sfdisk -q --wipe never --wipe-partitions never {path}", input=script.encode() + b"\n")
    return as_sfdisk_says(path)


def gpt_4k(path, random, seed):
    sectors = path.stat().st_size // 4096
    places = free_places(random, 6, sectors - 6, random.randrange(0, 12))
    numbers = random.sample(range(1, 129), len(places))
    entries = {
        number: GPTEntry(start, start + count - 1, kind=random.choice(GPT_TYPES),
                         name=random.choice(WORDS), uuid=fixed_uuid(random.randrange(1 << 32)),
                         attributes=random.choice([0, 4]))
        for number, (start, count) in zip(numbers, places)}
    scatter(path, random, places, 4096, seed)
    GPT(entries, sector_size=4096).write(path)
    return [partition(number, entry.first, entry.last - entry.first + 1, entry.kind,
                      bootable=entry.attributes == 4, sector_size=4096, uuid=entry.uuid,
                      # The field holds 36 UTF-16 units.
                      name=entry.name.encode("utf-16-le")[:72].decode("utf-16-le"))
            for number, entry in sorted(entries.items())]


def mbr_by_hand(path, random, seed, sector_size):
    """What sfdisk does not write: records close before their partitions, as DOS put them, and
    sectors of 4096 bytes, in which all addresses count. The last primary is extended where there
    is room, with two logicals."""
    identifier = random.randrange(1, 1 << 32)
    places = free_places(random, 64, path.stat().st_size // sector_size, 3)
    scatter(path, random, places, sector_size, seed)
    primaries, found = [], []

    def add(number, start, count, kind):
        found.append(partition(number, start, count, f"{kind:02x}", sector_size=sector_size,
                               uuid=f"{identifier:08x}-{number:02x}"))

    for number, (start, count) in enumerate(places, 1):
        kind = int(random.choice(MBR_TYPES), 16)
        if number == len(places) and count > 400:
            kind = 5
            gap, half = random.choice([1, 2, 63]), count // 2
            write_boot_record(path, start, mbr_entry(gap, half - gap),
                              mbr_entry(half, count - half, 5), sector_size=sector_size)
            write_boot_record(path, start + half, mbr_entry(gap, 100), sector_size=sector_size)
            add(5, start + gap, half - gap, 0x83)
            add(6, start + half + gap, 100, 0x83)
        primaries.append(mbr_entry(start, count, kind))
        add(number, start, count, kind)
    write_boot_record(path, 0, *primaries, sector_size=sector_size, signature=identifier)
    return sorted(found, key=lambda entry: entry["number"])


def mbr_4k(path, random, seed):
    return mbr_by_hand(path, random, seed, 4096)


def mbr_dos(path, random, seed):
    found = mbr_by_hand(path, random, seed, 512)
    assert as_sfdisk_says(path) == found
    return found


class Layout:
    """A raw disk with the partitions that belong to `seed`."""

    def __init__(self, seed):
        chance = random.Random(seed)
        self.path = sparse_file("layout.img", chance.choice([9, 33, 65, 200, 3000]) * MIB
                                + chance.choice([0, 0, 4096, 1 << 19]))
        self.kind = chance.choice([mbr, mbr, mbr_dos, gpt, gpt, gpt_4k, mbr_4k])
        self.subformat = chance.choice(["dynamic", "dynamic", "fixed"])
        self.partitions = self.kind(self.path, chance, seed)
        # Without a file system in it, nothing in an MBR tells what its sectors are.
        self.option = "--sector-size 4096" if self.kind is mbr_4k else ""
        self.table = "gpt" if self.kind in (gpt, gpt_4k) else "mbr"
        self.sector_size = 4096 if self.kind in (gpt_4k, mbr_4k) else 512
