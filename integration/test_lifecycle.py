"""How mounts end: asked to, by a signal, by a crash."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.files import MIB, digest
from support.shell import attempt, eventually, mounted, refused, run, session, start


def status(mnt):
    return json.loads((Path(mnt) / "status.json").read_text())


def mount(image, *options):
    os.makedirs("mnt", exist_ok=True)
    run(f"platter mount {' '.join(options)} {image} mnt")
    return Path("mnt").absolute()


def gone():
    return not session.mounts() and not session.processes()


@pytest.fixture
def busy(disk):
    """A mount that a process keeps a file of open."""
    mnt = mount(disk)
    reader = start(f"exec tail -f {mnt}/p1", stdout=subprocess.DEVNULL)
    assert eventually(lambda: attempt(f"ls -l /proc/{reader.pid}/fd | grep p1").status == 0)
    yield mnt, reader
    reader.kill()
    reader.wait()


def test_unmount_waits_for_the_end(image):
    mount(image)
    run("platter unmount mnt")
    assert gone()
    assert os.listdir("mnt") == []
    assert not list(session.me.runtime.glob("platter/*.sock"))


def test_umount_is_unmount(disk):
    mount(disk)
    run("platter umount mnt/")
    assert gone()


def test_fusermount_unmounts_too(disk):
    mount(disk)
    run("fusermount3 -u mnt")
    assert eventually(gone)


@pytest.mark.parametrize("whom", ["daemonPid", "supervisorPid"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_unmounts(disk, whom, number):
    mnt = mount(disk)
    os.kill(status(mnt)[whom], number)
    assert eventually(gone)
    assert os.listdir(mnt) == []
    assert not list(session.me.runtime.glob("platter/*.sock"))


@pytest.mark.parametrize("whom", ["daemonPid", "supervisorPid"])
def test_hangup_is_no_reason_to_go(disk, whom):
    """The terminal that mounted may be closed."""
    mnt = mount(disk)
    os.kill(status(mnt)[whom], signal.SIGHUP)
    time.sleep(0.1)
    assert (mnt / "p1").stat().st_size == 16 * MIB
    run("platter unmount mnt")


def test_signal_takes_away_a_mount_point_of_its_own(disk):
    folder = Path(run(f"platter mount {disk}").out.strip())
    os.kill(status(folder)["daemonPid"], signal.SIGTERM)
    assert eventually(lambda: gone() and not folder.exists())


@pytest.mark.parametrize("whom", ["daemonPid", "supervisorPid"])
def test_signal_ends_a_busy_mount(busy, whom):
    mnt, reader = busy
    os.kill(status(mnt)[whom], signal.SIGTERM)
    assert eventually(gone)
    assert os.listdir(mnt) == []


def test_killed_daemon_leaves_no_mount(image):
    """The supervisor unmounts, at once."""
    mnt = mount(image)
    os.kill(status(mnt)["daemonPid"], signal.SIGKILL)
    assert eventually(gone, within=2)
    assert os.listdir(mnt) == []
    assert not list(session.me.runtime.glob("platter/*.sock"))
    with mounted(image):
        pass


def test_killed_daemon_leaves_no_mount_that_is_in_use(busy):
    mnt, reader = busy
    os.kill(status(mnt)["daemonPid"], signal.SIGKILL)
    assert eventually(gone, within=2)


def test_killed_daemon_leaves_no_mount_point_of_its_own(disk):
    folder = Path(run(f"platter mount {disk}").out.strip())
    os.kill(status(folder)["daemonPid"], signal.SIGKILL)
    assert eventually(lambda: gone() and not folder.exists())


def test_killed_supervisor_leaves_a_working_mount(image, disk):
    mnt = mount(image)
    os.kill(status(mnt)["supervisorPid"], signal.SIGKILL)
    time.sleep(0.1)
    run(f"cmp {mnt}/disk {disk}")
    assert str(mnt) in run("platter list").out
    run("platter unmount mnt")
    assert eventually(gone)


def kill_both(mnt):
    [pids] = [mount for mount in json.loads(run("platter list --json").out)["mounts"]
              if mount["mountPoint"] == str(mnt)]
    # The supervisor first: it would unmount.
    os.kill(pids["supervisorPid"], signal.SIGKILL)
    os.kill(pids["daemonPid"], signal.SIGKILL)
    assert eventually(lambda: not session.processes())


def test_both_killed_unmount_clears(image):
    mnt = mount(image)
    kill_both(mnt)
    assert "not connected" in attempt("ls mnt").err
    run("platter unmount mnt")
    assert gone()
    assert os.listdir(mnt) == []


@pytest.mark.parametrize("look", ["true", "ls mnt", "ls -d mnt", "cat mnt/p1"])
def test_both_killed_the_next_mount_clears(disk, look):
    """Whatever the kernel still remembers of the old one, or was made to forget."""
    mnt = mount(disk)
    run("ls -l mnt")
    kill_both(mnt)
    attempt(look)
    with mounted(disk):
        run(f"cmp {mnt}/disk {disk}")
        assert session.mounts() == [str(mnt)]
    assert gone()


def test_both_killed_on_a_regular_file(image, disk, home):
    Path("file").touch()
    run(f"platter mount {image} file")
    kill_both(home / "file")
    with mounted(image, at="file"):
        run(f"cmp file {disk}")
        assert session.mounts() == [str(home / "file")]
    assert gone()


def test_both_killed_list_does_not_show_it(disk):
    mnt = mount(disk)
    kill_both(mnt)
    assert run("platter list").out == ""
    assert json.loads(run("platter list --json").out)["mounts"] == []
    run("platter unmount mnt")


def test_a_mount_point_of_its_own_is_made_again_after_both_were_killed(disk):
    first = Path(run(f"platter mount {disk}").out.strip())
    kill_both(first)
    second = Path(run(f"platter mount {disk}").out.strip())
    assert (second / "p1").exists()
    run(f"platter unmount {second}")
    # It may have taken the first one's place, and so cleared it.
    if str(first) in session.mounts():
        run(f"platter unmount {first}")
    assert gone()
    assert not first.exists() and not second.exists()


def test_unmount_of_a_busy_mount_names_who_uses_it(busy):
    mnt, reader = busy
    refused("platter unmount mnt", "mnt", "in use", f"tail ({reader.pid})")
    assert (mnt / "p1").exists()
    reader.kill()
    reader.wait()
    run("platter unmount mnt")


def test_unmount_of_a_busy_mount_names_who_stands_in_it(disk):
    mnt = mount(disk)
    sleeper = start(f"cd {mnt} && exec sleep 60")
    assert eventually(lambda: os.readlink(f"/proc/{sleeper.pid}/cwd") == str(mnt))
    refused("platter unmount mnt", f"sleep ({sleeper.pid})")
    sleeper.kill()
    sleeper.wait()
    run("platter unmount mnt")


def test_unmount_of_a_busy_mount_lazily(disk):
    """Who has a file open goes on reading it; the mount ends when it is closed."""
    mnt = mount(disk)
    with open(mnt / "p2", "rb", buffering=0) as file:
        file.read(4096)
        run("platter unmount --lazy mnt")
        assert session.mounts() == [] and os.listdir(mnt) == []
        file.seek(0)
        assert file.read(32 * MIB) == disk.read_bytes()[32 * MIB:64 * MIB]
        assert session.processes()
    assert eventually(gone)


def test_unmount_of_what_is_no_mount(disk):
    os.mkdir("folder")
    Path("file").touch()
    for name in ("folder", "file", "/", "/proc"):
        refused(f"platter unmount {name}", f"{name}: ", "platter list")
    refused("platter unmount nowhere", "nowhere")


def test_unmount_twice(disk):
    mount(disk)
    run("platter unmount mnt")
    refused("platter unmount mnt", "mnt", "no Platter mount")


def test_image_can_be_removed_while_mounted(image):
    run(f"cp --sparse=always {image} own")
    expected = digest(image.with_name("disk.img"))
    with mounted("own") as mnt:
        os.unlink("own")
        assert digest(mnt / "disk") == expected


def test_image_can_be_replaced_while_mounted(disk):
    """The mount goes on with the file that it opened."""
    run(f"cp --sparse=always {disk} own; truncate -s 1M other")
    with mounted("own") as mnt:
        os.rename("other", "own")
        assert digest(mnt / "disk") == digest(disk)


# Foreground


def test_foreground_ends_with_an_interrupt(image, disk):
    os.mkdir("mnt")
    process = start(f"exec platter mount --foreground {image} mnt", stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE)
    assert eventually(lambda: os.path.exists("mnt/disk"))
    assert status("mnt")["supervisorPid"] == process.pid
    run(f"cmp mnt/disk {disk}")
    # Ctrl-C goes to all of the terminal's foreground processes: the daemon has it too.
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(5) == 0
    assert process.stderr.read() == b""
    assert gone()


def test_foreground_ends_with_unmount(disk):
    os.mkdir("mnt")
    process = start(f"exec platter mount -f {disk} mnt")
    assert eventually(lambda: os.path.exists("mnt/disk"))
    run("platter unmount mnt")
    assert process.wait(5) == 0


def test_foreground_ends_with_its_terminal(disk):
    os.mkdir("mnt")
    process = start(f"exec platter mount -f {disk} mnt")
    assert eventually(lambda: os.path.exists("mnt/disk"))
    os.kill(process.pid, signal.SIGHUP)
    process.wait(5)
    assert eventually(gone)


def test_foreground_tells_when_its_daemon_died(disk):
    os.mkdir("mnt")
    process = start(f"exec platter mount -f {disk} mnt", stderr=subprocess.DEVNULL)
    assert eventually(lambda: os.path.exists("mnt/disk"))
    os.kill(status("mnt")["daemonPid"], signal.SIGKILL)
    assert process.wait(5) != 0
    assert eventually(gone)


def test_foreground_says_what_is_wrong(home):
    os.mkdir("mnt")
    refused("platter mount --foreground absent.img mnt", "absent.img")


def test_a_hundred_times(image):
    """Mounting and unmounting again and again, on the same place."""
    os.mkdir("mnt")
    run(f"for n in $(seq 100); do platter mount {image} mnt && test -e mnt/p7 "
        "&& platter unmount mnt || exit 1; done")
    assert gone()
