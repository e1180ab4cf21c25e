"""The same programs where they take writes: what is written goes into a file of its own, new for each
start and in that start's folder, so that all of them write to the same file system."""

import os
import shlex
import subprocess

from servers import NBDKit, NullServer, Platter, QEMUExport, ServerFailed

SECONDS_TO_CLOSE = 60


class OneView:
    """Mixed in: mounts in a regular file's place."""

    def make_point(self, point):
        point.touch()

    def served(self, image, point):
        return point


class KeepsChanges:
    """Mixed in: what was written is in a file that outlives the server."""

    def prepare(self, image, directory):
        self.changes = directory / "changes"
        self.make_changes(image)

    def make_changes(self, image):
        raise NotImplementedError

    def close(self):
        """Returns when the server has ended and what was written is safe on the disk."""
        self.end()
        # Not everyone has seen to it.
        with open(self.changes, "rb") as file:
            os.fdatasync(file.fileno())

    def end(self):
        self.unmount()
        self.wait_for_end()

    def wait_for_end(self):
        try:
            status = self.process.wait(SECONDS_TO_CLOSE)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"{self.name} does not end when it is unmounted")
        if status:
            raise ServerFailed(f"{self.name} ended with exit status {status}")

    def allocated(self):
        """Bytes that the file takes up on its disk."""
        return self.changes.stat().st_blocks * 512


class PlatterOverlay(KeepsChanges, Platter):
    def make_changes(self, image):
        pass  # it makes its own

    def command(self, image, point):
        return [self.program, "mount", "--overlay", self.changes, *self.options, image.path, point]

    def end(self):
        self.unmount()  # returns when all is written and the daemon has ended


class PlatterOverlayOneView(OneView, PlatterOverlay):
    pass


class PlatterScratch(Platter):
    def __init__(self, program):
        super().__init__(program, "--scratch")
        self.folder = None

    def prepare(self, image, directory):
        self.folder = directory

    def environment(self):
        return {"TMPDIR": str(self.folder)}


class NullWriteServer(KeepsChanges, NullServer):
    """Writes into an empty file of the disk's size: what was not written reads as zeros."""

    def __init__(self, program, *options):
        super().__init__(program, "--write", *options)

    def make_changes(self, image):
        with open(self.changes, "wb") as file:
            file.truncate(image.size)

    def command(self, image, point):
        return [self.program, *self.options, self.changes, point]


class NullWriteServerOneView(OneView, NullWriteServer):
    def __init__(self, program):
        super().__init__(program, "--one-view")


class QEMUOverlay(KeepsChanges, QEMUExport):
    """A qcow2 file on the image, as `qemu-img create` makes it with these options. The page cache and
    no flush but what is asked for (cache.direct=off, cache.no-flush=off) are QEMU's defaults, and what
    Platter does."""

    packages = {"qemu-storage-daemon": "qemu-utils", "qemu-img": "qemu-utils"}

    def __init__(self, options=""):
        super().__init__()
        self.options = ["-o", options] if options else []

    def creation(self, image):
        return ["qemu-img", "create", "-q", "-f", "qcow2", *self.options, "-b", str(image.path.absolute()),
                "-F", image.format, str(self.changes)]

    def make_changes(self, image):
        done = subprocess.run(self.creation(image), capture_output=True, text=True)
        if done.returncode:
            raise ServerFailed(f"qemu-img create: {done.stderr.strip()}")

    def command(self, image, point):
        return ["qemu-storage-daemon",
                "--blockdev", f"driver=file,node-name=file,filename={self.changes}",
                "--blockdev", "driver=qcow2,node-name=disk,file=file",
                "--export", f"fuse,id=export,node-name=disk,mountpoint={point},writable=on"]

    def end(self):
        # It goes on without its mount; a signal is what makes it write its tables and end.
        self.process.terminate()
        self.wait_for_end()


class QEMUNewOverlay(QEMUOverlay):
    """Making the overlay is a part of the start, as somebody does it who wants to throw it away."""

    def make_changes(self, image):
        pass

    def command(self, image, point):
        serve = shlex.join(map(str, super().command(image, point)))
        return ["sh", "-c", f"{shlex.join(self.creation(image))} && exec {serve}"]


class NBDKitCow(NBDKit):
    """Copies on write into an unlinked file in TMPDIR, and throws it away at the end."""

    def __init__(self, *options):
        super().__init__()
        self.options = options
        self.folder = None

    def prepare(self, image, directory):
        self.folder = directory

    def environment(self):
        return {"TMPDIR": str(self.folder)}

    def command(self, image, point):
        mount = f'nbdfuse {shlex.quote(str(point))}/disk "$uri"'
        return ["nbdkit", "-U", "-", "--filter=cow", "file", image.path, *self.options,
                "--run", mount]
