"""The overlay verbs on a mount that is in use."""

import json
import mmap
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.files import MIB, digest, noise, read_at, sparse_file, write_at
from support.hammers import Hammers
from support.other_process import OtherProcess
from support.qemu_io import Holder
from support.session import SOAK
from support.shell import attempt, eventually, mounted, needs, quoted, refused, run, session, start
from support.work import P1, P2, small_disk, status

BLOCK = 4096


def snapshot(verb, place, name=""):
    return run(f"platter overlay snapshot {verb} {place} {quoted(name) if name else ''}")


def names(place):
    return [entry["name"] for entry in json.loads(
        run(f"platter overlay snapshot list --json {place}").out)["snapshots"]]


def checked(overlay="w.qcow2"):
    """What `qemu-img check` counts: errors and leaks."""
    # -U: a killed daemon's locks go a moment after its mount does.
    report = json.loads(attempt(f"qemu-img check -U --output=json {overlay}").out)
    return report.get("corruptions", 0) + report["check-errors"], report.get("leaks", 0)


def stored_state(name, overlay="w.qcow2"):
    """The disk as QEMU finds it in a snapshot of an overlay that nobody has open."""
    run(f"qemu-img convert -l snapshot.name={name} -O raw {overlay} {name}.raw")
    return Path(f"{name}.raw").read_bytes()


# Create


class Counter:
    """Writes one number after the other, each into a block of its own, and notes which is safe."""

    def __init__(self, path):
        self.path = path
        self.done = threading.Event()
        self.written = self.synced = 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        handle = os.open(self.path, os.O_RDWR)
        while not self.done.is_set() and self.written < 32 * MIB // BLOCK:
            os.pwrite(handle, struct.pack("<Q", self.written + 1) * (BLOCK // 8),
                      self.written * BLOCK)
            self.written += 1
            if self.written % 7 == 0:
                os.fsync(handle)
                self.synced = self.written
        os.close(handle)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def counted(disk):
    """How many numbers there are in a row, and how many in all."""
    first = [struct.unpack_from("<Q", disk, place)[0] for place in range(0, len(disk), BLOCK)]
    row = next((index for index, number in enumerate(first) if number != index + 1), len(first))
    whole = all(disk[index * BLOCK:][:BLOCK] == struct.pack("<Q", index + 1) * (BLOCK // 8)
                for index in range(row))
    return row, sum(number != 0 for number in first), whole


@needs("qemu-img")
@pytest.mark.parametrize("option", ["--overlay w.qcow2", "--cache=none --overlay w.qcow2"])
def test_a_snapshot_while_writes_go_on(home, option):
    sparse_file("base.img", 32 * MIB)
    bounds = {}
    with mounted("base.img", option) as mnt:
        with Counter(mnt / "disk") as counter:
            for number in range(5 if not SOAK else 100):
                assert eventually(lambda: counter.written > 50 * (number + 1), within=10)
                before = counter.written, counter.synced
                snapshot("create", "w.qcow2", f"s{number}")
                bounds[f"s{number}"] = before, counter.written + 1
        assert names("w.qcow2") == list(bounds)
        assert set(os.listdir(mnt / "snapshots")) == {*bounds, "base.img"}
        for name, ((written, synced), after) in bounds.items():
            row, all_of_them, whole = counted((mnt / "snapshots" / name / "disk").read_bytes()[
                :counter.written * BLOCK])
            assert row == all_of_them and whole, "each write is there, or none after it"
            assert synced <= written <= row <= after, name
        assert counted((mnt / "disk").read_bytes())[0] == counter.written
    assert checked() == (0, 0)
    assert counted(stored_state("s3"))[0] >= bounds["s3"][0][1]


@needs("qemu-img")
def test_what_the_kernel_has_not_written_yet(home):
    """One view, which collects writes: no fsync by anybody, through a handle and through a mapping."""
    write_at(sparse_file("base.img", 16 * MIB), 0, noise(1, MIB))
    Path("view").touch()
    with mounted("base.img", "--overlay w.qcow2", at="view") as view, OtherProcess(view) as other:
        expected = bytearray(Path("base.img").read_bytes())
        states = []
        for number in range(3):
            for place in random.Random(number).sample(range(0, 16 * MIB, MIB // 16), 100):
                (other.store if place % (MIB // 8) else other.write)(place, place + number, 9000)
                expected[place:place + 9000] = noise(place + number, 9000)
            # The mount point is as good a name as the file.
            snapshot("create", ("w.qcow2", "view", home / "view")[number], f"s{number}")
            states.append(bytes(expected))
    for number, state in enumerate(states):
        assert stored_state(f"s{number}") == state
    assert checked() == (0, 0)


def test_stores_through_a_mapping_of_one_of_several_views(home):
    with mounted(small_disk(), "--overlay w.qcow2") as mnt, OtherProcess(mnt / "p1") as other:
        for number in range(5):
            other.store(5000, 2 * number, 10_000)
            snapshot("create", "mnt", f"s{number}")
            other.store(5000, 2 * number + 1, 10_000)
            now = noise(2 * number, 10_000)
            assert read_at(mnt / f"snapshots/s{number}/p1", 5000, 10_000) == now
            assert read_at(mnt / f"snapshots/s{number}/disk", P1[0] + 5000, 10_000) == now
        with pytest.raises(OSError):
            open(mnt / "snapshots/s0/p1", "r+b")


def test_a_view_that_has_no_name_any_more(home):
    """Its partition is gone from the table, and somebody has it mapped."""
    with mounted(small_disk(), "--overlay w.qcow2") as mnt, OtherProcess(mnt / "p2") as other:
        run(f"sfdisk -q --force {mnt}/disk", input=b"label: dos\n1: start=63, size=1037\n")
        assert "p2" not in os.listdir(mnt)
        other.store(4096, 1, 8192)
        diff = json.loads(run("platter overlay diff --json mnt").out)["ranges"]
        assert (P2[0] + 4096, 8192) in [(part["start"], part["length"]) for part in diff]
        other.store(40_960, 2, 8192)
        snapshot("create", "mnt", "one")
        assert read_at(mnt / "snapshots/one/disk", P2[0] + 40_960, 8192) == noise(2, 8192)


# Revert


def test_revert_is_refused_while_something_is_open_for_writing(home):
    with mounted(small_disk(), "--overlay w.qcow2") as mnt:
        write_at(mnt / "p1", 0, b"old")
        snapshot("create", "w.qcow2", "one")
        write_at(mnt / "p1", 0, b"new")
        for keep in ("handle", "mapping"):
            file = open(mnt / "p1", "r+b")
            view = None
            if keep == "mapping":
                view = mmap.mmap(file.fileno(), 0)
                # Python's own copy of the descriptor goes with the mapping; ours goes here.
                file.close()
            refused("platter overlay snapshot revert w.qcow2 one", "open for writing",
                    f"({os.getpid()})", "python")
            assert read_at(mnt / "p1", 0, 3) == b"new"
            (view or file).close()
        with open(mnt / "disk", "rb"):
            snapshot("revert", "w.qcow2", "one")
        assert read_at(mnt / "p1", 0, 3) == b"old"
        refused("platter overlay snapshot revert mnt two", "two", "one")


def test_every_view_shows_what_was(home):
    """Cached pages, direct ones, mappings, another partition table: all of it is put back."""
    image = small_disk()
    with mounted(image, "--overlay w.qcow2") as mnt:
        write_at(mnt / "p1", 8192, noise(1, 40_000))
        write_at(mnt / "p2", 0, noise(2, 40_000))
        before = {name: (mnt / name).read_bytes() for name in ("disk", "p1", "p2")}
        snapshot("create", "mnt", "one")
        write_at(mnt / "disk", 5000, noise(3, 900_000))
        run(f"sfdisk -q --force {mnt}/disk", input=b"label: dos\n1: start=63, size=1037\n"
            b"3: start=1300, size=100\n")
        assert {name for name in os.listdir(mnt) if name[0] == "p"} == {"p1", "p3"}
        with (open(mnt / "p1", "rb", 0) as one, open(mnt / "disk", "rb", 0) as disk,
              mmap.mmap(one.fileno(), 0, prot=mmap.PROT_READ) as view):
            assert view[8192:48192] != before["p1"][8192:48192]
            assert os.pread(disk.fileno(), 100, P1[0] + 8192) == view[8192:8292]
            blocks = os.fstat(disk.fileno()).st_blocks
            snapshot("revert", "mnt", "one")
            assert view[:] == before["p1"]
            assert os.pread(one.fileno(), P1[1], 0) == before["p1"]
            assert os.pread(disk.fileno(), MIB, 0) == before["disk"]
            assert os.fstat(disk.fileno()).st_blocks < blocks
        for name, content in before.items():
            assert (mnt / name).read_bytes() == content
        assert {name for name in os.listdir(mnt) if name[0] == "p"} == {"p1", "p2"}
        # And it can be written to, and gone back from, again.
        write_at(mnt / "p2", 3, b"again")
        snapshot("revert", "mnt", "one")
        assert (mnt / "p2").read_bytes() == before["p2"]


def test_one_view_shows_what_was(home):
    sparse_file("base.img", 16 * MIB)
    Path("view").touch()
    with mounted("base.img", "--overlay w.qcow2", at="view") as view:
        write_at(view, 0, noise(1, MIB))
        before = digest(view)
        snapshot("create", "view", "one")
        with open(view, "r+b") as file, mmap.mmap(file.fileno(), 0) as stores:
            stores[MIB // 2:MIB] = noise(2, MIB // 2)
        with open(view, "rb") as file:
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as seen:
                assert seen[MIB // 2:MIB] == noise(2, MIB // 2)
                snapshot("revert", "w.qcow2", "one")
                assert seen[:MIB] == noise(1, MIB)
        assert digest(view) == before and os.stat(view).st_size == 16 * MIB


def test_who_opens_for_writing_meanwhile(home):
    """Either the revert is refused, or what is written comes after it: nothing lies in between."""
    with mounted(small_disk(), "--overlay w.qcow2") as mnt:
        write_at(mnt / "p1", 0, b"old." * 2000)
        snapshot("create", "mnt", "one")
        done = threading.Event()
        opened = []

        def write():
            while not done.is_set():
                try:
                    with open(mnt / "p1", "r+b", 0) as file:
                        os.pwrite(file.fileno(), b"new." * 2000, 0)
                        assert os.pread(file.fileno(), 8000, 0) == b"new." * 2000
                        opened.append(True)
                except OSError as error:
                    opened.append(error.errno)
                time.sleep(0.002)

        writer = threading.Thread(target=write)
        writer.start()
        reverted = 0
        try:
            for _ in range(15 if not SOAK else 200):
                result = attempt("platter overlay snapshot revert mnt one")
                assert result.status == 0 or "open for writing" in result.err, str(result)
                reverted += result.status == 0
                seen = read_at(mnt / "disk", P1[0], 8000)
                # A read beside a write can see a part of it, in whole words at least.
                assert {seen[place:place + 4] for place in range(0, 8000, 4)} <= {
                    b"new.", b"old."}
        finally:
            done.set()
            writer.join()
        assert reverted > 0 and set(opened) <= {True, 16}, "EBUSY and nothing else"
        snapshot("revert", "mnt", "one")
        assert read_at(mnt / "p1", 0, 8000) == b"old." * 2000


# Delete, and what the folder shows


def test_the_folder_follows(home):
    with mounted(small_disk(), "--overlay w.qcow2") as mnt:
        write_at(mnt / "p1", 0, b"first")
        write_at(mnt / "p2", 0, noise(7, 200_000))
        snapshot("create", "mnt", "one")
        number = os.stat(mnt / "snapshots/one/p1").st_ino
        with open(mnt / "snapshots/one/disk", "rb", 0) as old:
            assert os.pread(old.fileno(), 5, P1[0]) == b"first"
            write_at(mnt / "p1", 0, b"second")
            write_at(mnt / "p2", 0, noise(1, 200_000))
            snapshot("create", "mnt", "two")
            assert os.stat(mnt / "snapshots/one/p1").st_ino == number
            snapshot("delete", "mnt", "one")
            assert set(os.listdir(mnt / "snapshots")) == {"two", "small.img"}
            # Its place is somebody else's: whoever has it open is told, and sees nobody else's bytes.
            with pytest.raises(OSError) as error:
                os.pread(old.fileno(), 4096, P2[0] + 100_000)
            assert error.value.errno == 5
        snapshot("create", "mnt", "one")
        assert read_at(mnt / "snapshots/one/p1", 0, 6) == b"second"
        assert names("mnt") == ["two", "one"]
        refused("platter overlay snapshot delete w.qcow2 three", "three")
        refused("platter overlay snapshot create mnt two", "two")
        # A name of an image below stays whose it was.
        snapshot("create", "mnt", "small.img")
        assert read_at(mnt / "snapshots/small.img/p1", 0, 5) == bytes(5)
        assert read_at(mnt / "snapshots/small.img+/p1", 0, 6) == b"second"
        snapshot("create", "mnt", "two words/and a slash")
    with mounted("small.img", "--overlay w.qcow2") as mnt:
        assert set(os.listdir(mnt / "snapshots")) == {
            "one", "two", "small.img", "small.img+", "two\\x20words\\x2fand\\x20a\\x20slash"}
        assert read_at(mnt / "snapshots/one/p1", 0, 6) == b"second"


def test_a_disk_that_ends_in_the_middle_of_a_sector(home):
    Path("odd.img").write_bytes(noise(5, 100_001))
    with mounted("odd.img", "--overlay w.qcow2") as mnt:
        snapshot("create", "mnt", "one")
        write_at(mnt / "disk", 100_000, b"!")
        assert os.stat(mnt / "snapshots/one/disk").st_size == 100_001
        assert (mnt / "snapshots/one/disk").read_bytes() == noise(5, 100_001)


def test_scratch_by_its_mount_point(home):
    with mounted(small_disk(), "--scratch") as mnt:
        write_at(mnt / "p1", 0, b"good")
        snapshot("create", "mnt", "good")
        write_at(mnt / "p1", 0, b"evil")
        assert names("mnt") == ["good"]
        assert read_at(mnt / "snapshots/good/p1", 0, 4) == b"good"
        snapshot("revert", "mnt", "good")
        assert read_at(mnt / "p1", 0, 4) == b"good"
        snapshot("delete", "mnt", "good")
        assert names("mnt") == []
        refused("platter overlay status mnt", "without a name")
    for option in ("", "--write"):
        with mounted("small.img", option):
            refused("platter overlay snapshot create mnt one", "mnt", "--overlay")
            refused("platter overlay status mnt", "mnt")
    for verb in ("status", "diff", "discard", "snapshot list"):
        refused(f"platter overlay {verb} mnt", "mnt", "no image is mounted")


# Status, diff, list


@needs("qemu-io")
def test_status_and_diff_of_a_mount(home):
    image = small_disk()
    with mounted(image, "--overlay w.qcow2") as mnt:
        with OtherProcess(mnt / "p1") as other:
            for length, place in ((512, "w.qcow2"), (1024, "mnt")):
                report = json.loads(run(f"platter overlay status --json {place}").out)
                assert (report["state"], report["mountPoint"]) == ("mounted", str(mnt))
                assert report["base"]["state"] == "same"
                assert f"mounted at {mnt}" in run(f"platter overlay status {place}").out
                other.store(4096, 7, length)
                diff = json.loads(run(f"platter overlay diff --json {place}").out)["ranges"]
                assert [(part["partition"], part["offset"], part["length"])
                        for part in diff] == [(1, 4096, length)]
            other.store(200_000, 1, 100_000)
            before, after = (json.loads(run(f"platter overlay status --json {place}").out)
                             for place in ("w.qcow2", "mnt"))
            assert before["changedBytes"] == after["changedBytes"] > report["changedBytes"]
        line = run("platter list").out.splitlines()[1]
        assert line.endswith(f"overlay {home}/w.qcow2")
        for verb in ("discard w.qcow2", "commit w.qcow2", "commit mnt", "relink w.qcow2 small.img"):
            refused(f"platter overlay {verb}", str(mnt), "platter unmount")
    for option, words in (("", "read-only"), ("--scratch", "scratch"), ("--write", "in place")):
        with mounted(image, option):
            assert run("platter list").out.splitlines()[1].endswith("  " + words)
    # Somebody else's: as before.
    with Holder("w.qcow2"):
        assert json.loads(run("platter overlay status --json w.qcow2").out)["state"] == "inUse"
        refused("platter overlay diff w.qcow2", "another program")
        refused("platter overlay snapshot create w.qcow2 one", "w.qcow2")


def test_one_views_dirty_pages_are_counted(home):
    sparse_file("base.img", 16 * MIB)
    Path("view").touch()
    with mounted("base.img", "--overlay w.qcow2", at="view") as view, OtherProcess(view) as other:
        other.write(MIB, 1, MIB)
        assert json.loads(run("platter overlay status --json view").out)["changedBytes"] == MIB
        diff = json.loads(run("platter overlay diff --json w.qcow2").out)["ranges"]
        assert [(part["start"], part["length"]) for part in diff] == [(MIB, MIB)]


# The control socket


def control_socket():
    (path,) = (session.me.runtime / "platter").glob("*.sock")
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.settimeout(20)
    return connection


def asked(line):
    with control_socket() as connection:
        connection.sendall(line)
        return connection.makefile("rb").read()


def test_several_clients_at_once(home):
    sparse_file("base.img", 32 * MIB)
    with mounted("base.img", "--overlay w.qcow2") as mnt, Counter(mnt / "disk"):
        clients = [start(f"platter overlay snapshot create mnt s{number}") for number in range(8)]
        seconds = max(run("platter list").seconds for _ in range(5))
        assert seconds < 2, "who asks for the status does not wait for snapshots"
        assert [client.wait(timeout=60) for client in clients] == [0] * 8
        assert sorted(names("mnt")) == [f"s{number}" for number in range(8)]
        # One name, wanted by several: one has it.
        clients = [start("platter overlay snapshot create mnt same", stderr=subprocess.DEVNULL)
                   for _ in range(4)]
        assert sorted(client.wait(timeout=60) for client in clients) == [0, 1, 1, 1]


def test_clients_that_say_nothing_or_too_much(home):
    with mounted(small_disk(), "--overlay w.qcow2"):
        quiet = [control_socket() for _ in range(20)]
        assert run("platter list").seconds < 1
        assert b"failure" in asked(b"x" * 16384)
        with pytest.raises(OSError):
            asked(b"x" * 4_000_000)
        assert b"failure" in asked(b"status\n")
        assert b"failure" in asked(b'{"verb":"createSnapshot"}\n')
        assert b"failure" in asked(b'{"verb":"createSnapshot","name":"new\\nline"}\n')
        assert b"failure" in asked(b'{"verb":"revert","name":"\\u0000"}\n')
        assert asked(b'{"verb":"createSnapshot","name":"one"}\n{"verb":"end"}\n') == b"{}\n"
        assert names("mnt") == ["one"]
        for connection in quiet:
            assert connection.recv(1) == b"", "it had its time"
            connection.close()


def test_clients_that_wait_for_the_end(home):
    """However many there are, the daemon has descriptors left, and its end is told."""
    with mounted(small_disk(), "--scratch") as mnt:
        clients = []
        for _ in range(200):
            clients.append(control_socket())
            clients[-1].sendall(b'{"verb":"wait"}\n')
        heard = [client for client in clients if client.recv(8) == b"waiting\n"]
        assert 50 < len(heard) < 100
        assert len(os.listdir(f"/proc/{status(mnt)['daemonPid']}/fd")) < 150
        for client in set(clients) - set(heard) | set(heard[:30]):
            client.close()
        assert run("platter unmount mnt").seconds < 5
        for client in heard[30:]:
            assert client.recv(5) == b"done\n"
            client.close()


@needs("qemu-img")
def test_snapshots_beside_many_writers(home):
    """Over three views, through mappings too: nobody locks anybody out."""
    seconds = 300 if SOAK else 3
    with mounted(small_disk(), "--overlay w.qcow2") as mnt:
        made = 0
        with Hammers(mnt, seconds) as hammers:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                snapshot("create", "mnt", f"s{made}")
                if made > 2:
                    snapshot("delete", "w.qcow2", f"s{made - 2}")
                made += 1
            counts, mapped = hammers.counts()
        assert min(counts) > 0 and mapped > 0
        assert made > 1 and status(mnt)["failedWrites"] == 0
        disk = (mnt / "disk").read_bytes()
        for name, (offset, size) in (("p1", P1), ("p2", P2)):
            assert (mnt / name).read_bytes() == disk[offset:offset + size]
    assert checked() == (0, 0)


# The daemon is killed


@needs("qemu-img")
@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
def test_killed_in_the_middle(home, verb):
    write_at(sparse_file("base.img", 64 * MIB), 0, noise(1, MIB))
    numbers = random.Random(verb)
    for turn in range(4 if not SOAK else 200):
        Path("w.qcow2").unlink(missing_ok=True)
        run("mkdir -p mnt && platter mount --overlay w.qcow2 base.img mnt")
        for place in range(0, 64, 4):
            write_at("mnt/disk", place * MIB, noise(turn + place, 10_000))
        old = digest("mnt/disk")
        snapshot("create", "mnt", "one")
        for place in range(0, 64, 2):
            write_at("mnt/disk", place * MIB + 4000, noise(turn - place, 10_000))
        new = digest("mnt/disk")
        with open("mnt/disk", "rb") as file:
            os.fsync(file.fileno())
        daemon = status(Path("mnt"))["daemonPid"]
        client = start(f"platter overlay snapshot {verb} mnt {'two' if verb == 'create' else 'one'}",
                       stderr=subprocess.DEVNULL)
        time.sleep(numbers.uniform(0.004, 0.05))
        os.kill(daemon, signal.SIGKILL)
        assert client.wait(timeout=20) in (0, 1)
        assert eventually(lambda: session.mounts() == [])
        assert checked()[0] == 0
        with mounted("base.img", "--overlay w.qcow2") as mnt:
            now = digest(mnt / "disk")
            assert now == new or (verb == "revert" and now == old)
            kept = names("mnt")
            assert kept in {"create": (["one"], ["one", "two"]), "revert": (["one"],),
                            "delete": (["one"], [])}[verb]
            if "one" in kept:
                assert digest(mnt / "snapshots/one/disk") == old
            if "two" in kept:
                assert digest(mnt / "snapshots/two/disk") == new
        assert checked() == (0, 0)
