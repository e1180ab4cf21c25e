"""Links by label, UUID and partition name; names that mean harm."""

import json
import os
import re

import pytest

from support.files import MIB, sparse_file
from support.images import GPT, GPTEntry, fixed_uuid
from support.shell import mounted, run


def links(folder):
    return {name: os.readlink(folder / name) for name in os.listdir(folder)}


def test_by_folders(image):
    with mounted(image) as mnt:
        assert links(mnt / "by-label") == {"HELLOFAT": "../p1", "helloext": "../p2"}
        assert links(mnt / "by-uuid") == {"1234-ABCD": "../p1", fixed_uuid(200): "../p2"}
        assert links(mnt / "by-partlabel") == {
            "Boot\\x20files": "../p1", "root": "../p2", "bare": "../p7"}
        assert links(mnt / "by-partuuid") == {
            fixed_uuid(101): "../p1", fixed_uuid(102): "../p2", fixed_uuid(107): "../p7"}
        run(f"cmp {mnt}/by-label/helloext {mnt}/p2")


def test_a_disk_without_a_table_has_none():
    sparse_file("floppy.img", 1440 * 1024)
    run("mkfs.fat -n FLOPPY floppy.img")
    with mounted("floppy.img") as mnt:
        assert sorted(os.listdir(mnt)) == ["disk", "files", "status.json"]


def test_mbr_partuuid():
    sparse_file("mbr.img", 8 * MIB)
    run("sfdisk -q mbr.img", input=b"label: dos\nlabel-id: 0xdeadbeef\nstart=2048\n")
    with mounted("mbr.img") as mnt:
        assert links(mnt / "by-partuuid") == {"deadbeef-01": "../p1"}


# The GPT-name rows of HOSTILE.md, and what udev itself would have to escape.
EVIL = {
    1: "../../etc/x", 2: "a/b", 3: "a/b", 4: "line\nbreak\x1b[31mred", 5: "..", 6: ".",
    7: "x" + "\u0301" * 35, 8: "same", 9: "same", 10: "same-p9", 11: "\u202egnp.exe",
    12: " lead and trail ", 13: "$(reboot)`;|&<>*?'\"", 14: "-rf", 15: "\\x2f",
    16: "\U0001f4be" * 18,
}


@pytest.fixture
def evil(home):
    path = sparse_file("evil.img", 8 * MIB)
    entries = {n: GPTEntry(2048 + n * 8, 2048 + n * 8 + 7, name=name) for n, name in EVIL.items()}
    entries[17] = GPTEntry(2048 + 17 * 8, 2048 + 17 * 8 + 7, raw_name=b"\x00\xd8x\0")
    entries[18] = GPTEntry(2048 + 18 * 8, 2048 + 18 * 8 + 7)
    GPT(entries).write(path)
    return path


def test_evil_names_are_safe_unique_and_printable(evil):
    with mounted(evil) as mnt:
        names = os.listdir(os.fsencode(mnt / "by-partlabel"))
        assert len(set(names)) == len(names) == 17
        for name in names:
            text = name.decode()  # Valid UTF-8.
            assert text.isprintable() and not re.search(r"[/\s]", text), text
            assert len(name) <= 255 and text not in (".", "..")
        targets = links(mnt / "by-partlabel").values()
        assert sorted(targets, key=lambda t: int(t[4:])) == [f"../p{n}" for n in range(1, 18)]
        # All of them lead to where they say, and nowhere else.
        for name in os.listdir(mnt / "by-partlabel"):
            place = (mnt / "by-partlabel" / name).resolve()
            assert place.parent == mnt and place.stat().st_size == 4096
        assert os.readlink(mnt / "by-partlabel/..\\x2f..\\x2fetc\\x2fx") == "../p1"


def test_evil_names_neither_break_lines_nor_drive_the_terminal(evil):
    for verb in ("info", "map"):
        shown = run(f"platter {verb} {evil}").out
        assert "\x1b" not in shown and "\u202e" not in shown
    lines = run(f"platter info {evil}").out.splitlines()
    assert len([line for line in lines if re.match(r"p\d", line)]) == 18


def test_evil_names_are_given_to_programs_as_they_are(evil):
    partitions = json.loads(run(f"platter info --json {evil}").out)["partitions"]
    names = {partition["number"]: partition.get("name") for partition in partitions}
    for number, name in EVIL.items():
        assert names[number] == name
    assert names[18] is None
