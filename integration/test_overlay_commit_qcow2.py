"""Changes put into qcow2 bases: other overlays, and images that QEMU made."""

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from support.files import MIB, digest, noise, read_at, write_at
from support.overlays import check, content, mark_of, said
from support.session import SOAK
from support.shell import attempt, mounted, needs, refused, run, start
from support.work import status


def qcow2_base(kind, size=MIB):
    """Gives its name, and the files that a test copies to have it again."""
    Path("plain").write_bytes(noise(8, size * 3 // 4) + bytes(size - size * 3 // 4))
    if kind == "overlay":
        with mounted("plain", "--overlay base.qcow2") as mnt:
            write_at(mnt / "disk", size // 3, noise(9, size // 5))
            write_at(mnt / "disk", size - 70_000, noise(10, 50_000))
        return "base.qcow2"
    option = "-c" if kind == "compressed" else ""
    run(f"qemu-img convert -f raw -O qcow2 {option} plain base.qcow2")
    if kind == "snapshot":
        run("qemu-img snapshot -c old base.qcow2")
    return "base.qcow2"


@needs("qemu-img")
@pytest.mark.parametrize("kind", ["plain", "compressed", "snapshot", "overlay"])
def test_commit_into_qcow2(home, kind):
    image = qcow2_base(kind)
    before = content(image)
    for number in range(2):
        with mounted(image, "--overlay w.qcow2") as mnt:
            assert status(mnt)["notes"] == []
            write_at(mnt / "disk", 5, noise(number, 100))
            write_at(mnt / "disk", MIB // 2 - 2000, noise(number + 3, 10_000))
            write_at(mnt / "disk", MIB - 3, b"end")
            run(f"fallocate -p -o 65536 -l 131072 {mnt}/disk")
            whole = digest(mnt / "disk")
        run("platter overlay commit w.qcow2")
        assert content(image) == whole and content() == whole
        told = said()
        assert told["changedBytes"] == 0 and told["state"] == "clean"
        assert told["base"]["state"] == "same"
        check()
        check(image)
    run(f"qemu-img compare {image} w.qcow2")
    if kind == "snapshot":
        assert content(image, "--snapshot old") == before
    if kind == "overlay":
        # And down again: into the flat image.
        assert said(image)["state"] == "clean"
        run(f"platter overlay commit {image}")
        assert digest("plain") == whole and content(image) == whole
        assert said(image)["changedBytes"] == 0
        # What lies below the base is another file now, for whoever stands on it.
        assert said()["base"]["state"] != "same"


@needs("qemu-img")
@pytest.mark.parametrize("kind", ["compressed", "overlay"])
def test_commit_into_qcow2_interrupted(home, kind):
    """Killed at any moment: the disk reads the same throughout, and the next one finishes it."""
    size = 12 * MIB
    rng = random.Random(3)
    image = qcow2_base(kind, size)
    with mounted(image, "--overlay w.qcow2") as mnt:
        for number in range(60):
            write_at(mnt / "disk", rng.randrange(size - 90_000), noise(number, 90_000))
        run(f"fallocate -p -o 4194304 -l 1048576 {mnt}/disk")
        whole = digest(mnt / "disk")
    before = digest(image)
    mark = mark_of("w.qcow2")
    for name in (image, "w.qcow2"):
        shutil.copy(name, name + ".pristine")

    def commit(seconds=None):
        """Kills a commit so long after its mark was seen; gives how long that was there."""
        process = start("exec platter overlay commit w.qcow2", stderr=subprocess.DEVNULL)
        while process.poll() is None and not read_at("w.qcow2", mark, 8)[7] & 2:
            pass
        begin = time.monotonic()
        while process.poll() is None and read_at("w.qcow2", mark, 8)[7] & 2:
            if seconds is not None and time.monotonic() - begin >= seconds:
                process.kill()
        process.wait()
        return time.monotonic() - begin

    longest = commit()
    assert content(image) == whole and said()["state"] == "clean"
    interrupted = touched = 0
    for number in range(500 if SOAK else 10):
        for name in (image, "w.qcow2"):
            shutil.copy(name + ".pristine", name)
        for _ in range(2):
            commit(longest * rng.random() ** 2)
            if said()["state"] == "committing":
                interrupted += 1
                touched += digest(image) != before
                assert content() == whole
                # The base is what it must still be, as far as that was recorded.
                assert said()["base"]["state"] in ("same", "touched")
                # Leaks perhaps, and no errors.
                found = attempt(f"qemu-img check -U {image}")
                assert found.status in (0, 3), found
        run("platter overlay commit w.qcow2")
        assert content(image) == whole and content() == whole
        assert said()["state"] == "clean" and said()["changedBytes"] == 0
        check()
        check(image)
    assert interrupted >= 5 and touched >= 1, (interrupted, touched)


@needs("qemu-img", "qemu-io")
def test_another_qcow2_base_after_an_interruption(home):
    image = qcow2_base("plain")
    with mounted(image, "--overlay w.qcow2") as mnt:
        write_at(mnt / "disk", 0, noise(2, 4096))
        whole = digest(mnt / "disk")
    shutil.copy(image, "base.pristine")
    process = start("exec platter overlay commit w.qcow2", stderr=subprocess.DEVNULL)
    mark = mark_of("w.qcow2")
    while process.poll() is None and not read_at("w.qcow2", mark, 8)[7] & 2:
        pass
    process.kill()
    process.wait()
    if said()["state"] != "committing":
        pytest.skip("it was done before it could be killed")
    # Elsewhere in the disk something is not as it was.
    run(f"qemu-io -f qcow2 -c 'write -P 7 4096 1020k' {image}")
    refused("platter overlay commit w.qcow2", image, "--force-base")
    assert said()["base"]["state"] == "changed"
    shutil.copy("base.pristine", image)
    run("platter overlay commit w.qcow2")
    assert content(image) == whole and said()["state"] == "clean"
