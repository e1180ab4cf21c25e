"""How fast one served file takes writes, and how they are proved to have arrived."""

import json
import mmap
import os
import random
import subprocess
import time
from dataclasses import dataclass

from images import MIB
from servers import ServerFailed

PAGE = 4096
# What page n of the disk is written with is page n % DIFFERENT of this: a prime number, so that a
# write that went to a wrong power of two does not look right. Page-aligned, as images.CHUNK.
DIFFERENT = 257
DATA = mmap.mmap(-1, DIFFERENT * PAGE + MIB)
DATA.write((random.Random(4).randbytes(DIFFERENT * PAGE) * 2)[:len(DATA)])
VIEW = memoryview(DATA)

CHECKED_PLACES = 24
CHECKED_AROUND = 128 << 10  # what a server may have had to copy along: the largest cluster of them


def content(offset, length):
    start = offset // PAGE % DIFFERENT * PAGE
    return VIEW[start:start + length]


@dataclass(frozen=True)
class Writes:
    """Each block is written once, or once in each of two passes, at the same places for everyone."""

    piece: int  # bytes of each
    total: int
    at_random: bool
    sync_each: bool = False    # fdatasync after each
    sync_at_end: bool = False  # one fsync, timed too
    twice: bool = False        # and over what is there by now

    def places(self, size):
        if not self.at_random:
            return range(0, self.total, self.piece)
        numbers = random.Random(20).sample(range(size // self.piece), self.total // self.piece)
        return [number * self.piece for number in numbers]

    def measure(self, path, size):
        """Writes a second ("rate"), of the same once more where that is asked for ("again"), and how
        many seconds the close after them took ("close")."""
        work = [(content(offset, self.piece), offset) for offset in self.places(size)]
        taken = {}
        file = os.open(path, os.O_RDWR)
        try:
            for name in ("rate", "again") if self.twice else ("rate",):
                begun = time.perf_counter()
                self.perform(work, file)
                taken[name] = len(work) / (time.perf_counter() - begun)
        finally:
            begun = time.perf_counter()
            os.close(file)
            taken["close"] = time.perf_counter() - begun
        return taken

    def perform(self, work, file):
        for data, offset in work:
            if os.pwrite(file, data, offset) != self.piece:
                raise ServerFailed(f"short write at {offset}")
            if self.sync_each:
                os.fdatasync(file)
        if self.sync_at_end:
            os.fsync(file)

    def check(self, path, image):
        """Some of the places, with what is around them, read from the server."""
        places = self.places(image.size)
        written = set(places) if self.piece == PAGE else set(range(0, self.total, PAGE))
        with open(path, "rb", buffering=0) as file:
            for place in random.Random(5).sample(places, min(CHECKED_PLACES, len(places))):
                start = place // CHECKED_AROUND * CHECKED_AROUND
                length = min(CHECKED_AROUND, image.size - start)
                expected = bytearray(image.bytes_at(start, length))
                for page in range(start, start + length, PAGE):
                    if page in written:
                        expected[page - start:page - start + PAGE] = content(page, PAGE)
                if os.pread(file.fileno(), length, start) != expected:
                    raise ServerFailed(f"WRONG BYTES after writing, around {place}")


@dataclass(frozen=True)
class WritesByJobs:
    """Random 4 KiB writes by several threads at once, each in a part of the disk of its own, so that
    here too each block is written once."""

    jobs: int
    total: int

    def measure(self, path, size):
        """As above; fio does not say how long it took to close."""
        part = size // self.jobs // PAGE * PAGE
        command = ["fio", "--name=random", f"--filename={path}", "--rw=randwrite", "--bs=4k",
                   "--ioengine=psync", "--thread", f"--numjobs={self.jobs}", f"--size={part}",
                   f"--offset_increment={part}", f"--io_size={self.total // self.jobs}",
                   "--group_reporting", "--randseed=20", "--allow_file_create=0", "--fallocate=none",
                   "--invalidate=0", "--fadvise_hint=0", "--output-format=json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ServerFailed(f"fio: {(done.stderr or done.stdout).strip()[-500:]}")
        written = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["write"]
        if written["io_bytes"] != self.total // self.jobs * self.jobs:
            raise ServerFailed(f"fio wrote {written['io_bytes']} bytes instead of {self.total}")
        return {"rate": written["iops"]}

    def check(self, path, image):
        """What one job writes is checked; what fio wrote where is not known here."""
