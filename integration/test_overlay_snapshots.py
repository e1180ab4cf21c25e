"""Snapshots inside an overlay: made, shown, gone back to, deleted; with QEMU; killed at any moment."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

from support.files import MIB, digest, noise, read_at, sparse_file, write_at
from support.overlays import check, said
from support.session import SOAK
from support.shell import (
    attempt, eventually, mounted, needs, quoted, refused, run, session, start)
from support.work import P2, small_disk


def listed(overlay="w.qcow2"):
    return json.loads(run(f"platter overlay snapshot list --json {overlay}").out)["snapshots"]


def names(overlay="w.qcow2"):
    return [entry["name"] for entry in listed(overlay)]


def content(overlay="w.qcow2", snapshot=None):
    option = "" if snapshot is None else f"--snapshot {quoted(snapshot)}"
    return run(f"platter hash {option} {overlay}").out.split()[0]


def snapshot(verb, name, overlay="w.qcow2"):
    run(f"platter overlay snapshot {verb} {overlay} {quoted(name)}")


def changed(image, place, data, overlay="w.qcow2"):
    """Writes into partition 2 and gives the disk's digest."""
    with mounted(image, f"--overlay {overlay}") as mnt:
        write_at(mnt / "p2", place, data)
        return digest(mnt / "disk")


@needs("qemu-img")
def test_snapshots(home):
    image = small_disk()
    before = digest(image)
    one = changed(image, 5000, noise(1, 50_000))
    assert run("platter overlay snapshot list w.qcow2").out == "no snapshots\n"
    begin = int(time.time())
    snapshot("create", "erster Stand")
    two = changed(image, 20_000, noise(2, 70_000))
    snapshot("create", "two")
    three = changed(image, 0, noise(3, 30_000))
    check()
    entries = listed()
    assert [entry["name"] for entry in entries] == ["erster Stand", "two"]
    assert [entry["identifier"] for entry in entries] == ["1", "2"]
    assert all(begin <= entry["created"] <= time.time() for entry in entries)
    assert all(entry["virtualSize"] == MIB for entry in entries)
    text = run("platter overlay snapshot list w.qcow2").out
    assert text.startswith("NAME") and "erster Stand  20" in text
    assert said()["snapshotCount"] == 2
    assert "2 snapshots" in run("platter overlay status w.qcow2").out
    # Wherever an image's snapshots are shown.
    info = json.loads(run("platter info --json w.qcow2").out)["snapshots"]
    assert [entry["name"] for entry in info][:2] == ["erster Stand", "two"]
    assert (content(), content(snapshot="two"), content(snapshot="erster Stand")) == (
        three, two, one)
    with mounted("w.qcow2") as mnt:
        assert digest(mnt / "snapshots" / "two" / "disk") == two
    assert "two" in run("qemu-img snapshot -l w.qcow2").out
    run("qemu-img convert -l two -O raw w.qcow2 two.raw")
    assert digest("two.raw") == two

    snapshot("revert", "erster Stand")
    assert content() == one and names() == ["erster Stand", "two"]
    four = changed(image, 9000, noise(4, 100_000))
    assert content(snapshot="two") == two and content(snapshot="erster Stand") == one
    snapshot("delete", "1")
    assert content() == four and names() == ["two"]
    # What was thrown away can be taken back.
    run("platter overlay discard w.qcow2")
    assert content() == before and said()["changedBytes"] == 0
    assert content(snapshot="two") == two
    check()
    refused("platter overlay commit w.qcow2", "snapshot delete")
    snapshot("revert", "two")
    snapshot("delete", "two")
    assert content() == two and names() == []
    check()
    run("platter overlay commit w.qcow2")
    assert digest(image) == two


def test_what_cannot_be(home):
    image = small_disk()
    changed(image, 0, b"mine")
    verb = "platter overlay snapshot"
    refused(f"{verb} revert w.qcow2 a", "none at all")
    snapshot("create", "a")
    before = digest("w.qcow2")
    refused(f"{verb} create w.qcow2 a", "already")
    refused(f"{verb} create w.qcow2 1", "number")
    refused(f"{verb} create w.qcow2 ''", "1 to 255 bytes")
    refused(f"{verb} create w.qcow2 {'x' * 256}", "1 to 255 bytes")
    refused(f"{verb} create w.qcow2 $'a\\nb'", "control")
    refused(f"{verb} delete w.qcow2 b", "there are: a")
    refused(f"{verb} list {image}", "not a qcow2 file")
    assert digest("w.qcow2") == before
    snapshot("create", "x" * 255)
    assert names() == ["a", "x" * 255]
    for name in ("create", "list", "revert", "delete"):
        assert f"snapshot {name}" in run(f"{verb} {name} --help").out


@needs("qemu-img", "qemu-io")
def test_qemu_in_between(home):
    image = small_disk()
    one = changed(image, 5000, noise(1, 50_000))
    run("qemu-img snapshot -c one w.qcow2")
    two = changed(image, 3000, noise(2, 9000))
    assert content(snapshot="one") == one
    run("qemu-img snapshot -c two w.qcow2")
    run(f"qemu-io -c 'write -P 7 {P2[0]} 64k' w.qcow2")
    snapshot("revert", "one")
    check()
    assert content() == one
    run("qemu-img snapshot -a two w.qcow2 && qemu-img snapshot -d one w.qcow2")
    assert content() == two and names() == ["two"]
    three = changed(image, 0, noise(3, 99_000))
    check()
    snapshot("delete", "two")
    check()
    assert content() == three
    assert read_at(image, P2[0], 4) == bytes(4)


@needs("qemu-img")
def test_killed(home):
    """At any moment: a verb is done or it is not, and nothing else has changed."""
    size = 24 * MIB
    rng = random.Random(3)
    sparse_file("base.img", size)
    states = []
    for turn in range(3):
        with mounted("base.img", "--overlay w.qcow2") as mnt:
            for number in range(20):
                write_at(mnt / "disk", rng.randrange(size - 200_000),
                         noise(turn * 100 + number, 200_000))
            states.append(digest(mnt / "disk"))
        if turn < 2:
            snapshot("create", f"s{turn}")
    shutil.copy("w.qcow2", "w.pristine")
    before = (states[2], ["s0", "s1"])
    verbs = {
        "create w.qcow2 new": (states[2], ["s0", "s1", "new"]),
        "revert w.qcow2 s0": (states[0], ["s0", "s1"]),
        "delete w.qcow2 s1": (states[2], ["s0"]),
    }
    longest = {}
    for verb, after in verbs.items():
        shutil.copy("w.pristine", "w.qcow2")
        begin = time.monotonic()
        run(f"platter overlay snapshot {verb}")
        longest[verb] = time.monotonic() - begin
        assert (content(), names()) == after
    seen = set()
    for number in range(1000 if SOAK else 20):
        verb, after = list(verbs.items())[number % 3]
        shutil.copy("w.pristine", "w.qcow2")
        process = start(f"exec platter overlay snapshot {verb}", stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, longest[verb]))
        process.kill()
        process.wait()
        check()
        found = (content(), names())
        assert found in (before, after), (number, verb)
        seen.add(found == before)
        for name in found[1]:
            if name != "new" or number % 5 == 0:
                assert content(snapshot=name) == states[{"s0": 0, "s1": 1, "new": 2}[name]]
        if number % 4 == 0:
            # And on it goes.
            with mounted("base.img", "--overlay w.qcow2") as mnt:
                write_at(mnt / "disk", rng.randrange(size - 200_000), noise(number, 200_000))
            check()
            assert content(snapshot="s0") == states[0]
    assert seen == {True, False} or not SOAK


@needs("qemu-img")
def test_a_killed_mount_leaves_its_snapshots(home):
    """Writes over what snapshots have, and the daemon is killed: only leaks, until the next mount."""
    size = 24 * MIB
    sparse_file("base.img", size)
    with mounted("base.img", "--overlay w.qcow2") as mnt:
        write_at(mnt / "disk", 0, noise(1, 3 * MIB))
        one = digest(mnt / "disk")
    snapshot("create", "one")
    rng = random.Random(4)
    for number in range(50 if SOAK else 4):
        with mounted("base.img", "--overlay w.qcow2") as mnt:
            pid = json.loads((mnt / "status.json").read_text())["daemonPid"]
            for turn in range(6):
                with open(mnt / "disk", "r+b") as file:
                    file.seek(rng.randrange(3 * MIB))
                    file.write(noise(number * 10 + turn, 100_000))
                    if turn % 2:
                        os.fsync(file.fileno())
            os.kill(pid, signal.SIGKILL)
            assert eventually(lambda: not session.mounts() and not session.processes())
        # 3: leaks.
        assert attempt("qemu-img check w.qcow2").status in (0, 3)
        assert content(snapshot="one") == one
    with mounted("base.img", "--overlay w.qcow2"):
        pass
    check()
    snapshot("revert", "one")
    assert content() == one
