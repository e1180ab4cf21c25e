"""One class for each program that can show a disk image as a file: how it is started and ended."""

import json
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import processes

POLL_SECONDS = 0.0002


class ServerFailed(Exception):
    pass


class Server:
    """start(image, directory) gives the path of the file to read; stop() ends all of it.

    `directory` belongs to this one start: the mount point and the log are made in it.
    """

    name = ""
    packages = {}  # program it needs: the Debian package that has it
    version_command = None
    seconds_to_start = 30

    def __init__(self):
        self.point = None
        self.changes = None  # the file that what is written goes into, of a server that keeps it
        self.mark = None
        self.process = None
        self.seconds_to_ready = None

    def command(self, image, point):
        raise NotImplementedError

    def served(self, image, point):
        """The file to read, or None while it is not there yet."""
        return point / "disk"

    def make_point(self, point):
        point.mkdir()

    def prepare(self, image, directory):
        """What has to be there before the server starts; not timed."""

    def environment(self):
        """Variables for the server, besides everybody's."""
        return {}

    def missing(self):
        return {program: package for program, package in self.packages.items()
                if not shutil.which(program)}

    def version(self):
        done = subprocess.run(self.version_command, capture_output=True, text=True)
        lines = (done.stdout + done.stderr).split("\n")
        return lines[0].split(" Copyright")[0].strip()

    def start(self, image, directory):
        directory.mkdir(parents=True)
        self.point = directory / "mnt"
        self.make_point(self.point)
        self.prepare(image, directory)
        self.mark = processes.new_mark()
        command = [str(word) for word in self.command(image, self.point)]
        with open(directory / "log", "w") as log:
            begun = time.monotonic()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=processes.environment_with(self.mark) | self.environment())
        while not (path := self._readable(image)):
            status = self.process.poll()
            if status or time.monotonic() > begun + self.seconds_to_start:
                how = f"exit status {status}" if status else "not ready in time"
                said = (directory / "log").read_text()[-2000:].strip() or "it said nothing"
                raise ServerFailed(f"{self.name} did not start on {image.path} ({how}): {said}")
            time.sleep(POLL_SECONDS)
        self.seconds_to_ready = time.monotonic() - begun
        return path

    def _readable(self, image):
        try:
            path = self.served(image, self.point)
            if path:
                with open(path, "rb", buffering=0) as file:
                    return path if len(file.read(512)) == 512 else None
        except OSError:
            return None

    def stop(self):
        if not self.mark:
            return
        try:
            self.unmount()
            # A server that ends with its mount does so within this; QEMU waits for a signal.
            processes.wait_until_gone(self.mark, 0.2)
        finally:
            self.kill()
        if left := processes.pids_marked(self.mark):
            raise ServerFailed(f"{self.name} does not end: {left}")
        if self.process:
            self.process.wait()
        self.mark = self.process = None

    def kill(self):
        if self.mark:
            processes.end_all(self.mark)
            self.unmount_what_is_left()

    def unmount(self):
        self.unmount_what_is_left()

    def unmount_what_is_left(self):
        for point in processes.mounts_under(self.point):
            processes.unmount(point)

    def forget_cached(self, path):
        """Drop the kernel's cached pages of the served file, so that reads reach the server."""
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def pids(self):
        """Every process of the server: (what it is called, pid)."""
        return [(processes.name_of(pid), pid) for pid in processes.pids_marked(self.mark)]


class RawFile(Server):
    """No server: the image read directly, as the line that nothing can pass."""

    name = "the file itself"

    def start(self, image, directory):
        return image.path

    def forget_cached(self, path):
        pass


class Platter(Server):
    name = "platter"

    def __init__(self, program, *options, kept=None):
        """`kept` gives the folder for what it keeps of compressed streams; without it, the user's."""
        super().__init__()
        self.program = Path(program).absolute()
        self.options = options
        self.kept = kept
        self.version_command = [self.program, "--version"]

    def missing(self):
        return {} if self.program.is_file() else {str(self.program): "build it: make build"}

    def environment(self):
        return {"XDG_CACHE_HOME": str(self.kept())} if self.kept else {}

    def command(self, image, point):
        return [self.program, "mount", *self.options, image.path, point]

    def unmount(self):
        if processes.mounts_under(self.point):
            command = [self.program, "unmount", self.point]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            except subprocess.TimeoutExpired:
                raise ServerFailed("platter unmount does not return")
            if done.returncode:
                raise ServerFailed(f"platter unmount: {done.stderr.strip()}")

    def pids(self):
        path = self.point / "status.json"
        try:
            status = json.loads(path.read_text())
            return [("daemon", status["daemonPid"]), ("supervisor", status["supervisorPid"])]
        except (OSError, ValueError, KeyError) as error:
            raise ServerFailed(f"platter's {path.name} does not name its processes: {error!r}")


class NullServer(Server):
    name = "null server"

    def __init__(self, program, *options):
        super().__init__()
        self.program = program
        self.options = options

    def version(self):
        done = subprocess.run(["pkg-config", "--modversion", "fuse3"], capture_output=True, text=True)
        return f"libfuse {done.stdout.strip()}"

    def command(self, image, point):
        return [self.program, *self.options, image.path, point]


class FuseISO(Server):
    name = "fuseiso"
    packages = {"fuseiso": "fuseiso"}
    version_command = ["fuseiso", "-h"]

    def __init__(self, file=""):
        """`file` is one that is on the disc, at its root."""
        super().__init__()
        self.file = file

    def command(self, image, point):
        return ["fuseiso", "-n", image.path, point, "-f"]

    def served(self, image, point):
        return point / self.file


class QEMUExport(Server):
    name = "QEMU FUSE export"
    packages = {"qemu-storage-daemon": "qemu-utils"}
    version_command = ["qemu-storage-daemon", "--version"]

    def make_point(self, point):
        point.touch()  # QEMU mounts on a regular file, empty until then

    def served(self, image, point):
        return point

    def command(self, image, point):
        return ["qemu-storage-daemon",
                "--blockdev", f"driver=file,node-name=file,filename={image.path},read-only=on",
                "--blockdev", f"driver={image.format},node-name=disk,file=file,read-only=on",
                "--export", f"fuse,id=export,node-name=disk,mountpoint={point},writable=off"]


class NBDKit(Server):
    name = "nbdkit + nbdfuse"
    packages = {"nbdkit": "nbdkit", "nbdfuse": "libnbd-bin"}
    version_command = ["nbdkit", "--version"]

    def command(self, image, point):
        mount = f'nbdfuse -r {shlex.quote(str(point))}/disk "$uri"'
        return ["nbdkit", "-r", "-U", "-", "file", image.path, "--run", mount]


class NBDKitUnpacking(NBDKit):
    """With the filter of a compressed file's kind: gzip, xz."""

    seconds_to_start = 120  # gzip is unpacked whole first

    def __init__(self, filter):
        super().__init__()
        self.name = f"nbdkit {filter} + nbdfuse"
        self.filter = filter

    def command(self, image, point):
        mount = f'nbdfuse -r {shlex.quote(str(point))}/disk "$uri"'
        return ["nbdkit", "-r", "-U", "-", f"--filter={self.filter}", "file", image.path,
                "--run", mount]


class RatarMount(Server):
    """`kept`: its index file, made at the first mount and used later; without it, always the first."""

    name = "ratarmount"
    seconds_to_start = 120  # it is found first

    def __init__(self, folder, kept=None):
        super().__init__()
        self.program = folder / "bin/ratarmount"
        self.kept = self.index = kept
        self.version_command = [self.program, "--version"]

    def missing(self):
        return {} if self.program.is_file() else {"ratarmount": "ratarmount, from PyPI by make deps"}

    def prepare(self, image, directory):
        self.index = self.kept or directory / "index.sqlite"

    def command(self, image, point):
        # All cores, which is not its default for gzip.
        return [self.program, "-f", "-P", "0", "--index-file", self.index, image.path, point]

    def served(self, image, point):
        return next((file for file in point.iterdir() if file.is_file()), None)


class XMount(Server):
    name = "xmount"
    packages = {"xmount": "xmount"}
    version_command = ["xmount", "--version"]

    def command(self, image, point):
        return ["xmount", "--in", "raw", image.path, "--out", "raw", point]

    def served(self, image, point):
        return next(point.glob(image.path.stem + ".dd"), None)


class VHDMount(Server):
    name = "vhdimount"
    packages = {"vhdimount": "libvhdi-utils"}
    version_command = ["vhdimount", "-V"]

    def command(self, image, point):
        return ["vhdimount", image.path, point]

    def served(self, image, point):
        return point / "vhdi1"


class VMDKMount(Server):
    name = "vmdkmount"
    packages = {"vmdkmount": "libvmdk-utils"}
    version_command = ["vmdkmount", "-V"]

    def command(self, image, point):
        return ["vmdkmount", image.path, point]

    def served(self, image, point):
        return point / "vmdk1"


class QCOWMount(Server):
    name = "qcowmount"
    packages = {"qcowmount": "libqcow-utils"}
    version_command = ["qcowmount", "-V"]

    def command(self, image, point):
        return ["qcowmount", image.path, point]

    def served(self, image, point):
        return point / "qcow1"


class Describer(Server):
    """No server either: a command that opens an image, says what it is, and ends."""

    def described(self, image):
        """(milliseconds, MiB of memory at most)"""
        command = [str(word) for word in self.describing(image)]
        begun = time.monotonic()
        self.run(command)
        milliseconds = (time.monotonic() - begun) * 1000
        # A second time for the memory: a process counts what its parent had when it forked, and
        # Python has more than most of these need. time(1) has next to nothing.
        said = self.run(["/usr/bin/time", "-q", "-f", "%M", *command])
        return milliseconds, int(said.split()[-1]) / 1024

    def run(self, command):
        """Its standard error."""
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True, errors="replace")
        if done.returncode:
            raise ServerFailed(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
        return done.stderr

    def describing(self, image):
        raise NotImplementedError


class PlatterInfo(Describer):
    name = "platter info"
    packages = {"time": "time"}

    def __init__(self, program):
        super().__init__()
        self.program = Path(program).absolute()

    def missing(self):
        missing = {} if self.program.is_file() else {str(self.program): "build it: make build"}
        return missing | super().missing()

    def describing(self, image):
        return [self.program, "info", image.path]


class QEMUInfo(Describer):
    name = "qemu-img info"
    packages = {"qemu-img": "qemu-utils", "time": "time"}

    def describing(self, image):
        return ["qemu-img", "info", "-f", image.format, image.path]


class QCOWInfo(Describer):
    name = "qcowinfo"
    packages = {"qcowinfo": "libqcow-utils", "time": "time"}

    def describing(self, image):
        return ["qcowinfo", image.path]


ALL = (Platter, NullServer, QEMUExport, NBDKit, XMount, VHDMount, VMDKMount, QCOWMount, RatarMount)
