"""Overlays without a mount: read, told about, thrown away, tied again, put into the base."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.files import MIB, digest, noise, read_at, sparse_file, write_at
from support.overlays import check, content, mark_of, said
from support.session import SOAK
from support.shell import eventually, mounted, needs, refused, run, session, start
from support.work import P1, P2, small_disk, status


def changed_disk(image, overlay="w.qcow2"):
    """An overlay with something in both partitions and outside them; gives the disk's digest."""
    with mounted(image, f"--overlay {overlay}") as mnt:
        write_at(mnt / "p1", 10_000, noise(1, 20_000))
        write_at(mnt / "p2", 0, b"mine")
        write_at(mnt / "disk", 600, b"outside")
        return digest(mnt / "disk")


def odd_images():
    """Bases that QEMU does not read as Platter does, and sizes that are not whole sectors."""
    Path("odd.img").write_bytes(noise(5, 100_001))
    yield "odd.img"
    for number in range(3):
        Path(f"split.00{number + 1}").write_bytes(noise(number, 70_000 + number))
    yield "split.001"
    for kind, name in (("vmdk", "a.vmdk"), ("qcow2", "a.qcow2"), ("parallels", "a.hds"),
                       ("qed", "a.qed"), ("vpc", "a.vhd")):
        run(f"qemu-img convert -f raw -O {kind} odd.img {name}")
        yield name


# Offline


@needs("qemu-img")
def test_an_overlay_is_an_image(home):
    """Of any base, in any place: what the mount showed is what every verb reads, to the byte."""
    for image in odd_images():
        os.makedirs("below", exist_ok=True)
        for overlay in (f"{image}.qcow2", f"below/{image}.qcow2"):
            with mounted(image, f"--overlay {overlay}") as mnt:
                size = os.stat(mnt / "disk").st_size
                write_at(mnt / "disk", size - 3, b"end")
                write_at(mnt / "disk", 69_990, b"across the two parts")
                whole = digest(mnt / "disk")
            options = "--allow-path ." if "/" in overlay else ""
            assert content(overlay, options) == whole, overlay
            info = json.loads(run(f"platter info --json {options} {overlay}").out)
            assert info["virtualSize"] == size
            assert info["format"] == "qcow2"
            assert info["chain"][1]["virtualSize"] == size
            ranges = json.loads(run(f"platter map --json {options} {overlay}").out)["ranges"]
            assert sum(part["length"] for part in ranges) == size
            with mounted(overlay, options) as mnt:
                assert digest(mnt / "disk") == whole
            # And where the base is given by hand.
            assert content(overlay, f"--parent {image}") == whole


@needs("qemu-img")
def test_an_overlay_on_an_overlay(home):
    image = small_disk()
    one = changed_disk(image)
    before = digest("w.qcow2")
    with mounted("w.qcow2", "--overlay top.qcow2") as mnt:
        assert digest(mnt / "disk") == one
        write_at(mnt / "p2", 2, b"more")
        two = digest(mnt / "disk")
    assert digest("w.qcow2") == before
    assert content("top.qcow2") == two and content() == one
    run("qemu-img convert -O raw top.qcow2 plain.raw && qemu-img check top.qcow2")
    assert digest("plain.raw") == two
    assert [layer["path"] for layer in said("top.qcow2")["chain"]] == [
        "top.qcow2", "./w.qcow2", "./small.img"]
    # The base of a base has changed: whoever stands on it hears of it.
    write_at(image, 5, b"changed")
    assert said("top.qcow2")["base"]["state"] == "changed"


@needs("qemu-img")
def test_an_overlay_of_a_snapshot_says_so(home):
    run("qemu-img create -q -f qcow2 base.qcow2 1M && qemu-io -c 'write -P 1 0 64k' base.qcow2 && "
        "qemu-img snapshot -c old base.qcow2 && qemu-io -c 'write -P 2 0 64k' base.qcow2")
    with mounted("base.qcow2", "--snapshot old --overlay w.qcow2") as mnt:
        write_at(mnt / "disk", 100, b"mine")
    refused("platter info w.qcow2", "--snapshot")
    refused("platter mount --overlay w.qcow2 base.qcow2", "--snapshot")
    with mounted("base.qcow2", "--snapshot old --overlay w.qcow2") as mnt:
        assert read_at(mnt / "disk", 98, 7) == b"\1\1mine\1"


# Status and diff


def test_status(home):
    image = small_disk()
    changed_disk(image)
    told = said()
    assert told["version"] == 1 and told["state"] == "clean" and told["virtualSize"] == MIB
    assert told["base"] == {"name": "small.img", "format": "raw", "path": "./small.img",
                            "state": "same"}
    # 20,000 bytes lie in 6 blocks of 4 KiB or 5; the other two are one each.
    assert told["changedBytes"] in (7 * 4096, 8 * 4096) and told["zeroBytes"] == 0
    assert "as it was" in run("platter overlay status w.qcow2").out
    with mounted(image, "--overlay w.qcow2") as mnt:
        assert said()["state"] == "mounted"
        for verb in ("discard", "commit"):
            refused(f"platter overlay {verb} w.qcow2", "mounted", mnt)
        refused(f"platter overlay relink w.qcow2 {image}", "mounted", mnt)
        os.kill(status(mnt)["daemonPid"], signal.SIGKILL)
        assert eventually(lambda: not session.mounts() and not session.processes())
    assert said()["state"] == "leftOpen"
    run("touch small.img")
    assert said()["base"]["state"] == "touched"
    write_at(image, 5, b"changed")
    told = said()["base"]
    assert told["state"] == "changed" and "small.img" in told["reason"]
    os.rename(image, "moved.img")
    told = said()
    assert told["base"]["state"] == "unavailable" and "small.img" in told["base"]["reason"]
    assert said(options="--base moved.img")["base"]["path"] == "moved.img"
    refused("platter overlay status moved.img", "not a qcow2 file")
    for verb in ("status", "diff", "discard", "commit", "relink"):
        assert "platter overlay" in run(f"platter overlay {verb} --help").out


def test_diff(home):
    image = small_disk()
    changed_disk(image)
    with mounted(image, "--overlay w.qcow2") as mnt:
        # Written, and the same as before: no difference.
        write_at(mnt / "p2", 300_000, bytes(50_000))
    told = json.loads(run("platter overlay diff --json w.qcow2").out)
    run("platter cat w.qcow2 > now.img")
    now, before = Path("now.img").read_bytes(), Path(image).read_bytes()
    expected = set(place // 512 for place in range(MIB) if now[place] != before[place])
    found = set()
    for part in told["ranges"]:
        sectors = range(part["start"] // 512, (part["start"] + part["length"]) // 512)
        found.update(sectors)
        inside = {number: start for number, (start, size) in ((1, P1), (2, P2))
                  if start <= part["start"] < start + size}
        assert part.get("partition") == next(iter(inside), None)
        if inside:
            assert part["offset"] == part["start"] - inside[part["partition"]]
    assert found == expected
    assert {part.get("partition") for part in told["ranges"]} == {None, 1, 2}
    text = run("platter overlay diff w.qcow2").out
    assert "p2        512 bytes differ" in text and "outside   512 bytes differ" in text
    run("platter overlay discard w.qcow2")
    assert json.loads(run("platter overlay diff --json w.qcow2").out)["ranges"] == []


# Discard and relink


@needs("qemu-img")
def test_discard(home):
    image = small_disk()
    whole = changed_disk(image)
    assert content() == whole
    run("platter overlay discard w.qcow2")
    assert content() == digest(image)
    assert said()["changedBytes"] == 0 and said()["state"] == "clean"
    check()
    assert changed_disk(image) == whole
    refused(f"platter overlay discard {image}", "not a qcow2 file")


@needs("qemu-img")
def test_discard_interrupted(home):
    """Killed at any moment: all of the changes are there, or none."""
    image = small_disk()
    before, whole = digest(image), changed_disk(image)
    shutil.copy("w.qcow2", "w.pristine")
    rng = random.Random(2)
    begin = time.monotonic()
    run("platter overlay discard w.qcow2")
    longest = time.monotonic() - begin
    seen = set()
    for number in range(1000 if SOAK else 20):
        shutil.copy("w.pristine", "w.qcow2")
        process = start("exec platter overlay discard w.qcow2", stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, longest))
        process.kill()
        process.wait()
        seen.add(content())
        check()
    assert seen <= {whole, before}
    run("platter overlay discard w.qcow2")
    assert changed_disk(image) == whole


def test_relink(home):
    image = small_disk()
    whole = changed_disk(image)
    os.makedirs("elsewhere")
    os.rename(image, "elsewhere/renamed.img")
    refused("platter info w.qcow2", "small.img")
    run("platter overlay relink w.qcow2 elsewhere/renamed.img")
    assert content() == whole and said()["base"]["name"] == "elsewhere/renamed.img"
    run("touch elsewhere/renamed.img && platter overlay relink w.qcow2 elsewhere/renamed.img")
    assert said()["base"]["state"] == "same"
    shutil.copy("elsewhere/renamed.img", "other.img")
    write_at("other.img", 7, b"changed")
    refused("platter overlay relink w.qcow2 other.img", "other.img", "--force-base")
    run("platter overlay relink --force-base w.qcow2 other.img")
    assert said()["base"]["state"] == "same" and said()["base"]["name"] == "other.img"
    run("truncate -s 2M larger.img")
    refused("platter overlay relink --force-base w.qcow2 larger.img", "2097152")
    refused("platter overlay relink w.qcow2 w.qcow2", "its own base")


# Commit


def flat_base(kind, size=MIB):
    if kind == "raw":
        Path("base").write_bytes(noise(8, size - 100))
    elif kind == "split":
        for number in range(2):
            Path(f"base.00{number + 1}").write_bytes(noise(number, size // 2 - number * 100))
        return "base.001"
    else:
        Path("plain").write_bytes(noise(8, size))
        option = {"vpc": "subformat=fixed,force_size=on", "vmdk": "subformat=monolithicFlat"}[kind]
        name = {"vpc": "base.vhd", "vmdk": "base.vmdk"}[kind]
        run(f"qemu-img convert -f raw -O {kind} -o {option} plain {name}")
        return name
    return "base"


@needs("qemu-img")
@pytest.mark.parametrize("kind", ["raw", "vpc", "vmdk", "split"])
def test_commit(home, kind):
    image = flat_base(kind)
    with mounted(image, "--overlay w.qcow2") as mnt:
        size = os.stat(mnt / "disk").st_size
        write_at(mnt / "disk", 5, b"mine")
        write_at(mnt / "disk", size // 2 - 2000, noise(3, 10_000))
        write_at(mnt / "disk", size - 3, b"end")
        run(f"fallocate -p -o 65536 -l 131072 {mnt}/disk")
        whole = digest(mnt / "disk")
    run("platter overlay commit w.qcow2")
    assert content(image) == whole and content() == whole
    told = said()
    assert told["changedBytes"] == 0 and told["state"] == "clean"
    assert told["base"]["state"] == "same"
    check()
    with mounted(image, "--overlay w.qcow2") as mnt:
        assert status(mnt)["notes"] == []
        write_at(mnt / "disk", 0, b"again")
    run("platter overlay commit w.qcow2")
    run(f"platter cat {image} > now.img")
    assert read_at("now.img", 0, 5) == b"again"


@needs("qemu-img")
def test_commit_of_what_was_left_open(home):
    image = small_disk()
    with mounted(image, "--overlay w.qcow2") as mnt:
        with open(mnt / "p1", "r+b") as file:
            file.write(noise(1, 50_000))
            os.fsync(file.fileno())
        whole = digest(mnt / "disk")
        os.kill(status(mnt)["daemonPid"], signal.SIGKILL)
        assert eventually(lambda: not session.mounts() and not session.processes())
    assert said()["state"] == "leftOpen"
    run("platter overlay commit w.qcow2")
    assert digest(image) == whole and said()["state"] == "clean"
    check()


@needs("qemu-img")
def test_commit_is_refused(home):
    image = small_disk()
    whole = changed_disk(image)
    before = digest(image)
    # Somebody uses the base, even to read.
    with mounted(image):
        refused("platter overlay commit w.qcow2", image, "open")
    with mounted(image, "--overlay other.qcow2"):
        refused("platter overlay commit w.qcow2", image, "open")
    write_at(image, 5, b"changed")
    refused("platter overlay commit w.qcow2", image, "--force-base")
    assert said()["state"] == "clean"
    write_at(image, 5, bytes(7))
    assert digest(image) == before and content() == whole
    run(f"qemu-img convert -f raw -O vpc -o force_size=on {image} growing.vhd")
    changed_disk("growing.vhd", "v.qcow2")
    refused("platter overlay commit v.qcow2", "growing.vhd", "flat", "platter cat")
    # A qcow2 base that is in use, or that cannot be written to.
    changed_disk("w.qcow2", "top.qcow2")
    with mounted("w.qcow2"):
        refused("platter overlay commit top.qcow2", "w.qcow2", "open")
    with mounted(image, "--overlay w.qcow2"):
        refused("platter overlay commit top.qcow2", "w.qcow2", "open")
    run(f"qemu-img convert -f raw -O qcow2 -o compat=0.10 {image} old.qcow2")
    changed_disk("old.qcow2", "x.qcow2")
    refused("platter overlay commit x.qcow2", "old.qcow2", "qemu-img amend")
    run("qemu-img amend -f qcow2 -o compat=1.1 old.qcow2")
    # Its header is another one now.
    refused("platter overlay commit x.qcow2", "--force-base")
    run("platter overlay commit --force-base x.qcow2")
    assert content("old.qcow2") == whole


@needs("qemu-img")
def test_commit_interrupted(home):
    """Killed at any moment: the disk reads the same throughout, and the next one finishes it."""
    size = 24 * MIB
    rng = random.Random(1)
    sparse_file("pristine.img", size)
    for place in range(0, size, 2 * MIB):
        write_at("pristine.img", place, noise(place, 300_000))
    shutil.copy("pristine.img", "base.img")
    with mounted("base.img", "--overlay w.qcow2") as mnt:
        for number in range(80):
            write_at(mnt / "disk", rng.randrange(size - 200_000), noise(number, 200_000))
        run(f"fallocate -p -o 4194304 -l 1048576 {mnt}/disk")
        # The first sample of the base is changed, and the last.
        write_at(mnt / "disk", 100, b"mine")
        write_at(mnt / "disk", size - 100, b"mine")
        whole = digest(mnt / "disk")
    mark = mark_of("w.qcow2")
    shutil.copy("w.qcow2", "w.pristine")

    def commit(seconds=None):
        """Kills a commit so long after its mark was seen; gives how long that was there."""
        process = start("exec platter overlay commit w.qcow2", stderr=subprocess.DEVNULL)
        while process.poll() is None and read_at("w.qcow2", mark, 8)[7] != 2:
            pass
        begin = time.monotonic()
        while process.poll() is None and read_at("w.qcow2", mark, 8)[7] == 2:
            if seconds is not None and time.monotonic() - begin >= seconds:
                process.kill()
        process.wait()
        return time.monotonic() - begin

    longest = commit()
    assert digest("base.img") == whole and said()["state"] == "clean"
    interrupted = partly = 0
    for number in range(1000 if SOAK else 20):
        # The copy has another time of modification, and is the same.
        shutil.copy("pristine.img", "base.img")
        shutil.copy("w.pristine", "w.qcow2")
        for _ in range(2):
            # Most of the time goes into the flush of the base.
            commit(longest * rng.random() ** 3)
            if said()["state"] == "committing":
                interrupted += 1
                partly += digest("base.img") != whole
                if number % 4 == 0:
                    check()
                    assert content() == whole
                    refused("platter overlay discard w.qcow2", "overlay commit")
                    refused("platter overlay relink --force-base w.qcow2 base.img",
                            "overlay commit")
                    refused("platter mount --overlay w.qcow2 base.img", "overlay commit")
        run("platter overlay commit w.qcow2")
        assert digest("base.img") == whole and content() == whole
        assert said()["state"] == "clean" and said()["changedBytes"] == 0
        check()
    assert interrupted >= 10 and partly >= 3, (interrupted, partly)


def test_another_base_after_an_interruption(home):
    """What the commit does not explain is still refused."""
    size = 8 * MIB
    Path("base.img").write_bytes(noise(1, size))
    with mounted("base.img", "--overlay w.qcow2") as mnt:
        write_at(mnt / "disk", 0, noise(2, 4096))
        whole = digest(mnt / "disk")
    # As a commit leaves it that was cut off: bit 1 of the state.
    write_at("w.qcow2", mark_of("w.qcow2"), (2).to_bytes(8, "big"))
    write_at("base.img", 0, noise(2, 4096)[:1000])
    assert said()["state"] == "committing" and content() == whole
    last = read_at("base.img", size - 10, 1)
    write_at("base.img", size - 10, bytes([last[0] ^ 1]))
    refused("platter overlay commit w.qcow2", "base.img", "--force-base")
    write_at("base.img", size - 10, last)
    run("platter overlay commit w.qcow2")
    assert digest("base.img") == whole and said()["state"] == "clean"
