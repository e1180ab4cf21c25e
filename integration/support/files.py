"""Looking at bytes, sizes and holes of files."""

import hashlib
import os
import random
from pathlib import Path

MIB = 1 << 20


def noise(seed, count):
    """Bytes without a pattern, the same for the same seed."""
    return random.Random(seed).randbytes(count)


def write_at(path, offset, content):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def read_at(path, offset, count):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(count)


def sparse_file(path, size):
    """A file of zeros that occupies nothing."""
    with open(path, "wb") as file:
        file.truncate(size)
    return Path(path).absolute()


def digest(path, algorithm="sha256", *, offset=0, length=None):
    """Of the bytes as they are read, holes and all."""
    hasher = hashlib.new(algorithm)
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        rest = os.fstat(file.fileno()).st_size - offset if length is None else length
        while rest > 0 and (piece := file.read(min(4 * MIB, rest))):
            hasher.update(piece)
            rest -= len(piece)
    assert rest == 0, f"{path} ends {rest} bytes early"
    return hasher.hexdigest()


def data_ranges(path, start=0, end=None):
    """What SEEK_DATA and SEEK_HOLE call data, as (start, end), from `start` to `end`."""
    ranges = []
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size if end is None else end
        place = start
        while place < end:
            try:
                place = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left.
                break
            if place >= end:
                break
            hole = min(end, os.lseek(file.fileno(), place, os.SEEK_HOLE))
            ranges.append((place, hole))
            place = hole
    return ranges


def merged(ranges):
    """Overlapping and touching ranges as one."""
    result = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def difference(view, whole, start, size, *, everything=64 * MIB):
    """The first offset at which `view` is not the `size` bytes of `whole` from `start`; None where
    it is. Of what is larger than `everything`, only what either file calls data is compared."""
    if os.stat(view).st_size != size:
        return f"size: {os.stat(view).st_size}, not {size}"
    ranges = [(0, size)]
    if size > everything:
        there = [(a - start, b - start) for a, b in data_ranges(whole, start, start + size)]
        ranges = merged(data_ranges(view) + there)
    with open(view, "rb", buffering=0) as one, open(whole, "rb", buffering=0) as other:
        for place, end in ranges:
            while place < end:
                count = min(MIB, end - place)
                ours = os.pread(one.fileno(), count, place)
                theirs = os.pread(other.fileno(), count, start + place)
                if ours != theirs:
                    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b),
                              min(len(ours), len(theirs)))
                    return place + at
                place += count
    return None
