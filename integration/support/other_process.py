"""A process of its own that writes into a file, keeps it open and mapped, and asks for nothing to be saved.

A test that does that itself proves nothing about what the kernel has not written yet: each command that
it starts closes the file once, in the child, and that writes everything.
"""

import json
import mmap
import os
import subprocess
import sys

from .files import noise


class OtherProcess:
    """It holds `path` open until the end of the block that it is the context of."""

    def __init__(self, path):
        from .session import REPOSITORY
        from .shell import start

        self.process = start(
            f"exec {sys.executable} -B -m support.other_process '{path.absolute()}'",
            cwd=REPOSITORY / "integration", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        self._expect_done("open and map")
        return self

    def __exit__(self, *_):
        try:
            self.process.communicate(timeout=30)
        finally:
            self.process.kill()
            self.process.wait()

    def write(self, place, seed, count):
        """Noise, with write(2)."""
        self._ask("write", place, seed, count)

    def store(self, place, seed, count):
        """Noise, through the mapping."""
        self._ask("store", place, seed, count)

    def _ask(self, *order):
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        self._expect_done(order)

    def _expect_done(self, what):
        assert self.process.stdout.readline() == b"done\n", what


def main(path):
    with open(path, "r+b", 0) as file, mmap.mmap(file.fileno(), 0) as view:
        print("done", flush=True)
        for line in sys.stdin:
            how, place, seed, count = json.loads(line)
            if how == "write":
                assert os.pwrite(file.fileno(), noise(seed, count), place) == count
            else:
                view[place:place + count] = noise(seed, count)
            print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
