"""What was written is what is there: random operations through overlapping views against a model in
memory, over every kind of base, with the mount ended and made again in between."""

import json
import os
import random
from pathlib import Path

import pytest

from support.bases import BASES, FLAT
from support.files import digest
from support.session import SOAK
from support.shell import mounted, needs, quoted, run
from support.views import Views
from support.work import P1, P2, status

CASES = [(base, option) for base in BASES for option in ("--scratch", "--overlay work.qcow2")] + [
    (base, "--write") for base in FLAT]

# Mounts of one case, and operations of one mount: 10^6 of all cases together by `make soak`.
MOUNTS, OPERATIONS = (8, 4000) if SOAK else (2, 150)


def seed_of(base, option):
    """Another one each time in a soak; it is told where the test fails."""
    return int.from_bytes(os.urandom(4), "big") if SOAK else f"{base} {option}"


def check(overlay):
    """Whatever its base is: QEMU does not know all of them."""
    name = json.dumps({"driver": "qcow2", "backing": None,
                       "file": {"driver": "file", "filename": overlay}})
    run(f"qemu-img check {quoted('json:' + name)}")


def work(mnt, model, numbers):
    """Random operations, through the disk and its partitions; one of them is cached and mapped."""
    views = {"disk": (0, len(model)), "p1": P1, "p2": P2}
    first = numbers.choice(list(views))
    names = [first] + [name for name in views if name != first]
    test = Views(numbers.getrandbits(64), model, [(mnt / name, *views[name]) for name in names])
    try:
        test.check()
        for _ in range(OPERATIONS):
            test.step()
        test.check()
        assert test.map is not None, "the view that was opened first is the one that is cached"
    finally:
        test.close()


@needs("qemu-img")
@pytest.mark.parametrize("base, option", CASES, ids=str)
def test_views_over_every_base(home, base, option):
    image = BASES[base]()
    files = {path: digest(path) for path in Path().iterdir()}
    with mounted(image) as mnt:
        pristine = (mnt / "disk").read_bytes()
    model = bytearray(pristine)
    seed = seed_of(base, option)
    numbers = random.Random(seed)
    try:
        for _ in range(MOUNTS):
            with mounted(image, option) as mnt:
                work(mnt, model, numbers)
                assert status(mnt)["failedWrites"] == 0
            if option == "--scratch":
                model[:] = pristine
            elif option == "--write":
                continue
            else:
                check("work.qcow2")
                # From the base again, now and then: what is all written reads nothing of it.
                if numbers.random() < 0.3:
                    os.unlink("work.qcow2")
                    model[:] = pristine
    except AssertionError as error:
        raise AssertionError(f"seed {seed!r}: {error}") from error
    with mounted(image, "" if option == "--write" else option) as mnt:
        assert (mnt / "disk").read_bytes() == model
    if option != "--write":
        assert {path: digest(path) for path in files} == files
