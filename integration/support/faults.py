"""I/O of Platter's that fails when a test says so; see faults.c."""

import errno
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from .shell import quoted, run

SOURCE = Path(__file__).with_name("faults.c")
FIELDS = struct.Struct("@7Q")
FOREVER = 2**64 - 1


@dataclass(frozen=True)
class Fault:
    """What happens to one I/O and to those behind it."""

    name: str
    error: int          # 0: half of it is done.
    after: int = 0      # And what the next ones get,
    count: int = 1      # so many with the first one.

    def __str__(self):
        return self.name


FAULTS = [
    Fault("EIO", errno.EIO),
    Fault("ENOSPC", errno.ENOSPC),
    Fault("half of it", 0),
    Fault("half of it, then ENOSPC", 0, errno.ENOSPC, 2),
    Fault("EIO until it is mended", errno.EIO, errno.EIO, FOREVER),
]


def shim(folder):
    """The library to preload, made in this folder."""
    library = folder / "faults.so"
    if not library.exists():
        run(f"cc -Wall -O1 -shared -fPIC -o {quoted(library)} {quoted(SOURCE)} -ldl")
    return library


class Faults:
    """Of the files whose path ends with `name`."""

    def __init__(self, library, name, control="faults"):
        Path(control).write_bytes(bytes(FIELDS.size))
        with open(control, "r+b") as file:
            self.fields = mmap.mmap(file.fileno(), FIELDS.size)
        self.prefix = (f"LD_PRELOAD={quoted(library)} FAULTY_FILE={quoted(name)} "
                       f"FAULTS={quoted(Path(control).absolute())}")

    def _set(self, first, last=0, error=0, after=0):
        # Without `first` nothing happens while the others change.
        self.fields[16:24] = bytes(8)
        self.fields[24:48] = struct.pack("@3Q", last, error, after)
        self.fields[16:24] = struct.pack("@Q", first)

    def arm(self, number, fault):
        """The call with this number from now on, counted from 1, will fail."""
        first = self.calls + number
        self._set(first, min(FOREVER, first + fault.count - 1), fault.error, fault.after)

    def disarm(self):
        self._set(0)

    def __enter__(self):
        """For a while nothing fails, and nothing is counted."""
        self.fields[48:56] = struct.pack("@Q", 1)

    def __exit__(self, *_):
        self.fields[48:56] = bytes(8)

    @property
    def calls(self):
        return FIELDS.unpack(self.fields)[0]

    @property
    def count(self):
        """How many were made to fail."""
        return FIELDS.unpack(self.fields)[1]
