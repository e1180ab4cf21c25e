"""Sixteen hammers (hammer.py) at once, over three views of a small disk."""

import os
import subprocess
import time
from pathlib import Path

from .hammer import Progress, command
from .shell import start

# No operation takes longer on a busy machine, unless it waits for what waits for it.
STUCK = 30


class Hammers:
    """They write for so many seconds, and end with the block that this is the context of."""

    def __init__(self, mnt, seconds):
        self.mnt = mnt
        self.seconds = seconds
        self.processes = []

    def __enter__(self):
        # Held open, it is the view that is cached from first to last, and mapped by some.
        self.cached = os.open(self.mnt / "disk", os.O_RDWR)
        for seed in range(1, 17):
            progress = Progress(Path(f"progress-{seed}").absolute(), creating=True)
            view = self.mnt / ("disk", "p1", "p2")[seed % 3]
            self.processes.append((start(
                command(view, seed, self.seconds, progress, mapped=seed % 4 == 3),
                stdout=subprocess.PIPE), progress))
        return self

    def __exit__(self, *_):
        for process, _ in self.processes:
            process.kill()
            process.wait()
        os.close(self.cached)

    def counts(self):
        """Waits for their ends. How many operations each made, and how many hammers used a mapping."""
        self._watch()
        said = [process.communicate()[0].split() for process, _ in self.processes]
        assert all(process.returncode == 0 for process, _ in self.processes)
        return [int(line[0]) for line in said], sum(int(line[1]) for line in said)

    def _watch(self):
        """Names the operations that do not end."""
        last = {}
        end = time.monotonic() + self.seconds + STUCK
        while any(process.poll() is None for process, _ in self.processes):
            now = time.monotonic()
            for process, progress in self.processes:
                number, since = last.get(process, (None, now))
                if progress.number != number or process.poll() is not None:
                    last[process] = progress.number, now
            stuck = [progress.description for process, progress in self.processes
                     if process.poll() is None and now - last[process][1] > STUCK]
            assert not stuck, f"stuck for {STUCK} s: {stuck}"
            assert now < end
            time.sleep(0.1)
