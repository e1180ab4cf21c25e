"""How one number is taken from one served file, and how its bytes are proved right first.

The throughput measures take (path, size, forget): forget() drops what the kernel has cached of it.
"""

import hashlib
import json
import os
import subprocess
import time

import images
import processes
from images import MIB
from servers import ServerFailed

# A virtual machine gives freed memory back to its host, and gets it again page by page, slowly:
# reading 1.5 GiB into the page cache in one go then measures the host. Pieces of this size, the
# cache dropped between them, mostly reuse memory that is still there.
PIECE = 512 * MIB


def sequential(path, size, forget):
    """MiB/s of reading all of it, 1 MiB at a time."""
    seconds = 0
    with open(path, "rb", buffering=0) as file:
        for start in range(0, size, PIECE):
            forget()
            end = min(start + PIECE, size)
            begun = time.perf_counter()
            for offset in range(start, end, MIB):
                if os.preadv(file.fileno(), [images.CHUNK], offset) != min(MIB, end - offset):
                    raise ServerFailed(f"short read at {offset}")
            seconds += time.perf_counter() - begun
    return size / MIB / seconds


def random_4k(jobs, share=4):
    """Reads a second, 4 KiB each, at the same places for everyone."""
    def measure(path, size, forget):
        forget()
        # A quarter of the disk at most: later reads would more and more find a page cached.
        command = ["fio", "--name=random", f"--filename={path}", "--readonly", "--rw=randread",
                   "--bs=4k", "--ioengine=psync", "--thread", f"--numjobs={jobs}",
                   "--group_reporting", "--randseed=20", f"--io_size={size // share // jobs}",
                   "--runtime=3", "--invalidate=0", "--fadvise_hint=0", "--output-format=json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ServerFailed(f"fio: {(done.stderr or done.stdout).strip()[-500:]}")
        report = json.loads(done.stdout[done.stdout.index("{"):])
        return report["jobs"][0]["read"]["iops"]
    return measure


def memory_in_mib(server):
    """(process, resident, proportional) for each process of the server."""
    for role, pid in server.pids():
        memory = processes.memory_of(pid)
        yield role, memory.resident / MIB, memory.proportional / MIB


def peak_in_mib(server):
    """Of all of the server's processes together."""
    return sum(processes.memory_of(pid).peak for _, pid in server.pids()) / MIB


def check_everything(path, image):
    check_size(path, image)
    with open(path, "rb", buffering=0) as file:
        if hashlib.file_digest(file, "sha256").digest() != images.digest_of(image.content):
            raise ServerFailed("WRONG BYTES: what it serves is not what the image holds")


def check_samples(path, image):
    check_size(path, image)
    with open(path, "rb", buffering=0) as file:
        for offset in (0, image.size // 3, image.size // 2, image.size - 4096):
            if os.pread(file.fileno(), 4096, offset) != image.bytes_at(offset, 4096):
                raise ServerFailed(f"WRONG BYTES at {offset}")


def check_size(path, image):
    if (size := os.stat(path).st_size) != image.size:
        raise ServerFailed(f"WRONG SIZE: {size} instead of {image.size}")
