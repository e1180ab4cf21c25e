"""The daemon is killed in the middle of writes: the overlay opens again, and nothing flushed is lost."""

import json
import os
import random
import signal
import threading
from pathlib import Path

import pytest

from support.files import MIB, digest, noise, sparse_file, write_at
from support.session import SOAK
from support.shell import attempt, needs, run
from support.work import status

BLOCK = 4096
SIZE = 16 * MIB


class Writer:
    """Writes blocks at random until the daemon is gone, and knows which of them were flushed."""

    def __init__(self, random_numbers):
        self.random = random_numbers
        self.flushed = {}

    def write_until_it_breaks(self, path, killer):
        pending = {}
        handle = os.open(path, os.O_RDWR)
        killer.start()
        try:
            while True:
                place = self.random.randrange(SIZE // BLOCK) * BLOCK
                block = self.random.randbytes(BLOCK)
                # From here on it can be the old one or the new one.
                self.flushed.pop(place, None)
                pending.pop(place, None)
                os.pwrite(handle, block, place)
                pending[place] = block
                if self.random.random() < 0.1:
                    os.fsync(handle)
                    self.flushed.update(pending)
                    pending = {}
        except OSError:
            pass
        finally:
            try:
                os.close(handle)
            except OSError:
                pass

    def lost(self, path):
        with open(path, "rb", buffering=0) as file:
            return [place for place, block in self.flushed.items()
                    if os.pread(file.fileno(), BLOCK, place) != block]


def checked(overlay):
    """What `qemu-img check` counts: errors and leaks."""
    # -U: the killed daemon's locks go a moment after its mount does.
    result = attempt(f"qemu-img check -U --output=json {overlay}")
    report = json.loads(result.out)
    return report.get("corruptions", 0) + report["check-errors"], report.get("leaks", 0)


@needs("qemu-img")
@pytest.mark.parametrize("seed", range(5 if not SOAK else 25))
def test_killed_in_the_middle_of_writes(seed, home):
    """Forty times a seed: 200 in CI, 1,000 by `make soak`."""
    write_at(sparse_file("base.img", SIZE), 0, noise(seed, MIB))
    before = digest("base.img")
    os.mkdir("mnt")
    writer = Writer(random.Random(seed))
    for _ in range(40):
        run("platter mount --overlay work.qcow2 base.img mnt")
        assert writer.lost("mnt/disk") == []
        killer = threading.Timer(
            writer.random.uniform(0.002, 0.04),
            os.kill, (status(Path("mnt"))["daemonPid"], signal.SIGKILL))
        writer.write_until_it_breaks("mnt/disk", killer)
        killer.join()
        assert checked("work.qcow2")[0] == 0
    run("platter mount --overlay work.qcow2 base.img mnt")
    assert writer.lost("mnt/disk") == []
    run("platter unmount mnt")
    assert checked("work.qcow2") == (0, 0)
    assert digest("base.img") == before
