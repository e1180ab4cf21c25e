"""What mounts of compressed images take of the memory, and that they stay right, under many readers."""

import json
import shutil
import subprocess
import time
from contextlib import ExitStack

import pytest

from support.files import digest
from support.packed import KINDS, bound, known_disk, memory, packed, readers
from support.session import SOAK
from support.shell import mounted, needs, quoted, run, start

pytestmark = needs("cc")

MEBIBYTES = 208
READERS = 16
SECONDS = 10 if SOAK else 2


def chosen():
    """The kinds that are made here."""
    return [pytest.param(kind, marks=needs(*how.tools)) for kind, how in KINDS.items()
            if SOAK or how.usual]


@pytest.fixture(scope="module")
def known(library):
    folder = library / "known"
    folder.mkdir()
    yield known_disk(folder / "disk.img", MEBIBYTES)
    shutil.rmtree(folder)


def daemon(mnt):
    return json.loads((mnt / "status.json").read_text())["daemonPid"]


def read(known, seconds, way, *mounts, threads=READERS):
    views = " ".join(quoted(mnt / "disk") for mnt in mounts)
    return start(f"exec {readers(known.parent)} {known} {threads} {seconds} {way} {views}",
                 stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", chosen())
@pytest.mark.parametrize("cache", [64, 16])
def test_bound(kind, cache, known):
    """Sixteen readers, at random and from front to back: the cache's size and 40 MiB, at the peak."""
    image = packed(kind, known)
    for way, option in (("random", "--cache=none"), ("sequential", "")):
        with mounted(image, option, f"--cache-size {cache}M") as mnt:
            said, _ = (reading := read(known, SECONDS, way, mnt)).communicate()
            assert reading.returncode == 0, said
            most = memory(daemon(mnt), "VmHWM")
            print(f"{kind}, {way}, cache of {cache} MiB: {most:.0f} MiB, "
                  f"{int(said) / SECONDS / 2**20:.0f} MiB/s")
            assert most <= bound(kind, cache), (way, most)


def test_soak(known):
    """64 threads read at random, of each kind, all at once: the right bytes, and no growth."""
    kinds = [kind for kind, how in KINDS.items() if (SOAK or how.usual)
             and not needs(*how.tools).args[0]]
    seconds = 600 if SOAK else 4
    with ExitStack() as mounts:
        points = {}
        for kind in kinds:
            image = packed(kind, known)
            # Once from front to back, so that what is kept of streams is complete.
            assert run(f"platter hash {image}", timeout=600).out.split()[0] == digest(known)
            points[kind] = mounts.enter_context(mounted(image, "--cache=none", at=f"mnt-{kind}"))
        pids = {kind: daemon(mnt) for kind, mnt in points.items()}
        taken = {kind: [] for kind in kinds}
        reading = read(known, seconds, "random", *points.values(), threads=64 * len(kinds))
        try:
            end = time.monotonic() + seconds
            while reading.poll() is None and time.monotonic() < end:
                time.sleep(0.5)
                for kind, pid in pids.items():
                    taken[kind].append(memory(pid, "VmRSS"))
            said, _ = reading.communicate(timeout=120)
        finally:
            reading.kill()
            reading.wait()
        assert reading.returncode == 0, said
        for (kind, samples), count in zip(taken.items(), said.split(), strict=True):
            half = len(samples) // 2
            first, second = max(samples[:half]), max(samples[half:])
            most = memory(pids[kind], "VmHWM")
            print(f"{kind}: {first:.1f} MiB, then {second:.1f}, most {most:.1f}; "
                  f"{int(count) >> 20} MiB read")
            assert most <= bound(kind, 64), kind
            # A few seconds are too short for caches to fill; where a read takes seconds, so is half the
            # time: a full cache and what is around it takes this much.
            assert not SOAK or second <= max(first + 4, 64 + 30), kind
