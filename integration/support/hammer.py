"""Writes at random into a file for some seconds: one of many at once. Started as a program of its own.

hammer.py FILE SEED SECONDS [mmap]
"""

import mmap
import os
import random
import sys
import time


def main(path, seed, seconds, mapped):
    numbers = random.Random(seed)
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
        choice = numbers.random()
        if choice < 0.25:
            os.pread(descriptor, length, place)
        elif choice < 0.27:
            os.fsync(descriptor)
        elif choice < 0.30:
            os.close(descriptor)
            descriptor = os.open(path, os.O_RDWR)
        elif window is not None and choice < 0.5:
            window[place:place + length] = bytes([seed]) * length
            if choice < 0.4:
                window.flush()
        else:
            os.pwrite(descriptor, bytes([seed]) * length, place)
        count += 1
    if window is not None:
        window.flush()
        window.close()
    os.close(descriptor)
    print(count)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), "mmap" in sys.argv[4:])
