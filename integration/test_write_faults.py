"""Each I/O of what is written to fails in turn, below a mount: who touched it gets an errno, the rest
stays, and the mount goes on. And a disk that is really full."""

import errno
import json
import os
import random
import signal
from pathlib import Path

import pytest

from support.faults import FAULTS, Faults, shim
from support.files import MIB, noise, read_at, sparse_file, write_at
from support.images import mbr_entry, write_boot_record
from support.session import ROOT, SOAK
from support.shell import attempt, eventually, mounted, needs, run, session
from support.views import KEEP_SIZE, PUNCH_HOLE, fallocate
from support.work import status

GIB = 1 << 30
SIZE = 2 * GIB + 300 * 1024
P1 = (63 * 512, SIZE - 63 * 512)
# What of the disk is used: in three tables of the overlay, across their ends and those of clusters.
WINDOW = 96 * 1024
WINDOWS = [40_000, 300_000, GIB - 50_000, 2 * GIB + 1000]
ALLOWED = {errno.EIO, errno.ENOSPC}


def base_disk(folder):
    image = sparse_file(folder / "base.img", SIZE)
    write_boot_record(image, 0, mbr_entry(63, P1[1] // 512))
    for start in WINDOWS[::2]:
        write_at(image, start + 5000, noise(start, WINDOW // 2))
    return image


def windows_of(read):
    return b"".join(read(start, WINDOW) for start in WINDOWS)


class Model:
    """What the windows hold, and all that they held since the last flush."""

    def __init__(self, content):
        self.now = content
        self.since_flush = [content]

    def is_now(self, content):
        self.now = content
        self.since_flush.append(content)

    def was_flushed(self):
        self.since_flush = [self.now]

    def accept(self, content):
        """After a crash: of what was not flushed, any state of each byte."""
        for place, byte in enumerate(content if content != self.now else b""):
            if byte != self.now[place]:
                assert any(byte == old[place] for old in self.since_flush), \
                    f"lost: byte {place % WINDOW} of the window at {WINDOWS[place // WINDOW]}"
        self.is_now(content)
        self.was_flushed()


class Mount:
    """A mount with faults below it."""

    def __init__(self, place, faults):
        self.faults = faults
        command = f"mkdir -p mnt; {faults.prefix} platter mount {place.option} {place.image} mnt"
        existed = os.path.exists(place.file)
        result = attempt(command)
        if result.status != 0:
            assert faults.count > 0, str(result)
            assert result.err.startswith("platter: ") and place.faulty in result.err, str(result)
            assert os.path.exists(place.file) == existed, str(result)
            faults.disarm()
            run(command)
        elif not os.path.exists("mnt/p1"):
            # The table could not be read, and that is said.
            assert faults.count > 0 and status(Path("mnt"))["notes"]
            faults.disarm()
            run("platter unmount mnt; " + command)
        self.open = [os.open(f"mnt/{name}", os.O_RDWR) for name in ("disk", "p1")]

    def content(self):
        """As both views say, with nothing failing: one of them is cached by the kernel."""
        disk, p1 = self.open
        with self.faults:
            whole = windows_of(lambda start, count: os.pread(disk, count, start))
            assert whole == windows_of(lambda start, count: os.pread(p1, count, start - P1[0]))
        return whole

    def step(self, model, numbers):
        """One operation. Gives the errno that it ended with."""
        before = model.now
        window = numbers.randrange(len(WINDOWS))
        length = numbers.choice((1, 512, 4096, 5000, numbers.randint(1, 40_000)))
        place = numbers.randrange(WINDOW - length)
        if numbers.random() < 0.5:
            place = place // 4096 * 4096
        descriptor, start = numbers.choice(list(zip(self.open, (0, P1[0]))))
        at = WINDOWS[window] + place - start
        kind = numbers.choices(("write", "punch", "fsync", "read"), (60, 10, 20, 10))[0]
        touched = slice(window * WINDOW + place, window * WINDOW + place + length)
        wanted = bytearray(before)
        if kind == "write":
            wanted[touched] = numbers.randbytes(length)
        elif kind == "punch":
            wanted[touched] = bytes(length)
        try:
            if kind == "write":
                done = os.pwrite(descriptor, wanted[touched], at)
                if done < length:
                    # The kernel sends pages in several requests, of which one failed.
                    assert self.content()[touched][:done] == wanted[touched][:done]
                    raise OSError(errno.EIO, "a short write")
            elif kind == "punch":
                fallocate(descriptor, PUNCH_HOLE | KEEP_SIZE, at, length)
            elif kind == "read":
                found = os.pread(descriptor, length, at)
                # What is cached and stands before what cannot be read is given.
                assert found == before[touched][:len(found)]
                assert len(found) == length or self.faults.count > 0
            else:
                os.fsync(descriptor)
        except OSError as error:
            assert error.errno in ALLOWED and self.faults.count > 0
            after = self.content()
            assert before[:touched.start] == after[:touched.start]
            assert before[touched.stop:] == after[touched.stop:]
            assert all(new in both for new, *both in zip(
                after[touched], before[touched], wanted[touched]))
            model.is_now(after)
            return error.errno
        model.is_now(bytes(wanted))
        if kind == "fsync":
            model.was_flushed()
        return 0

    def close(self):
        while self.open:
            try:
                os.close(self.open.pop())
            except OSError as error:
                # A fault, or the daemon is gone.
                assert error.errno in ALLOWED | {errno.ENOTCONN, errno.ECONNABORTED}

    def unmount(self, model):
        """With success, all that was written is there."""
        self.close()
        result = attempt("platter unmount mnt")
        assert eventually(lambda: not session.mounts() and not session.processes())
        if result.status == 0:
            model.was_flushed()
        else:
            assert self.faults.count > 0, str(result)

    def kill(self):
        os.kill(status(Path("mnt"))["daemonPid"], signal.SIGKILL)
        self.close()
        assert eventually(lambda: not session.mounts() and not session.processes())


class InOverlay:
    """Changes go into a new overlay."""

    file = faulty = "work.qcow2"

    def __init__(self, base):
        self.image, self.option = base, f"--overlay {self.file}"

    def begin(self):
        Path(self.file).unlink(missing_ok=True)

    def check(self, *, leaks=True):
        """`qemu-img check` finds no errors, and leaks where they are allowed."""
        report = json.loads(attempt(f"qemu-img check -U --output=json {self.file}").out)
        assert report.get("corruptions", 0) + report["check-errors"] == 0, report
        assert leaks or report.get("leaks", 0) == 0, report


class BelowOverlay(InOverlay):
    """It is the base that fails, of which what is written to is copied up."""

    faulty = "base.img"


class InPlace:
    """Changes go into a copy of the base."""

    file = faulty = "work.img"

    def __init__(self, base):
        self.base = base
        self.image, self.option = self.file, "--write"

    def begin(self):
        run(f"cp --sparse=always {self.base} {self.file}")

    def check(self, **_):
        assert os.path.getsize(self.file) == SIZE


def history(image, place, library, number, fault, *, seed, end):
    """Two mounts, in which the I/O of this number fails. Gives how many there were,
    and how many were made to fail."""
    place.begin()
    numbers = random.Random(seed)
    faults = Faults(library, f"/{place.faulty}")
    model = Model(windows_of(lambda start, count: read_at(image, start, count)))
    if number:
        faults.arm(number, fault)
    for last in (False, True):
        mount = Mount(place, faults)
        try:
            failed = 0
            model.accept(mount.content())
            for _ in range(16):
                failed += mount.step(model, numbers) != 0
                if failed > 2:
                    faults.disarm()
            calls = faults.calls
            if last and end == "kill":
                mount.kill()
            else:
                mount.unmount(model)
                calls = faults.calls
        finally:
            mount.close()
        place.check()
    faults.disarm()
    with mounted(place.image, place.option) as mnt:
        model.accept(windows_of(lambda start, count: read_at(mnt / "disk", start, count)))
    place.check(leaks=False)
    return calls, faults.count


@needs("cc", "qemu-img")
@pytest.mark.parametrize("kind", [InOverlay, BelowOverlay, InPlace])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_every_io_fails_in_turn(home, library, fault, kind):
    image = base_disk(home)
    place = kind(image)
    before = os.stat(image)
    seed = int.from_bytes(os.urandom(4), "big") if SOAK else 1
    calls, _ = history(image, place, shim(library), 0, fault, seed=seed, end="unmount")
    every = range(1, calls + 1)
    sample = random.Random(f"{fault} {kind.__name__}").sample(every, 4 if kind is InOverlay else 2)
    failed = 0
    for number in every if SOAK else sample:
        end = ("unmount", "kill")[number % 2]
        try:
            failed += history(image, place, shim(library), number, fault, seed=seed, end=end)[1]
        except (AssertionError, OSError) as error:
            raise AssertionError(f"seed {seed}, I/O {number} of {calls}, {end}: {error}") from error
    after = os.stat(image)
    assert (after.st_mtime_ns, after.st_blocks) == (before.st_mtime_ns, before.st_blocks)
    assert failed > 0
    print(f"{fault}: {calls} I/Os, {failed} of them made to fail in all histories together")


@needs("cc")
def test_zeros_that_fail_halfway(home, library):
    """What they changed before they failed, the view says that the kernel caches, too."""
    place = InOverlay(base_disk(home))
    failures = 0
    for number in range(1, 12):
        place.begin()
        faults = Faults(shim(library), f"/{place.file}")
        mount = Mount(place, faults)
        before = mount.content()
        faults.arm(number, FAULTS[0])
        try:
            # In two of the overlay's units, of neither of which it is all.
            fallocate(mount.open[0], PUNCH_HOLE | KEEP_SIZE, WINDOWS[0] + 5700, 6000)
        except OSError as error:
            assert error.errno == errno.EIO
            failures += mount.content() != before
        faults.disarm()
        mount.close()
        run("platter unmount mnt")
    assert failures > 0


@needs("cc")
@pytest.mark.parametrize("seconds", [1, 4] if SOAK else [1])
def test_an_unmount_that_takes_long(home, library, seconds):
    """Nobody cuts short who brings changes to a slow disk; 4 s each time are more than 10 s in all."""
    sparse_file("base.img", MIB)
    run(f"mkdir mnt && SYNC_SECONDS={seconds} LD_PRELOAD={shim(library)} "
        "platter mount --overlay w.qcow2 base.img mnt")
    write_at("mnt/disk", 0, noise(1, 5000))
    assert run("platter unmount mnt").seconds > seconds
    assert json.loads(run("platter overlay status --json w.qcow2").out)["state"] == "clean"


@pytest.fixture(params=["tmpfs", "ext4"])
def small_place(request, home):
    """A folder on a disk of 8 MiB."""
    if not ROOT:
        pytest.skip("needs root, to mount a small disk")
    os.mkdir("place")
    made = attempt("mount -t tmpfs -o size=8m none place" if request.param == "tmpfs" else
                   "truncate -s 8M place.img && mkfs.ext4 -q -O ^has_journal place.img && "
                   "mount -o loop place.img place")
    if made.status != 0:
        pytest.skip(f"{request.param} cannot be mounted here: {made.err}")
    yield Path("place")
    run("umount place")


@needs("mkfs.ext4", "qemu-img")
def test_a_full_disk(small_place):
    """The write that does not fit gets ENOSPC; what was written stays; with room again, it goes on."""
    sparse_file("base.img", 64 * MIB)
    overlay = small_place / "work.qcow2"
    filler = small_place / "filler"
    filler.write_bytes(bytes(2 * MIB))
    written = {}

    def fill(disk, step):
        """In pieces that each take a cluster, of different lengths, until nothing fits."""
        with pytest.raises(OSError) as error:
            for place in range(0, 64 * MIB, step):
                if place not in written:
                    piece = noise(place, 4096 + place // step * 512)
                    assert os.pwrite(disk, piece, place) == len(piece)
                    written[place] = piece
        assert error.value.errno == errno.ENOSPC

    def check(disk):
        for place, piece in written.items():
            assert os.pread(disk, len(piece), place) == piece

    with mounted("base.img", f"--overlay {overlay}") as mnt:
        disk = os.open(mnt / "disk", os.O_RDWR)
        try:
            fill(disk, 256 * 1024)
            assert len(written) > 10
            os.fsync(disk)
            check(disk)
            # What is there already is written to, as before.
            for place in written:
                written[place] = noise(place + 1, 4096) + written[place][4096:]
                assert os.pwrite(disk, written[place][:4096], place) == 4096
            os.fsync(disk)
            filler.unlink()
            before = len(written)
            fill(disk, 256 * 1024)
            assert len(written) > before
            os.fsync(disk)
            check(disk)
            # Given up clusters are room, too.
            for place in list(written)[::2]:
                fallocate(disk, PUNCH_HOLE | KEEP_SIZE, place, 256 * 1024)
                del written[place]
            os.fsync(disk)
            fill(disk, 512 * 1024)
            check(disk)
            refused = status(mnt)["failedWrites"]
            assert refused == 3
        finally:
            os.close(disk)
    run(f"qemu-img check {overlay}")
    with mounted("base.img", f"--overlay {overlay}") as mnt:
        disk = os.open(mnt / "disk", os.O_RDONLY)
        check(disk)
        os.close(disk)
