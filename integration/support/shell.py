"""Commands, as a person would type them."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from .session import SYSTEM_PATH, Session

session: Session = None  # Made by conftest.py before any test is read.

PACKAGES = {
    "7zz": "7zip", "dmg2img": "dmg2img",
    "mkfs.exfat": "exfatprogs", "mount.exfat-fuse": "exfat-fuse",
    "blkid": "util-linux", "bzip2": "bzip2", "cc": "gcc", "debugfs": "e2fsprogs", "dosbox": "dosbox",
    "e2fsck": "e2fsprogs", "fsck.fat": "dosfstools", "fuse2fs": "fuse2fs", "genisoimage": "genisoimage", "gzip": "gzip", "lz4": "lz4",
    "xz": "xz-utils", "zstd": "zstd",
    "fio": "fio", "losetup": "mount", "mcopy": "mtools", "mkfs.ext4": "e2fsprogs", "mkfs.fat": "dosfstools",
    "mkswap": "util-linux",
    "qemu-img": "qemu-utils", "qemu-io": "qemu-utils", "qemu-system-x86_64": "qemu-system-x86", "setpriv": "util-linux",
    "sfdisk": "fdisk", "time": "time", "unshare": "util-linux",
}


def needs(*programs):
    """Skips a test, aloud, on a machine without these programs."""
    missing = [name for name in programs if not shutil.which(name, path=SYSTEM_PATH)]
    reason = ", ".join(f"{name} is missing (apt install {PACKAGES[name]})" for name in missing)
    return pytest.mark.skipif(bool(missing), reason=reason)


class Result:
    def __init__(self, command, status, out, err, seconds):
        self.command, self.status, self.bytes = command, status, out
        self.out = out.decode(errors="replace")
        self.err = err.decode(errors="replace")
        self.seconds = seconds

    def __str__(self):
        return (f"$ {self.command}\n{self.out[-2000:]}{self.err[-2000:]}"
                f"[exit status {self.status} after {self.seconds:.2f} s]")


def arguments(command, user=None):
    line = ["bash", "-o", "pipefail", "-c", command]
    if user is None or user.uid == os.geteuid():
        return line
    return ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--", *line]


def start(command, user=None, **options):
    """A command that goes on running; the caller ends it."""
    return subprocess.Popen(
        arguments(command, user), env=session.environment(user or session.me),
        start_new_session=True, **options)


def attempt(command, *, user=None, input=None, timeout=60):
    """Runs a command that may fail."""
    begin = time.monotonic()
    process = start(
        command, user, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(input, timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"$ {command}\nstill runs after {timeout} s") from None
    return Result(command, process.returncode, out, err, time.monotonic() - begin)


def run(command, **options):
    """Runs a command that must succeed."""
    result = attempt(command, **options)
    assert result.status == 0, str(result)
    return result


def refused(command, *words, **options):
    """Runs a command that Platter must refuse: a bad exit status, nothing on standard output, and
    one line that names these words. Gives the line."""
    result = attempt(command, **options)
    assert result.status != 0, f"should have failed:\n{result}"
    assert result.status < 128, f"should not have crashed:\n{result}"
    is_one_line = re.fullmatch(r"platter: [^\n]+\n", result.err)
    assert is_one_line, f"is not one line of Platter's:\n{result}"
    assert result.out == "", str(result)
    for word in words:
        assert str(word) in result.err, f"does not say '{word}':\n{result}"
    return result.err


def quoted(path):
    return shlex.quote(str(path))


@contextmanager
def mounted(image, *options, at="mnt", user=None):
    """Mounts an image, and unmounts it whatever happens meanwhile. Gives the mount point, which is
    made where it does not exist."""
    point = Path(at).absolute()
    try:
        point.mkdir()
        if user is not None:
            os.chown(point, user.uid, user.gid)
    except FileExistsError:
        pass  # Also where a mount is that lost its daemon, into which nobody can look.
    run(f"platter mount {' '.join(options)} {quoted(image)} {quoted(point)}", user=user)
    try:
        yield point
    finally:
        if str(point) in session.mounts():
            run(f"platter unmount {quoted(point)}", user=user)


def eventually(condition, within=2.0):
    """Whether `condition` comes true in so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
