"""Writes at random into a file for some seconds: one of many at once. Started as a program of its own.

python3 -m support.hammer FILE SEED SECONDS PROGRESS [mmap]

Before each operation, what it is goes into the file PROGRESS, which whoever started this looks at: a
process that the kernel holds cannot say itself that it is stuck.
"""

import mmap
import os
import random
import struct
import sys
import time

from .session import REPOSITORY
from .views import KEEP_SIZE, PUNCH_HOLE, fallocate

KINDS = ("read", "fsync", "reopen", "punch", "store", "store and msync", "write")
WEIGHTS = (25, 2, 3, 5, 10, 10, 45)

SLOT = 4096
SIZE = struct.Struct("<Q")


class Progress:
    """The last operation of a hammer: its number and its description."""

    def __init__(self, path, *, creating=False):
        self.path = path
        with open(path, "w+b" if creating else "r+b") as file:
            if creating:
                file.truncate(SLOT)
            self.slot = mmap.mmap(file.fileno(), SLOT)

    def tell(self, number, description):
        text = description.encode()
        self.slot[8:9 + len(text)] = text + b"\0"
        self.slot[:8] = SIZE.pack(number)

    @property
    def number(self):
        return SIZE.unpack(self.slot[:8])[0]

    @property
    def description(self):
        return self.slot[8:].split(b"\0")[0].decode(errors="replace")


def command(view, seed, seconds, progress, *, mapped=False):
    """A shell line that hammers a view and prints how often, and whether through a mapping."""
    return (f"cd {REPOSITORY / 'integration'} && exec {sys.executable} -B -m support.hammer {view} "
            f"{seed} {seconds} {progress.path} {'mmap' if mapped else ''}")


def main(path, seed, seconds, progress, mapped):
    numbers = random.Random(seed)
    progress = Progress(progress)
    descriptor = os.open(path, os.O_RDWR)
    size = os.fstat(descriptor).st_size
    window = None
    if mapped:
        try:
            window = mmap.mmap(descriptor, size)
        except OSError:
            pass  # A view that another one keeps from being cached.
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        length = numbers.choice((1, 512, 4096, 9000, numbers.randint(1, 20000)))
        # The first sector of a disk says where the other views are.
        place = numbers.randrange(512, size - length)
        kind = numbers.choices(KINDS, WEIGHTS)[0]
        if window is None:
            kind = {"store": "write", "store and msync": "write"}.get(kind, kind)
        count += 1
        progress.tell(count, f"{kind}, {length} bytes at {place} of {path}")
        if kind == "read":
            os.pread(descriptor, length, place)
        elif kind == "fsync":
            os.fsync(descriptor)
        elif kind == "reopen":
            os.close(descriptor)
            descriptor = os.open(path, os.O_RDWR)
        elif kind == "punch":
            fallocate(descriptor, PUNCH_HOLE | KEEP_SIZE, place, length)
        elif kind == "write":
            os.pwrite(descriptor, bytes([seed]) * length, place)
        else:
            window[place:place + length] = bytes([seed]) * length
            if kind == "store and msync":
                window.flush()
    if window is not None:
        progress.tell(count + 1, "the last msync")
        window.flush()
        window.close()
    progress.tell(count + 2, "the last close")
    os.close(descriptor)
    print(count, int(mapped and window is not None))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], "mmap" in sys.argv[5:])
