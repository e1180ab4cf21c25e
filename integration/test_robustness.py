"""Places where a mount once hung, ended another's mount, or called a loss success."""

import json
import os
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from support.files import MIB
from support.session import ROOT
from support.shell import attempt, eventually, mounted, needs, refused, run, session, start


def status(mnt):
    return json.loads((Path(mnt) / "status.json").read_text())


def gone():
    return not session.mounts() and not session.processes()


def reading(path):
    """Keeps a file open until it is killed."""
    reader = start(f"exec tail -f {path}", stdout=subprocess.DEVNULL)
    assert eventually(lambda: attempt(f"ls -l /proc/{reader.pid}/fd | grep -F {path}").status == 0)
    return reader


@pytest.fixture
def detached(disk):
    """A mount that was detached while a process keeps a file of it open; its place is free."""
    os.mkdir("mnt")
    run(f"platter mount {disk} mnt")
    pids = status("mnt")
    reader = reading(f"{os.getcwd()}/mnt/p1")
    run("platter unmount --lazy mnt")
    yield pids
    reader.kill()
    reader.wait()
    assert eventually(gone)


def test_a_detached_mount_does_not_hold_up_the_next(detached, disk):
    with mounted(disk) as mnt:
        assert "(detached)" in run("platter list").out
        assert run(f"platter unmount {mnt}").seconds < 5
    assert session.mounts() == []


@pytest.mark.parametrize("process", ["daemonPid", "supervisorPid"])
def test_the_end_of_a_detached_mount_leaves_the_next(detached, disk, process):
    with mounted(disk) as mnt:
        os.kill(detached[process], signal.SIGTERM)
        assert eventually(lambda: not os.path.exists(f"/proc/{detached['daemonPid']}"), within=5)
        run(f"cmp {mnt}/disk {disk}")


def test_of_many_at_once_one_has_the_place(disk):
    os.mkdir("mnt")
    result = attempt(
        f"for i in 1 2 3 4; do platter mount {disk} mnt 2>/dev/null && echo mounted & done; wait")
    assert result.out == "mounted\n"
    assert session.mounts() == [f"{os.getcwd()}/mnt"]
    run("platter unmount mnt")
    assert eventually(gone)


@pytest.mark.skipif(not ROOT, reason="needs root, to make a mount namespace")
def test_a_copy_in_another_namespace_does_not_hold_up_unmount(disk):
    os.mkdir("mnt")
    run(f"platter mount {disk} mnt")
    holder = start("exec unshare -m sleep 60")
    assert eventually(lambda: attempt(f"grep fuse.platter /proc/{holder.pid}/mountinfo").status == 0)
    try:
        assert run("platter unmount mnt").seconds < 5
        assert eventually(lambda: not session.processes())
    finally:
        holder.kill()
        holder.wait()


def test_refused_unmounts_leave_nothing_open(disk):
    os.mkdir("mnt")
    run(f"platter mount {disk} mnt")
    daemon = status("mnt")["daemonPid"]
    reader = reading(f"{os.getcwd()}/mnt/p1")
    count = lambda: len(os.listdir(f"/proc/{daemon}/fd"))
    before = count()
    for _ in range(5):
        refused("platter unmount mnt", "in use")
    assert eventually(lambda: count() == before)
    reader.kill()
    reader.wait()
    run("platter unmount mnt")


def test_a_stopped_daemon_holds_up_nobody_else(disk):
    os.mkdir("stopped")
    run(f"platter mount {disk} stopped")
    pid = status("stopped")["daemonPid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with mounted(disk):
            assert run("platter list").seconds < 5
    finally:
        os.kill(pid, signal.SIGCONT)
        run("platter unmount stopped")


def test_another_runtime_folder_does_not_make_it_dead(disk):
    os.mkdir("mnt")
    run(f"platter mount {disk} mnt")
    reader = reading(f"{os.getcwd()}/mnt/p1")
    os.mkdir("elsewhere", mode=0o700)
    refused("XDG_RUNTIME_DIR=$PWD/elsewhere platter unmount mnt", "in use")
    reader.kill()
    reader.wait()
    run("XDG_RUNTIME_DIR=$PWD/elsewhere platter unmount mnt")
    assert eventually(gone)


def test_the_caller_ignores_its_children(disk):
    os.mkdir("mnt")
    run(f"trap '' CHLD; platter mount {disk} mnt")
    os.kill(status("mnt")["daemonPid"], signal.SIGKILL)
    assert eventually(gone)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"])
def test_the_caller_closed_the_standard_files(disk, closed):
    os.mkdir("mnt")
    run(f"platter mount {disk} mnt {closed}")
    run(f"cmp mnt/disk {disk}")
    run("platter unmount mnt")


def test_no_folder_is_kept_in_use(disk):
    os.mkdir("one")
    os.mkdir("two")
    run(f"platter mount {disk} one")
    run(f"cd one && platter mount {disk} ../two")
    run("platter unmount one")
    run("platter unmount two")


def test_a_sparse_copy_of_a_truncated_image_fails(home):
    """What the file lost is no hole: zeros in its place would look like success."""
    with open("disk.img", "wb") as image:
        for start_of_data in (0, 6 * MIB):
            image.seek(start_of_data)
            image.write(os.urandom(MIB))
        image.truncate(10 * MIB)
    with mounted("disk.img") as mnt:
        os.truncate("disk.img", 5 * MIB)
        assert attempt(f"cp --sparse=auto {mnt}/disk copy").status != 0


@pytest.mark.parametrize("command", [
    "info", "info --json", "map", "map --json", "hash", "cat"])
def test_output_that_cannot_be_written_is_an_error(disk, command):
    verb, *options = command.split()
    result = attempt(f"platter {verb} {' '.join(options)} {disk} > /dev/full")
    assert result.status == 1 and "No space left" in result.err, str(result)


def test_a_name_that_is_no_utf8_is_said_to_be(home):
    with open(b"l\xe9.img", "wb") as image:
        image.write(b"x" * 512)
    refused("platter info $'l\\xe9.img'", "UTF-8")


def test_an_interrupted_command_leaves_no_mount(disk):
    """Killed at some moment while it waits: the mount is there and usable, or gone with it."""
    os.mkdir("mnt")
    for delay in range(0, 30, 3):
        process = start(f"exec platter mount {disk} mnt")
        try:
            process.wait(delay / 1000)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        if not eventually(gone, within=1):
            run(f"cmp mnt/disk {disk} && platter unmount mnt")
        assert eventually(gone), f"killed after {delay} ms"


def damaged_everywhere(path, blocks):
    """A dynamic VHD of 512-byte blocks, all of which the table puts on the image's own header."""
    def sealed(structure, field):
        total = ~sum(structure) & 0xFFFFFFFF
        return structure[:field] + struct.pack(">I", total) + structure[field + 4:]

    size = blocks * 512
    footer = sealed(struct.pack(
        ">8sIIQI4sI4sQQHBBI", b"conectix", 2, 0x10000, 512, 0, b"win ", 0, b"Wi2k", size, size,
        1, 1, 1, 3).ljust(512, b"\0"), 64)
    header = sealed(struct.pack(
        ">8sQQIII", b"cxsparse", 2**64 - 1, 1536, 0x10000, blocks, 512).ljust(1024, b"\0"), 36)
    Path(path).write_bytes(footer + header + bytes(4 * blocks) + footer)


@needs("time")
def test_a_map_of_a_million_damaged_blocks_stays_small(home):
    damaged_everywhere("bad.vhd", blocks=1 << 20)
    result = run("/usr/bin/time -f %M platter map --json bad.vhd")
    assert int(result.err.splitlines()[-1]) < 64 * 1024
    assert [entry["type"] for entry in json.loads(result.out)["ranges"]] == ["unreadable"]
