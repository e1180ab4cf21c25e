"""info, map, cat and hash, and what every verb says of itself."""

import hashlib
import json
import os
import pty
import re
import pytest

from support.files import MIB, digest, merged, noise, sparse_file, write_at
from support.images import (
    GPT, PARTITIONS_OF_THAT_DISK, GPTEntry, dynamic_vhd, fixed_uuid, fixed_vhd, mbr_entry,
    write_boot_record)
from support.shell import attempt, mounted, needs, run, session, start


# info


def info(image, option=""):
    return json.loads(run(f"platter info --json {option} {image}").out)


def test_info_json(image, disk):
    report = info(image)
    format = "raw" if image == disk else "vhd"
    assert report["version"] == 1
    assert report["format"] == format
    assert report.get("subformat") == {"raw": None, "vhd": "dynamic"}[format]
    assert report["virtualSize"] == 96 * MIB
    assert report["sectorSize"] == 512
    [layer] = report["chain"]
    assert (layer["path"], layer["format"], layer["virtualSize"]) == (str(image), format, 96 * MIB)
    assert report["partitionTable"] == "gpt"
    assert report["partitionTableUuid"] == fixed_uuid(100)
    assert {p["number"]: (p["start"], p["size"]) for p in report["partitions"]} == (
        PARTITIONS_OF_THAT_DISK)
    boot, root, bare = report["partitions"]
    assert (boot["name"], boot["uuid"]) == ("Boot files", fixed_uuid(101))
    assert boot["fileSystem"] == {"type": "vfat", "label": "HELLOFAT", "uuid": "1234-ABCD"}
    assert root["fileSystem"] == {"type": "ext4", "label": "helloext", "uuid": fixed_uuid(200)}
    assert bare.get("fileSystem") is None


def test_info_text(image):
    lines = run(f"platter info {image}").out.splitlines()
    assert re.search(r"(raw|vhd, dynamic), 96 MiB \(100663296 bytes\)", lines[0])
    assert any("partition table: GPT" in line and "512-byte sectors" in line for line in lines)
    rows = {row.split()[0]: row for row in lines if re.match(r"p\d", row)}
    assert list(rows) == ["p1", "p2", "p7"]
    assert "vfat 'HELLOFAT' 1234-ABCD" in rows["p1"]
    assert "ext4 'helloext'" in rows["p2"]


def test_info_of_raw_says_that_nothing_told_it():
    sparse_file("disk.img", MIB)
    assert any("read as raw" in note for note in info("disk.img")["notes"])
    assert "note: no format's signature" in run("platter info disk.img").out
    assert info("disk.img", "--format raw")["notes"] == []


def test_info_of_what_fits_two_formats(disk):
    """A QCOW2 header in front, a VHD footer behind."""
    fixed_vhd("both.vhd", b"QFI\xfb\0\0\0\3" + noise(1, MIB - 8))
    report = info("both.vhd")
    assert report["format"] == "vhd"
    assert any("more than one format" in note and "qcow2" in note for note in report["notes"])
    assert info("both.vhd", "--format raw")["virtualSize"] == MIB + 512


def test_info_of_a_vhd_with_a_damaged_footer():
    """Its copy at the start is used, and that is said."""
    dynamic_vhd("disk.vhd", 10 * MIB, blocks=[1])
    before = run("platter hash disk.vhd").out
    write_at("disk.vhd", os.path.getsize("disk.vhd") - 512, noise(2, 512))
    assert run("platter hash disk.vhd").out == before
    assert any("its copy at the start was used" in note for note in info("disk.vhd")["notes"])


def test_info_of_a_gpt_with_a_damaged_primary(disk):
    run(f"cp --sparse=always {disk} own.img")
    write_at("own.img", 512, noise(1, 512))
    report = info("own.img")
    assert {p["number"] for p in report["partitions"]} == {1, 2, 7}
    assert any("backup" in note for note in report["notes"])


def test_info_of_a_hybrid_mbr():
    """Entries beside the protective one are for others; the GPT counts."""
    path = sparse_file("hybrid.img", 16 * MIB)
    GPT({1: GPTEntry(2048, 4095), 2: GPTEntry(4096, 8191)}).write(path)
    write_boot_record(path, 0, mbr_entry(1, 2047, 0xEE), mbr_entry(2048, 2048, 0x0C))
    report = info(path)
    assert report["partitionTable"] == "gpt"
    assert [p["number"] for p in report["partitions"]] == [1, 2]


def test_info_of_4096_byte_sectors():
    path = sparse_file("big-sectors.img", 16 * MIB)
    GPT({1: GPTEntry(256, 511)}, sector_size=4096).write(path)
    report = info(path)
    assert report["sectorSize"] == 4096
    assert (report["partitions"][0]["start"], report["partitions"][0]["size"]) == (MIB, MIB)
    assert info(path, "--sector-size 512")["partitions"] == []


@needs("mkfs.fat", "mkfs.ext4")
@pytest.mark.parametrize("command, expected", [
    ("mkfs.fat -n FLOPPY -i 00c0ffee x.img", ("vfat", "FLOPPY", "00C0-FFEE")),
    ("mkfs.fat -F 32 -n BIG -i 00c0ffee x.img", ("vfat", "BIG", "00C0-FFEE")),
    (f"mkfs.ext2 -q -L old -U {fixed_uuid(3)} x.img", ("ext2", "old", fixed_uuid(3))),
    (f"mkfs.ext3 -q -L older -U {fixed_uuid(3)} x.img", ("ext3", "older", fixed_uuid(3))),
    (f"mkswap -q -L pages -U {fixed_uuid(4)} x.img", ("swap", "pages", fixed_uuid(4))),
])
def test_info_names_file_systems(command, expected):
    sparse_file("x.img", 48 * MIB)
    run(command)
    found = info("x.img")["fileSystem"]
    assert (found["type"], found["label"], found["uuid"]) == expected
    assert "the whole disk: " + expected[0] in run("platter info x.img").out


# map


def ranges_of(image):
    report = json.loads(run(f"platter map --json {image}").out)
    assert report["version"] == 1
    place = 0
    for entry in report["ranges"]:
        assert entry["start"] == place and entry["length"] > 0
        place += entry["length"]
    assert place == report["virtualSize"]
    return report["ranges"]


def data_of(ranges):
    return merged((r["start"], r["start"] + r["length"]) for r in ranges if r["type"] == "data")


def data_by_qemu(image, format):
    ranges = json.loads(run(f"qemu-img map --output json -f {format} {image}").out)
    return merged((r["start"], r["start"] + r["length"]) for r in ranges if r["data"])


@needs("qemu-img")
def test_map_of_a_raw_image_agrees_with_qemu(disk):
    assert data_of(ranges_of(disk)) == data_by_qemu(disk, "raw")


@needs("qemu-img")
@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
def test_map_of_a_vhd_agrees_with_qemu(disk, subformat):
    """Of a VHD without holes of its own. QEMU does not look for those; Platter does, so its map of
    one that has some is finer: never more data than QEMU sees, and what it leaves out is zeros."""
    run(f"qemu-img convert -O vpc -o subformat={subformat},force_size=on {disk} sparse.vhd")
    run("cp --sparse=never sparse.vhd full.vhd")
    assert data_of(ranges_of("full.vhd")) == data_by_qemu("full.vhd", "vpc")
    ours, theirs = data_of(ranges_of("sparse.vhd")), data_by_qemu("sparse.vhd", "vpc")
    assert merged(ours + theirs) == theirs
    content = bytearray(disk.read_bytes())
    for start, end in ours:
        content[start:end] = bytes(end - start)
    assert content == bytes(len(content))


def test_map_names_where_data_is_stored(image, disk):
    for entry in ranges_of(image):
        if entry["type"] != "data":
            continue
        assert entry["path"] == str(image)
        with open(image, "rb") as stored, open(disk, "rb") as whole:
            count = min(entry["length"], MIB)
            assert os.pread(stored.fileno(), count, entry["fileOffset"]) == os.pread(
                whole.fileno(), count, entry["start"])


def test_map_draws_the_disk(image):
    lines = run(f"platter map {image}").out.splitlines()
    names, bar, legend = lines[2:5]
    assert re.fullmatch(r" *├p1─*┤ *├p2─*┤ *├p7─*┤? *", names)
    assert set(bar) <= set(" █▒·!") and "·" in bar and ("█" in bar or "▒" in bar)
    assert len(bar.strip()) == 78
    assert "data" in legend and "zeros" in legend
    assert re.match(r" *START +LENGTH +CONTENT", lines[6])


def test_map_shows_what_is_damaged():
    """A block past the end of the file: only what it holds cannot be read."""
    dynamic_vhd("disk.vhd", 6 * MIB, table=[0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
    types = [(r["start"], r["type"]) for r in ranges_of("disk.vhd")]
    assert types == [(0, "zero"), (2 * MIB, "unreadable"), (4 * MIB, "zero")]
    assert "!" in run("platter map disk.vhd").out.splitlines()[2]
    with mounted("disk.vhd") as mnt:
        with open(mnt / "disk", "rb", buffering=0) as file:
            assert os.pread(file.fileno(), MIB, 0) == bytes(MIB)
            with pytest.raises(OSError):
                os.pread(file.fileno(), 512, 2 * MIB)
            assert os.pread(file.fileno(), MIB, 5 * MIB) == bytes(MIB)


# cat and hash


def test_cat(image, disk):
    run(f"platter cat {image} | cmp - {disk}")


@pytest.mark.parametrize("number", PARTITIONS_OF_THAT_DISK)
def test_cat_one_partition(image, disk, number):
    start, size = PARTITIONS_OF_THAT_DISK[number]
    run(f"platter cat {image} --partition {number} > part")
    assert digest("part") == digest(disk, offset=start, length=size)
    assert os.path.getsize("part") == size


def test_cat_does_not_garble_a_terminal(disk):
    ours, theirs = pty.openpty()
    process = start(f"platter cat {disk}", stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    assert process.wait(10) != 0
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert said.startswith("platter: ") and "pipe" in said


def test_cat_of_what_cannot_be_read():
    dynamic_vhd("disk.vhd", 6 * MIB, table=[0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
    result = attempt("platter cat disk.vhd | wc -c")
    assert result.status != 0
    assert "disk.vhd" in result.err and "past the end" in result.err and "at byte" in result.err
    assert int(result.out) <= 2 * MIB


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5"])
def test_hash(image, disk, algorithm):
    said = run(f"platter hash --algorithm {algorithm} {image}").out
    assert said == f"{digest(disk, algorithm)}  {image}\n"


def test_hash_several_at_once(image, disk):
    said = run(f"platter hash --algorithm md5 --algorithm sha1 --algorithm sha256 {image}").out
    assert said.splitlines() == [
        f"{name.upper()} ({image}) = {digest(disk, name)}" for name in ("md5", "sha1", "sha256")]


def test_hash_one_partition(image, disk):
    start, size = PARTITIONS_OF_THAT_DISK[1]
    said = run(f"platter hash --partition 1 {image}").out
    assert said.split()[0] == digest(disk, offset=start, length=size)


def test_hash_shows_progress_on_a_terminal_only(home):
    sparse_file("large.img", 1 << 30)
    ours, theirs = pty.openpty()
    process = start("platter hash large.img", stderr=theirs, stdout=-1)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # EIO: the terminal's last user is gone.
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(60) == 0
    assert re.search(rb"hash large\.img  \d+%  .*/s  \d+ s left", shown), shown
    # And silence where nobody looks: `run` gives it a pipe.
    assert run(f"platter hash --algorithm md5 {session.platter}").err == ""


# Split and fixed images; formats by name


def test_split_image(disk):
    run(f"split -b 33000000 -d -a 3 {disk} disk.; split -b 33000000 {disk} letters.")
    for first in ("disk.000", "letters.aa"):
        run(f"platter cat {first} | cmp - {disk}")
        report = info(first)
        assert (report["format"], report["subformat"]) == ("raw", "split")
        with mounted(first, at=f"mnt-{first}") as mnt:
            run(f"cmp {mnt}/disk {disk}")
    assert info("disk.000", "--format raw")["virtualSize"] == 33_000_000


def test_split_vhd(vhd, disk):
    """The parts in a row are the image, whatever its format."""
    run(f"split -b 5000000 -d -a 3 {vhd} disk.vhd.")
    run(f"platter cat disk.vhd.000 | cmp - {disk}")


def test_fixed_vhd():
    content = noise(5, 3 * MIB)
    fixed_vhd("disk.vhd", content)
    assert run("platter hash disk.vhd").out.split()[0] == hashlib.sha256(content).hexdigest()
    assert info("disk.vhd")["subformat"] == "fixed"
    assert info("disk.vhd", "--format vpc")["format"] == "vhd"


# Help


VERBS = ["mount", "unmount", "list", "info", "map", "cat", "hash"]


def test_help_lists_the_verbs():
    said = run("platter --help").out
    for verb in VERBS:
        assert re.search(rf"^  {verb}\b", said, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    said = run(f"platter {verb} --help").out
    assert re.search(rf"Examples?:.*\$ platter {verb}", said, re.DOTALL)
    assert run(f"platter help {verb}").out == said


@pytest.mark.parametrize("command", ["", "frobnicate", "info", "info --frobnicate x", "cat a b",
                                     "hash --algorithm crc32 x", "mount --cache=some x"])
def test_wrong_words_are_answered_with_the_usage(command):
    result = attempt(f"platter {command}")
    if command == "":
        assert result.status == 0 and "SUBCOMMANDS" in result.out
    else:
        assert result.status == 64 and "Usage: platter" in result.err and result.out == ""


def test_json_is_json(disk):
    with mounted(disk):
        for command in (f"info --json {disk}", f"map --json {disk}", "list --json"):
            assert json.loads(run(f"platter {command}").out)["version"] == 1
