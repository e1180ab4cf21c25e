"""A random test of overlapping views against a model in memory, in the manner of fsx."""

import ctypes
import mmap
import os
import random

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
libc = ctypes.CDLL(None, use_errno=True)


def fallocate(descriptor, mode, offset, length):
    """As fallocate(2), which Python only has without its modes."""
    if libc.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Views:
    """`paths` are views of `model`; each with where it starts and how long it is. The first is opened
    first, so it is the one that the kernel caches; what is stored through a mapping of it is synchronised
    before anybody else looks. The first sector of the disk is left alone: it says where the views are."""

    def __init__(self, seed, model, paths):
        self.numbers = random.Random(seed)
        self.model = model
        self.paths = paths
        self.open = {}
        self.map = None
        self.operations = 0
        self.reopen(0)

    def reopen(self, index):
        if index in self.open:
            if index == 0 and self.map is not None:
                self.map.close()
                self.map = None
            os.close(self.open.pop(index))
        self.open[index] = os.open(self.paths[index][0], os.O_RDWR)
        if index == 0:
            try:
                self.map = mmap.mmap(self.open[0], 0)
            except OSError:
                pass

    def close(self):
        if self.map is not None:
            self.map.close()
        for descriptor in self.open.values():
            os.close(descriptor)

    def step(self):
        numbers = self.numbers
        self.operations += 1
        index = numbers.randrange(len(self.paths))
        _, start, size = self.paths[index]
        if index not in self.open:
            self.reopen(index)
        descriptor = self.open[index]
        length = min(size, numbers.choice((1, 511, 512, 4096, 8192, numbers.randint(1, 70000))))
        place = numbers.randint(0, size - length)
        if numbers.random() < 0.4:
            place = place // 4096 * 4096
        if start + place < 512:
            place, length = 512, min(length, size - 512)
        at = start + place
        where = f"operation {self.operations}, {self.paths[index][0]}, {length} bytes at {place}"
        choice = numbers.random()
        if choice < 0.45:
            content = numbers.randbytes(length)
            if index == 0 and self.map is not None and choice < 0.12:
                self.map[place:place + length] = content
                first = place // mmap.PAGESIZE * mmap.PAGESIZE
                self.map.flush(first, place + length - first)
            else:
                assert os.pwrite(descriptor, content, place) == length, where
            self.model[at:at + length] = content
        elif choice < 0.50:
            mode = numbers.choice((PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE))
            fallocate(descriptor, mode, place, length)
            self.model[at:at + length] = bytes(length)
        elif choice < 0.52:
            os.fsync(descriptor)
        elif choice < 0.53:
            self.reopen(index)
        elif index == 0 and self.map is not None and choice < 0.65:
            assert self.map[place:place + length] == self.model[at:at + length], where
        else:
            assert os.pread(descriptor, length, place) == self.model[at:at + length], where

    def check(self):
        for path, start, size in self.paths:
            with open(path, "rb") as file:
                assert file.read() == self.model[start:start + size], path
