"""Programs that use one image at a time: as QEMU locks it; and a hundred overlays of one base."""

import json
import os

from support.files import digest, noise, read_at, write_at
from support.qemu_io import Holder
from support.session import SOAK
from support.shell import attempt, mounted, needs, refused, run
from support.work import P1, small_disk, status


@needs("qemu-io")
def test_programs_that_share_an_image(home):
    """As two QEMUs do: any number of readers, or one writer; --force-share looks all the same."""
    image = small_disk()
    reader, writer, looker = "-r -f raw", "-f raw", "-r -U -f raw"
    # qemu-io lets others write to a raw image that it only reads.
    for held, option, is_shared in (
            (reader, "", True), (reader, "--scratch", True), (reader, "--write", True),
            (writer, "", False), (writer, "--write", False), (writer, "--scratch", False),
            (writer, "--force-share", True), (looker, "--write", True), (looker, "", True)):
        with Holder(f"{held} {image}"):
            if is_shared:
                with mounted(image, option):
                    pass
            else:
                refused(f"platter mount {option} {image}", image, "another program")
    for option, used, is_shared in (
            ("", reader, True), ("", writer, False), ("--scratch", writer, False),
            ("--write", writer, False), ("--write", looker, True), ("--force-share", writer, True),
            ("", looker, True)):
        with mounted(image, option):
            found = attempt(f"qemu-io {used} -c 'read 0 512' {image}")
            assert (found.status == 0) == is_shared, f"{option}, {used}: {found}"
            assert is_shared or "lock" in found.err


def test_mounts_that_share_an_image(home):
    image = small_disk()
    with mounted(image), mounted(image, at="two"), mounted(image, "--scratch", at="three"), mounted(
            image, "--overlay w.qcow2", at="four"):
        refused(f"platter mount --write {image}", "another program")
        refused(f"platter mount --overlay w.qcow2 {image}", "w.qcow2", "another program")
    with mounted(image, "--write"):
        for option in ("", "--write", "--scratch"):
            refused(f"platter mount {option} {image}", "another program")
        with mounted(image, "--force-share", at="two") as two:
            assert status(two)["readOnly"]


@needs("qemu-img")
def test_a_hundred_overlays_of_one_base(home):
    """All mounted at once: each has its own changes, and the base has none."""
    image = small_disk()
    write_at(image, P1[0] + 100_000, noise("base", 100_000))
    before, whole = digest(image), bytearray(open(image, "rb").read())
    numbers = range(100)
    # What each is asked after it was closed takes a while.
    some = numbers if SOAK else numbers[::10]

    def each(command, which):
        names = " ".join(map(str, which))
        run(f"for n in {names}; do {command} || exit; done", timeout=180)

    mount = f"mkdir -p $n && platter mount --overlay $n.qcow2 {image} $n"

    def check(which):
        for number in which:
            mine = bytearray(whole)
            place = P1[0] + 50_000 + 700 * number
            mine[place:place + 2000] = noise(number, 2000)
            mine[600 * (number + 1):600 * (number + 1) + 900] = bytes(900)
            assert read_at(f"{number}/disk", 0, len(mine)) == mine, number

    each(mount, numbers)
    assert len(json.loads(run("platter list --json").out)["mounts"]) == 100
    for number in numbers:
        write_at(f"{number}/p1", 50_000 + 700 * number, noise(number, 2000))
    for number in reversed(numbers):
        write_at(f"{number}/disk", 600 * (number + 1), bytes(900))
    check(numbers)
    each("platter unmount $n", numbers)
    for number in numbers:
        assert os.path.getsize(f"{number}.qcow2") < 2 * os.path.getsize(image)
    each("qemu-img check -q $n.qcow2", some)
    each(mount, some)
    check(some)
    each("platter unmount $n", some)
    assert digest(image) == before
