"""One run of the suite: its folder, its copy of Platter, and what it must not leave behind."""

import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOAK = os.environ.get("PLATTER_SOAK") == "1"
ROOT = os.geteuid() == 0

# Where mkfs, sfdisk and fsck are; an ordinary user's PATH often lacks it.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class User:
    """Somebody to type commands as, with a runtime folder of their own."""

    name: str
    uid: int
    gid: int
    runtime: Path


class Session:
    """A folder that everybody can look into. Platter is copied there, so that other users can run
    it, and so that its processes can be told from those of other people on the same machine."""

    def __init__(self):
        named = Path(os.environ.get("PLATTER", REPOSITORY / ".build/release/platter")).resolve()
        if not named.is_file():
            raise FileNotFoundError(
                f"{named} is missing: 'swift build -c release' first, or set PLATTER")
        self.folder = Path(tempfile.mkdtemp(prefix="platter-"))
        self.folder.chmod(0o755)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.platter = self.bin / "platter"
        shutil.copy2(named, self.platter)
        self.platter.chmod(0o755)
        self.shared = Path(os.environ.get("PLATTER_SHARED", REPOSITORY.parent / "shared"))
        self.me = self._user("me", os.geteuid(), os.getegid())

    def _user(self, name, uid, gid):
        runtime = self.folder / f"run-{name}"
        runtime.mkdir(mode=0o700)
        if ROOT:
            os.chown(runtime, uid, gid)
        return User(name, uid, gid, runtime)

    def add_user(self, name):
        """A user of this machine, who needs to be in its list: fusermount3 asks for the name."""
        import pwd

        entry = pwd.getpwnam(name)
        return self._user(name, entry.pw_uid, entry.pw_gid)

    def environment(self, user):
        return {
            "PATH": f"{self.bin}:{SYSTEM_PATH}",
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(user.runtime),
            "XDG_CACHE_HOME": str(user.runtime / "cache"),
            "TMPDIR": tempfile.gettempdir(),
            "LC_ALL": "C.UTF-8",
            # mtools refuses images whose size is no whole number of their geometry's cylinders.
            "MTOOLS_SKIP_CHECK": "1",
        }

    def processes(self):
        """The numbers of all processes that run this session's Platter."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                program = os.readlink(f"/proc/{entry}/exe")
            except OSError:
                continue
            # A zombie has no exe, and needs none: it holds nothing.
            if program.removesuffix(" (deleted)") == str(self.platter):
                found.append(int(entry))
        return found

    def mounts(self):
        """Platter's mount points inside this session's folder."""
        return [point for point in fuse_mounts() if Path(point).is_relative_to(self.folder)]

    def left_behind(self, within=2.0):
        """What is still mounted or running after a moment's grace, in words."""
        deadline = time.monotonic() + within
        while (self.mounts() or self.processes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return [f"mount on {point}" for point in self.mounts()] + [
            f"process {pid}: {command_line(pid)}" for pid in self.processes()]

    def clear(self):
        """Takes away what a failed test left, so that the next one starts from nothing."""
        for pid in self.processes():
            kill(pid, 9)
            time.sleep(0.1)
        for point in self.mounts():
            subprocess.run(["fusermount3", "-u", "-z", "--", point], stderr=subprocess.DEVNULL)
        for entry in self.me.runtime.glob("platter/*"):
            entry.rmdir() if entry.is_dir() else entry.unlink()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def fuse_mounts():
    """As proc(5) has them: space, tab, newline and backslash stand as three octal digits."""
    points = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        place, _, rest = line.partition(b" - ")
        if rest.split(b" ")[0] == b"fuse.platter":
            point = re.sub(rb"\\(\d{3})", lambda digits: bytes([int(digits[1], 8)]),
                           place.split(b" ")[4])
            points.append(os.fsdecode(point))
    return points


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "gone by now"


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def open_up_fuse():
    """What every desktop has, some machines lack: /dev/fuse for everybody. Says what it did."""
    device = Path("/dev/fuse")
    if not device.exists():
        return "/dev/fuse is missing: nothing can be mounted"
    mode = stat.S_IMODE(device.stat().st_mode)
    if mode == 0o666:
        return "/dev/fuse has mode 0666, as on a desktop"
    if not ROOT:
        return f"/dev/fuse has mode {mode:04o}: mounting as an ordinary user will fail"
    device.chmod(0o666)
    return (f"/dev/fuse had mode {mode:04o}: CHANGED to 0666, as it is on a desktop (chmod 0666 "
            "/dev/fuse), and left so")
