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

OPTIONS = ["--scratch", "--overlay work.qcow2", "--write"]

# For each base and option, and operations of one mount: 10^6 of all together by `make soak`.
MOUNTS, OPERATIONS = (8, 4000) if SOAK else (2, 120)


def seed_of(base, option):
    """Another one each time in a soak; it is told where the test fails."""
    return int.from_bytes(os.urandom(4), "big") if SOAK else f"{base} {option}"


def check(overlay):
    """Whatever its base is: QEMU does not know all of them."""
    name = json.dumps({"driver": "qcow2", "backing": None,
                       "file": {"driver": "file", "filename": overlay}})
    run(f"qemu-img check {quoted('json:' + name)}")


def views_of(mnt, model, numbers):
    """The disk and its partitions in any order: the first is the one that is cached and mapped."""
    views = [(mnt / "disk", 0, len(model)), (mnt / "p1", *P1), (mnt / "p2", *P2)]
    return numbers.sample(views, 3)


def work(views, model, numbers):
    """Random operations."""
    test = Views(numbers.getrandbits(64), model, views)
    try:
        test.check()
        for _ in range(OPERATIONS):
            test.step()
        test.check()
        assert test.map is not None, "the view that was opened first is the one that is cached"
    finally:
        test.close()


def mounts(image, option, pristine, numbers):
    """Several, one after the other. Gives what the disk holds at last."""
    model = bytearray(pristine)
    for _ in range(MOUNTS):
        with mounted(image, option) as mnt:
            work(views_of(mnt, model, numbers), model, numbers)
            assert status(mnt)["failedWrites"] == 0
        if option == "--scratch":
            model[:] = pristine
        elif "overlay" in option:
            check("work.qcow2")
            # From the base again, now and then: what is all written reads nothing of it.
            if numbers.random() < 0.3:
                os.unlink("work.qcow2")
                model[:] = pristine
    return model


@needs("qemu-img")
@pytest.mark.parametrize("base", BASES)
def test_views_over_every_base(home, base):
    image = BASES[base]()
    files = {path: digest(path) for path in Path().iterdir()}
    with mounted(image) as mnt:
        pristine = (mnt / "disk").read_bytes()
    for option in OPTIONS[:3 if base in FLAT else 2]:
        seed = seed_of(base, option)
        try:
            model = mounts(image, option, pristine, random.Random(seed))
        except AssertionError as error:
            raise AssertionError(f"{option}, seed {seed!r}: {error}") from error
        if option != "--write":
            assert {path: digest(path) for path in files} == files
        with mounted(image, "" if option == "--write" else option) as mnt:
            assert (mnt / "disk").read_bytes() == model


@needs("qemu-img")
@pytest.mark.parametrize("base", ["raw", "a size of no whole sectors", "dynamic VHD"])
@pytest.mark.parametrize("option", OPTIONS[:2])
def test_the_one_view(home, base, option):
    """In the place of a file, where the kernel keeps writes back."""
    image = BASES[base]()
    Path("one").touch()
    with mounted(image, at="one") as one:
        pristine = one.read_bytes()
    model = bytearray(pristine)
    seed = seed_of(base, f"one {option}")
    numbers = random.Random(seed)
    try:
        for _ in range(MOUNTS):
            with mounted(image, option, at="one") as one:
                work([(one, 0, len(model))], model, numbers)
            if option == "--scratch":
                model[:] = pristine
            else:
                check("work.qcow2")
    except AssertionError as error:
        raise AssertionError(f"seed {seed!r}: {error}") from error
    with mounted(image, option) as mnt:
        assert (mnt / "disk").read_bytes() == model
