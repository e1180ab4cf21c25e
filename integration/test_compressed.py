"""Images in gzip, xz, zstd, bzip2 and LZ4: as if they were not compressed."""

import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from support.files import MIB, digest, noise, read_at, write_at
from support.session import SOAK
from support.shell import attempt, eventually, mounted, needs, refused, run, start

pytestmark = needs("gzip", "xz", "zstd", "bzip2", "lz4")

TOOLS = {"gz": "gzip -1 -c", "xz": "xz -0 -c", "zst": "zstd -q -c", "bz2": "bzip2 -c",
         "lz4": "lz4 -q -c"}


@pytest.fixture(params=TOOLS)
def packed(request, disk, library):
    """The disk, which is sparse, compressed."""
    path = library / f"disk.img.{request.param}"
    if not path.exists():
        run(f"{TOOLS[request.param]} {disk} > {path}")
    return path


def info(image):
    return json.loads(run(f"platter info --json {image}").out)


def test_shows_what_is_inside(packed, disk):
    plain, found = info(disk), info(packed)
    for field in ("format", "virtualSize", "partitionTable", "partitions", "fileSystem"):
        assert found.get(field) == plain.get(field), field
    assert found["chain"][0]["containers"][0]["size"] == os.stat(disk).st_size
    assert run(f"platter hash {packed}").out.split()[0] == digest(disk)
    with mounted(packed) as mnt:
        assert os.stat(mnt / "disk").st_size == os.stat(disk).st_size
        assert {"p1", "p2"} <= set(os.listdir(mnt))
        run(f"cmp {disk} {mnt}/disk")
    assert info(packed)["chain"][0]["containers"][0]["sizeExact"]


def test_as_it_stands(packed):
    assert run(f"platter hash --format raw {packed}").out.split()[0] == digest(packed)


@needs("qemu-img")
def test_overlay(packed, disk, home):
    base = home / packed.name
    shutil.copy(packed, base)
    with mounted(base, "--overlay work.qcow2") as mnt:
        write_at(mnt / "disk", 3 * MIB + 5, b"written")
        # The stored file is locked.
        assert attempt(f"qemu-io -f raw -c quit {base}").status != 0
    with mounted(base, "--overlay work.qcow2") as mnt:
        assert read_at(mnt / "disk", 3 * MIB + 5, 7) == b"written"
        start = info(disk)["partitions"][0]["start"]
        assert read_at(mnt / "p1", 0, 512) == read_at(disk, start, 512)
    assert digest(base) == digest(packed)
    # The overlay alone leads to its base.
    assert info("work.qcow2")["chain"][1]["containers"][0]["format"]
    # QEMU would take the compressed bytes for the disk.
    assert attempt("qemu-img convert -O raw work.qcow2 out.img").status != 0
    # The stored file is what the overlay belongs to.
    with open(base, "ab") as file:
        file.write(bytes(8))
    refused(f"platter mount --overlay work.qcow2 {base} mnt", "is not what it was")


def test_cannot_be_written_in_place(packed, home):
    (home / "mnt").mkdir()
    refused(f"platter mount --write {packed} mnt", "--overlay FILE")


def bomb(path, mebibytes, head=b""):
    """gzip of so many MiB, which begin with `head` and are zeros otherwise: one piece again and again, each of
    which stands alone."""
    def piece(content):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)

    first, zeros = head.ljust(MIB, b"\0"), piece(bytes(MIB))
    checksum = zlib.crc32(first)
    for _ in range(mebibytes - 1):
        checksum = zlib.crc32(bytes(MIB), checksum)
    with open(path, "wb") as file:
        file.write(bytes.fromhex("1f8b0800000000000003") + piece(first))
        for _ in range(mebibytes - 1):
            file.write(zeros)
        file.write(zlib.compressobj(9, zlib.DEFLATED, -15).flush())
        file.write(checksum.to_bytes(4, "little") + (mebibytes * MIB % 2**32).to_bytes(4, "little"))


def test_bomb(home):
    """4 MB that inflates to 4 GiB: its first byte at once, no file on the way."""
    bomb("bomb.gz", 4096)
    assert os.stat("bomb.gz").st_size < 5 * MIB
    begin = time.monotonic()
    with mounted("bomb.gz") as mnt:
        assert read_at(mnt / "disk", 0, 4096) == bytes(4096)
        first = time.monotonic() - begin
        assert os.stat(mnt / "disk").st_size == 4096 * MIB
        daemon = json.loads((mnt / "status.json").read_text())["daemonPid"]
        files = [os.readlink(f"/proc/{daemon}/fd/{name}")
                 for name in os.listdir(f"/proc/{daemon}/fd")]
        assert not [name for name in files if "deleted" in name]
    # 0.2 s on a machine that does nothing else.
    assert first < 1.0, first


# LZ4 without checksums of its blocks knows of a bad one only by the sum of all.
@pytest.mark.parametrize("tool", [*list(TOOLS.values())[:-1], "lz4 -q -c -BX"])
def test_damage(tool, home):
    """EIO for what a bad byte touches; what is before it can be read."""
    content = noise(5, 12 * MIB)
    (home / "disk.img").write_bytes(content)
    run(f"{tool} disk.img > packed")
    middle = os.stat("packed").st_size // 2
    byte = read_at("packed", middle, 1)[0]
    write_at("packed", middle, bytes([byte ^ 4]))
    with mounted("packed") as mnt:
        assert read_at(mnt / "disk", 0, 4 * MIB) == content[:4 * MIB]
        status = json.loads((mnt / "status.json").read_text())
        if tool.startswith("bzip2"):
            # Nothing but its end would have said how large it was.
            assert any("before damage" in note for note in status["notes"])
        else:
            with pytest.raises(OSError), open(mnt / "disk", "rb") as view:
                while view.read(MIB):
                    pass
    refused("platter hash packed", "packed", "at byte")


def test_index_is_kept(home):
    """A second mount knows where to begin, and how large the disk is."""
    (home / "disk.img").write_bytes(noise(6, 16 * MIB))
    run("bzip2 -c disk.img > disk.img.bz2")
    run("platter hash disk.img.bz2")
    # By what the file is, not by where.
    os.rename("disk.img.bz2", "other.bz2")
    found = info("other.bz2")["chain"][0]["containers"][0]
    assert found["sizeExact"] and int(found["details"]["entry points"]) > 10
    with mounted("other.bz2") as mnt:
        assert read_at(mnt / "disk", 15 * MIB, 100) == read_at("disk.img", 15 * MIB, 100)


def test_a_long_way_is_shown_and_ends_with_the_mount(home):
    """The far end of a stream without entry points: status.json says how far it is, and who unmounts does
    not wait for it."""
    # Six bits of every byte are noise: what takes xz longest. So long that mounting it does not look at
    # its end.
    Path("far.img").write_bytes(noise(5, 56 * MIB).translate(bytes(range(64)) * 4))
    run("xz -0 -T1 far.img")
    mount = run("mkdir mnt && platter mount far.img.xz mnt && echo mounted")
    assert mount.out == "mounted\n"
    reader = start("exec dd if=mnt/disk bs=4096 skip=14000 count=1 of=taken", stderr=subprocess.DEVNULL)

    def way():
        container, = json.loads(Path("mnt/status.json").read_text())["containers"]
        return container.get("target", 0)

    assert eventually(lambda: way() > 50 * MIB)
    reader.kill()
    begin = time.monotonic()
    run("platter unmount mnt")
    assert time.monotonic() - begin < 1
    reader.wait()


def status(mnt):
    return json.loads(Path(mnt, "status.json").read_text())


@needs("sfdisk")
def test_mounting_goes_not_far(home):
    """The backup of a partition table is at the end of a disk of 3 GiB."""
    with open("disk.img", "wb") as file:
        file.truncate(3072 * MIB)
    run("sfdisk -q disk.img", input=b"label: gpt\nstart=2048, size=2048\nsize=4096000, name=far\n")
    bomb("disk.img.gz", 3072, read_at("disk.img", 0, MIB))
    begin = time.monotonic()
    with mounted("disk.img.gz") as mnt:
        ready = time.monotonic() - begin
        assert {"p1", "p2", "by-label"} <= set(os.listdir(mnt))
        assert os.readlink(mnt / "by-partlabel" / "far") == "../p2"
        assert os.stat(mnt / "p2").st_size == 4096000 * 512
        assert status(mnt)["blockCache"]["misses"] <= 2
        assert read_at(mnt / "p1", 0, 4096) == bytes(4096)
    # 0.2 s on a machine that does nothing else.
    assert ready < 1.0, ready


def test_list_says_how_often_blocks_were_found(home):
    (home / "disk.img").write_bytes(noise(3, 3 * MIB))
    run("gzip -1 disk.img")
    with mounted("disk.img.gz") as mnt:
        run(f"cat {mnt}/disk > /dev/null")
        figures = status(mnt)["blockCache"]
        assert figures["hits"] > figures["misses"] > 0
        head, row = run("platter list").out.splitlines()
        assert "CACHE" in head.split()
        share = figures["hits"] * 100 // (figures["hits"] + figures["misses"])
        assert f" {share} %" in row, row


# What gzip makes small, so that there is only the length of the last member to go by; and what it does not make
# smaller: too much for that length, so that 4 GiB more are shown.
@pytest.mark.parametrize("cache, period, times", [
    ("kernel", 1009, 60000), ("none", 1009, 60000), ("kernel", 9 * MIB, 4)])
def test_a_wrong_guess(cache, period, times, home):
    """gzip says the length of its last member, mod 4 GiB. So long that mounting does not look at its end."""
    content = noise(4, period) * times + b"the end"
    for number, part in enumerate([content[:3 * MIB + 100], content[3 * MIB + 100:]]):
        Path(f"part{number}").write_bytes(part)
    run("gzip -1 part0 part1 && cat part0.gz part1.gz > packed")
    with mounted("packed", f"--cache={cache}") as mnt:
        container, = status(mnt)["containers"]
        shown = os.stat(mnt / "disk").st_size
        last = len(content) - 3 * MIB - 100
        assert shown == (last if period < MIB else last + 4096 * MIB)
        assert not container["sizeExact"] and container["size"] == shown
        with open(mnt / "disk", "rb", buffering=0) as before:
            # Whoever comes to the end that is shown is not told of it before it is known to be one.
            run(f"cat {mnt}/disk > taken")
            assert digest("taken") == hashlib.sha256(content).hexdigest()
            assert os.fstat(before.fileno()).st_size == len(content)
            before.seek(-7, os.SEEK_END)
            assert before.read() == b"the end"
        assert os.stat(mnt / "disk").st_size == len(content)
        now = status(mnt)
        assert now["containers"][0]["sizeExact"] and now["virtualSize"] == len(content)
        assert not [note for note in now["notes"] if "certain" in note or "longer" in note]
    with mounted("packed") as mnt:
        assert status(mnt)["containers"][0]["sizeExact"]


def partitioned(size, sectors):
    """A disk of noise with an MBR whose one partition has so many sectors."""
    entry = struct.pack("<B3xB3xII", 0, 0x83, 2048, sectors)
    boot = bytes(440) + b"mbr!" + bytes(2) + entry + bytes(48) + b"\x55\xaa"
    return boot + noise(7, size - 512)


def test_a_guess_that_was_too_large(home):
    """A partition table that promises more than there is."""
    content = partitioned(5 * MIB + 512, 60 * 2048)
    Path("disk.img").write_bytes(content)
    run("bzip2 disk.img")
    with mounted("disk.img.bz2") as mnt:
        assert os.stat(mnt / "disk").st_size == 61 * MIB
        assert os.stat(mnt / "p1").st_size == 60 * MIB
        assert not status(mnt)["containers"][0]["sizeExact"]
        with open(mnt / "p1", "rb", buffering=0) as before:
            run(f"cat {mnt}/disk > taken")
            assert digest("taken") == hashlib.sha256(content).hexdigest()
            assert os.stat(mnt / "disk").st_size == len(content)
            assert os.stat(mnt / "p1").st_size == len(content) - MIB
            assert os.fstat(before.fileno()).st_size == len(content) - MIB
            before.seek(4 * MIB)
            assert before.read(4096) == content[5 * MIB:]
        now = status(mnt)
        assert now["containers"][0]["sizeExact"] and now["virtualSize"] == len(content)
        assert any("end of the disk" in note for note in now["notes"]), now["notes"]


def test_a_guess_in_a_files_place(home):
    content = noise(4, 1009) * 60000
    Path("a").write_bytes(content[:3 * MIB])
    Path("b").write_bytes(content[3 * MIB:])
    run("gzip -1 a b && cat a.gz b.gz > packed && touch view")
    with mounted("packed", at="view") as view:
        run(f"cat {view} > taken")
        assert digest("taken") == hashlib.sha256(content).hexdigest()
        assert os.stat(view).st_size == len(content)


@pytest.mark.skipif(not SOAK, reason="decodes 4 GiB")
def test_a_size_mod_4_gib(home):
    bomb("packed", 4096 + 8)
    with mounted("packed") as mnt:
        assert os.stat(mnt / "disk").st_size == 8 * MIB
        assert run(f"cat {mnt}/disk | wc -c").out.strip() == str((4096 + 8) * MIB)


@pytest.mark.parametrize("cache, deadly", [
    ("kernel", signal.SIGKILL), ("kernel", signal.SIGINT), ("none", signal.SIGKILL), ("none", signal.SIGINT)])
def test_who_is_killed_does_not_wait(cache, deadly, home):
    """A jump to the far end of a long stream: everybody else goes on, and it ends with the last who waits."""
    bomb("far.gz", 4096, noise(8, MIB))

    def reader():
        return start("exec tail -c 4096 mnt/disk > /dev/null", stderr=subprocess.DEVNULL)

    def way():
        container, = status("mnt")["containers"]
        return container.get("decoded", 0)

    def within(seconds, action):
        begin = time.monotonic()
        result = action()
        took = time.monotonic() - begin
        assert took < seconds, f"took {took:.2f} s"
        return result

    with mounted("far.gz", f"--cache={cache}") as mnt:
        beginning = read_at(mnt / "disk", 0, 4096)
        first, second = reader(), reader()
        assert eventually(lambda: way() > 8 * MIB, within=5)
        within(0.5, lambda: os.listdir(mnt))
        within(0.5, lambda: os.stat(mnt / "disk"))
        within(0.5, lambda: run("platter list"))
        assert within(0.5, lambda: read_at(mnt / "disk", 4096, 4096)) != beginning
        os.kill(first.pid, deadly)
        within(0.5, first.wait)
        # The other one still waits.
        reached = way()
        assert reached and eventually(lambda: way() > reached)
        os.kill(second.pid, deadly)
        within(0.5, second.wait)
        assert eventually(lambda: way() == 0, within=0.5), "goes on though nobody waits"
        # What was passed is known: it goes on from there.
        third = reader()
        assert eventually(lambda: way() > 0)
        assert way() >= reached
        third.kill()
        third.wait()


def test_map_says_compressed(home):
    Path("disk.img").write_bytes(noise(9, MIB))
    run("xz -0 disk.img")
    found, = json.loads(run("platter map --json disk.img.xz").out)["ranges"]
    assert found["type"] == "compressed" and found["length"] == MIB and "fileOffset" not in found


def streams(mnt):
    now = status(mnt)
    return now["spill"], now["containers"][0]["bytesDecoded"]


@pytest.mark.parametrize("tool", ["xz -0 -T1 -c", "zstd -q -c"])
def test_spill(tool, home):
    """What was decoded once is not decoded again, and nothing is left of where it was."""
    size = 24 * MIB
    (home / "disk.img").write_bytes(noise(8, size // 2) + bytes(MIB) + noise(9, size // 2 - MIB))
    content = (home / "disk.img").read_bytes()
    run(f"{tool} disk.img > packed")
    # As in a random order: the far end first.
    places = [(7 * step % 24) * MIB + 4096 for step in range(23, -1, -1)]
    with mounted("packed", "--cache=none --cache-size=1M --spill=64M") as mnt:
        for _ in range(4):
            for place in places:
                assert read_at(mnt / "disk", place, 4096) == content[place:place + 4096]
        # What came by faster than it could be written is not there.
        assert eventually(lambda: size // 2 <= streams(mnt)[0]["bytes"] <= size - MIB)
        spill, decoded = streams(mnt)
        assert spill["capacity"] == 64 * MIB and "failure" not in spill
        for place in places:
            assert read_at(mnt / "disk", place, 4096) == content[place:place + 4096]
        after, again = streams(mnt)
        # Less than one pass; without, it is one for every two or three of these places.
        assert again - decoded <= size
        assert after["reads"] >= spill["reads"] + len(places) // 2
        daemon = json.loads((mnt / "status.json").read_text())["daemonPid"]
        files = [os.readlink(f"/proc/{daemon}/fd/{name}")
                 for name in os.listdir(f"/proc/{daemon}/fd")]
        file, = [name for name in files if "/platter-spill-" in name]
        assert file.endswith(" (deleted)") and not os.path.exists(file.removesuffix(" (deleted)"))


def test_spill_is_bounded(home):
    (home / "disk.img").write_bytes(noise(10, 12 * MIB))
    run("xz -0 -T1 disk.img && truncate -s 4M plain.img")
    with mounted("disk.img.xz", "--cache=none --cache-size=1M --spill=3M") as mnt:
        for step in range(36):
            assert len(read_at(mnt / "disk", 5 * step % 12 * MIB, 4096)) == 4096
        spill, _ = streams(mnt)
        assert 0 < spill["bytes"] <= 3 * MIB
    with mounted("plain.img", "--spill") as mnt:
        now = status(mnt)
        assert "spill" not in now
        assert any("--spill has nothing to do" in note for note in now["notes"])
