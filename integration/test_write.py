"""Writing into a mount: real tools, views that overlap, ends that are kept, programs that share."""

import errno
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import hammer
from support.files import MIB, digest, noise, read_at, sparse_file, write_at
from support.session import ROOT, SOAK
from support.shell import attempt, eventually, mounted, needs, refused, run, session, start
from support.views import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, Views, fallocate

# Sector 63 is where DOS began: no page of this partition is a page of the disk.
P1, P2 = (63 * 512, 1037 * 512), (1100 * 512, 900 * 512)


def small_disk(path="small.img"):
    """1 MiB with two partitions side by side that start in the middle of pages."""
    sparse_file(path, MIB)
    run(f"sfdisk -q --force {path}", input=b"label: dos\n1: start=63, size=1037\n"
        b"2: start=1100, size=900\n")
    return path


def work_disk(path="work.img"):
    sparse_file(path, 96 * MIB)
    run(f"sfdisk -q {path}", input=b"label: dos\n1: start=63, size=40000, type=6\n"
        b"2: start=65536, size=100000\n")
    return path


def status(mnt):
    return json.loads((mnt / "status.json").read_text())


@pytest.fixture(params=["write", "scratch", "overlay", "overlay on vhd"])
def way(request):
    """An image, how to mount it for writing, and whether that changes the image."""
    image = work_disk()
    if request.param.endswith("vhd"):
        run(f"qemu-img convert -O vpc -o force_size=on {image} work.vhd")
        image = "work.vhd"
    option = {"write": "--write", "scratch": "--scratch"}.get(
        request.param, "--overlay changes.qcow2")
    return image, option


@needs("mkfs.ext4", "e2fsck", "mkfs.fat", "mcopy", "qemu-img")
def test_real_work(way):
    image, option = way
    before = digest(image)
    with mounted(image, option) as mnt:
        run(f"mkfs.ext4 -q -F {mnt}/p2 && e2fsck -fn {mnt}/p2")
        run(f"mkfs.fat -F 16 -n HELLO {mnt}/p1")
        run(f"mcopy -i {mnt}/p1 - ::/A.TXT", input=noise(1, 300_000))
        assert run(f"mcopy -i {mnt}/p1 ::/A.TXT -").bytes == noise(1, 300_000)
        # Labels are looked for again once a file was closed.
        assert (mnt / "by-label/HELLO").resolve() == mnt / "p1"
        whole = digest(mnt / "disk")
        assert digest(mnt / "disk", offset=63 * 512, length=40000 * 512) == digest(mnt / "p1")
        if "overlay" in option:
            run(f"sync {mnt}/disk && qemu-img compare -U changes.qcow2 {mnt}/disk")
    if option == "--write":
        assert digest(image) == whole
    else:
        assert digest(image) == before
    if "overlay" in option:
        run("qemu-img check changes.qcow2")
        with mounted(image, option) as mnt:
            assert digest(mnt / "disk") == whole
            run(f"e2fsck -fn {mnt}/p2")
            assert mnt.joinpath("snapshots", image, "disk").stat().st_mode & 0o222 == 0
            assert digest(mnt / "snapshots" / image / "disk") == digest_of(image)


def digest_of(image):
    run(f"qemu-img convert -O raw {image} plain.raw")
    return digest("plain.raw")


@needs("fuse2fs", "mkfs.ext4", "e2fsck")
def test_a_file_system_is_mounted_from_a_view(home):
    with mounted(work_disk(), "--scratch") as mnt:
        run(f"mkfs.ext4 -q -F -O ^has_journal {mnt}/p2")
        os.mkdir("files")
        run(f"timeout -k 5 20 fuse2fs -o rw,fakeroot {mnt}/p2 files")
        try:
            run("""mkdir files/src && cd files/src && for i in $(seq 40); do
                     echo "int f$i(void) { return $i; }" > f$i.c; done
                   cat f*.c > all.c && rm f1*.c && tar cf ../all.tar . && sync ../all.tar""",
                timeout=60)
            assert run("tar tf files/all.tar | wc -l").out.strip() == "31"
        finally:
            run("fusermount3 -u files")
        assert eventually(lambda: attempt(f"e2fsck -fn {mnt}/p2").status == 0, within=10)


@needs("fio")
@pytest.mark.parametrize("pattern", ["randwrite", "write"])
def test_fio_verifies(home, pattern):
    with mounted(work_disk(), "--scratch") as mnt:
        run(f"fio --name=v --filename={mnt}/p2 --size=24M --rw={pattern} --bs=4k-64k "
            "--ioengine=psync --verify=crc32c --verify_fatal=1 --allow_file_create=0")


@needs("fio")
@pytest.mark.parametrize("engine", ["psync", "mmap"])
def test_fio_verifies_the_one_view(home, engine):
    Path("one").touch()
    with mounted(work_disk(), "--scratch", at="one") as one:
        run(f"fio --name=v --filename={one} --size=48M --rw=randwrite --bs=4k "
            f"--ioengine={engine} --verify=crc32c --verify_fatal=1 --allow_file_create=0")


# Views of the same bytes


@pytest.mark.parametrize("option", ["--write", "--scratch"])
@pytest.mark.parametrize("first", ["disk", "p1", "p2"])
def test_views_against_a_model(home, option, first):
    """What one view was told, every view says: with the disk cached, and with a partition."""
    image = small_disk()
    model = bytearray(Path(image).read_bytes())
    with mounted(image, option) as mnt:
        views = {"disk": (0, MIB), "p1": P1, "p2": P2}
        names = [first] + [name for name in views if name != first]
        seed = int.from_bytes(os.urandom(4), "big") if SOAK else 4711
        test = Views(seed, model, [(mnt / name, *views[name]) for name in names])
        end = time.monotonic() + (60 if SOAK else 3)
        try:
            while time.monotonic() < end:
                test.step()
            test.check()
            assert test.map is not None, "the view that was opened first is the one that is cached"
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        finally:
            test.close()
    if option == "--write":
        assert Path(image).read_bytes() == model


@pytest.mark.parametrize("option", ["--write", "--scratch", "--cache=none --write"])
def test_many_writers_do_not_lock_each_other_out(home, option):
    seconds = 600 if SOAK else 4
    with mounted(small_disk(), option) as mnt:
        writers = []
        for seed in range(1, 19):
            view = mnt / ("disk", "p1", "p2")[seed % 3]
            writers.append(start(
                f"exec timeout -k 5 {seconds + 20} {sys.executable} -B {hammer.__file__} {view} "
                f"{seed} {seconds} {'mmap' if seed % 4 == 0 else ''}", stdout=subprocess.PIPE))
        for writer in writers:
            out, _ = writer.communicate(timeout=seconds + 40)
            assert writer.returncode == 0
            assert int(out) > 10
        disk = (mnt / "disk").read_bytes()
        for name, (offset, size) in (("p1", P1), ("p2", P2)):
            assert (mnt / name).read_bytes() == disk[offset:offset + size]
        assert status(mnt)["failedWrites"] == 0


def test_a_mapping_and_the_other_views(home):
    with mounted(small_disk(), "--write") as mnt, open(mnt / "p1", "r+b") as file:
        with mmap.mmap(file.fileno(), 0) as view, open(mnt / "disk", "r+b", buffering=0) as disk:
            assert view[5000:5004] == bytes(4)
            os.pwrite(disk.fileno(), b"disk", P1[0] + 5000)
            assert view[5000:5004] == b"disk"
            view[5000:5004] = b"view"
            view.flush()
            assert os.pread(disk.fileno(), 4, P1[0] + 5000) == b"view"
            # Two views that are not cached at once cannot both be mapped.
            with pytest.raises(OSError) as error:
                mmap.mmap(disk.fileno(), 0)
            assert error.value.errno == errno.ENODEV


@needs("sfdisk")
def test_a_new_table_is_shown(home):
    with mounted(small_disk(), "--write") as mnt:
        write_at(mnt / "p2", 0, b"second")
        one, two = os.stat(mnt / "p1").st_ino, os.stat(mnt / "p2").st_ino
        with open(mnt / "p2", "r+b", buffering=0) as old:
            run(f"sfdisk -q --force {mnt}/disk", input=b"label: dos\n1: start=63, size=1037\n"
                b"2: start=1101, size=99\n3: start=1300, size=100\n")
            assert {name for name in os.listdir(mnt) if name[0] == "p"} == {"p1", "p2", "p3"}
            assert os.stat(mnt / "p1").st_ino == one, "the same window keeps its inode"
            assert os.stat(mnt / "p2").st_ino != two, "another window is another inode"
            assert os.stat(mnt / "p2").st_size == 99 * 512
            assert os.stat(mnt / "p3").st_size == 100 * 512
            assert len(os.listdir(mnt / "by-partuuid")) == 3
            # The old window is still what it was, and the same bytes as the new one.
            assert os.fstat(old.fileno()).st_size == P2[1] and old.read(6) == b"second"
            os.pwrite(old.fileno(), b"through the old", 512)
            assert read_at(mnt / "p2", 0, 15) == b"through the old"
            write_at(mnt / "p2", 0, b"through the new")
            assert os.pread(old.fileno(), 15, 512) == b"through the new"
        run(f"sfdisk -q --delete {mnt}/disk 1")
        assert not os.path.exists(mnt / "p1")


def test_times_and_blocks_follow(home):
    image = small_disk()
    run(f"touch -d '2001-02-03 04:05:06 UTC' {image}")
    with mounted(image, "--write") as mnt:
        assert os.stat(mnt / "p1").st_mtime == 981173106
        assert os.stat(mnt / "p1").st_blocks == 0
        write_at(mnt / "disk", 128 * 1024, noise(1, 8192))
        assert os.stat(mnt / "p1").st_blocks >= 16
        assert time.time() - os.stat(mnt / "p1").st_mtime < 60
        assert os.stat(mnt / "disk").st_mode & 0o777 == 0o600


# Ends and sizes


def test_past_the_end(home):
    with mounted(small_disk(), "--write") as mnt:
        write_at(mnt / "p2", 0, b"neighbour")
        for name, size in (("p1", P1[1]), ("disk", MIB)):
            with open(mnt / name, "r+b", buffering=0) as file:
                assert os.pwrite(file.fileno(), b"x" * 100, size - 10) == 10
                for offset in (size, size + 4096, 1 << 40):
                    with pytest.raises(OSError) as error:
                        os.pwrite(file.fileno(), b"x", offset)
                    assert error.value.errno == errno.ENOSPC
                assert os.fstat(file.fileno()).st_size == size
            full = attempt(f"dd if=/dev/zero of={mnt}/{name} bs=10000 conv=notrunc", timeout=30)
            assert full.status == 1 and "No space left" in full.err
            assert f"{size} bytes" in full.err
            if name == "p1":
                assert read_at(mnt / "p2", 0, 100) == b"neighbour".ljust(100, b"\0")


def test_past_the_end_of_the_one_view(home):
    """The kernel collects what is written here and finds out later."""
    Path("one").touch()
    with mounted(small_disk(), "--write", at="one") as one:
        with open(one, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"x" * 100, MIB - 10)
            with pytest.raises(OSError) as error:
                os.fsync(file.fileno())
            assert error.value.errno == errno.ENOSPC
            assert os.pread(file.fileno(), 10, MIB - 10) == b"x" * 10
        assert eventually(lambda: os.stat(one).st_size == MIB)
        assert "No space left" in attempt(f"dd if=/dev/zero of={one} bs=1M", timeout=60).err
        assert eventually(lambda: os.stat(one).st_size == MIB)
        assert Path(one).read_bytes() == bytes(MIB)


def test_the_file_below_the_mount_is_left_alone(home):
    """The daemon sets the size of the mounted file; when the mount goes meanwhile, another file is in
    its place: the user's own, or the image itself."""
    image = small_disk()
    Path("one").write_bytes(b"precious")
    for _ in range(10):
        run(f"platter mount --write {image} one")
        with open("one", "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"x", 4 * MIB)
            run("platter unmount --lazy one")
        assert eventually(lambda: not session.processes())
        assert Path("one").read_bytes() == b"precious"
    for _ in range(10):
        run(f"platter mount --write {image} {image}")
        with open(image, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"new", MIB - 3)
            os.pwrite(file.fileno(), b"x", 4 * MIB)
            run(f"platter unmount --lazy {image}")
        assert eventually(lambda: not session.processes())
        assert os.path.getsize(image) == MIB and read_at(image, MIB - 3, 3) == b"new"


@pytest.mark.parametrize("one", [False, True])
def test_sizes_stay(home, one):
    Path("one").touch()
    image = work_disk()
    with mounted(image, "--scratch", at="one" if one else "mnt") as mnt:
        file = mnt if one else mnt / "disk"
        size = 96 * MIB
        for wanted in (1, size - 1, size + 1, 2 * size):
            assert "not permitted" in attempt(f"truncate -s {wanted} {file}").err
        run(f"truncate -s {size} {file}")
        assert os.stat(file).st_size == size
        # O_TRUNC empties nothing, as on a block device.
        write_at(file, 10 * MIB, b"stays")
        run(f"echo hello > {file}")
        assert os.stat(file).st_size == size
        assert read_at(file, 0, 6) == b"hello\n" and read_at(file, 10 * MIB, 5) == b"stays"
        run(f"dd if=/dev/urandom of={file} bs=1M count=2 status=none && sync {file}")
        assert read_at(file, 10 * MIB, 5) == b"stays"
        with open(file, "r+b") as handle:
            for mode, offset, length, number in (
                    (0, size - 1, 2, errno.ENOSPC), (0, size, 1, errno.ENOSPC),
                    (ZERO_RANGE, size - 1, 2, errno.ENOSPC), (8, 0, 4096, errno.EOPNOTSUPP)):
                with pytest.raises(OSError) as error:
                    fallocate(handle.fileno(), mode, offset, length)
                assert error.value.errno == number
            fallocate(handle.fileno(), 0, 0, size)
            fallocate(handle.fileno(), PUNCH_HOLE | KEEP_SIZE, 10 * MIB, 10)
            assert os.fstat(handle.fileno()).st_size == size
        assert read_at(file, 10 * MIB, 5) == bytes(5)


@pytest.mark.parametrize("one", [False, True])
def test_copies_are_exact(home, one):
    """cp skips the holes of what it copies, and trusts that it has emptied its target."""
    Path("one").touch()
    image = work_disk()
    sparse = sparse_file("sparse", 96 * MIB)
    for place in (5 * MIB, 40 * MIB, 41 * MIB + 4096):
        write_at(sparse, place, noise(place, 70_000))
    with mounted(image, "--scratch", at="one" if one else "mnt") as mnt:
        file = mnt if one else mnt / "disk"
        run(
            f"dd if=/dev/urandom of={file} bs=1M count=96 status=none")
        run(f"cp -p {sparse} {file} && cmp {sparse} {file}")
        run(f"cp --sparse=always /bin/bash {file} && cmp -n $(stat -Lc %s /bin/bash) /bin/bash {file}")
        run(f"chmod 600 {file} && touch {file} && chown $(id -u) {file}")


@pytest.mark.parametrize("command", [
    "rm {mnt}/p1", "mv {mnt}/p1 {mnt}/p9", "touch {mnt}/new", "mkdir {mnt}/new",
    "ln {mnt}/p1 {mnt}/p9", "ln -s p1 {mnt}/p9", "rm {mnt}/by-partuuid/*",
    "echo > {mnt}/status.json"])
def test_names_stay(home, command):
    with mounted(small_disk(), "--write") as mnt:
        listed = run(f"ls -lR {mnt} | grep -v status").out
        assert attempt(command.format(mnt=mnt)).status != 0
        assert run(f"ls -lR {mnt} | grep -v status").out == listed


# Formats and ends of mounts


@needs("qemu-img")
def test_flat_formats_stay_what_they_are(home):
    content = noise(1, 2 * MIB)
    Path("plain").write_bytes(content)
    run("qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on plain fixed.vhd")
    for number in range(3):
        Path(f"split.00{number + 1}").write_bytes(content[number * 700_000:(number + 1) * 700_000])
    footer = Path("fixed.vhd").read_bytes()[-512:]
    changed = bytearray(content)
    changed[699_990:700_010] = b"across the two parts"
    changed[2 * MIB - 3:] = b"end"
    for image in ("fixed.vhd", "split.001"):
        length = sum(map(os.path.getsize, Path().glob(image.replace("001", "0*"))))
        with mounted(image, "--write") as mnt:
            size = os.stat(mnt / "disk").st_size
            write_at(mnt / "disk", 699_990, b"across the two parts")
            write_at(mnt / "disk", size - 3, b"end")
        whole = b"".join(
            path.read_bytes() for path in sorted(Path().glob(image.replace("001", "0*"))))
        assert len(whole) == length
        assert whole[:size - 3] == changed[:size - 3] and whole[size - 3:size] == b"end"
    assert Path("fixed.vhd").read_bytes()[-512:] == footer
    Path("plain").write_bytes(changed)
    run("qemu-img compare -f raw -F vpc plain fixed.vhd")


def test_other_formats_are_not_written_in_place(vhd):
    refused(f"platter mount --write {vhd}", "flat", "--overlay")


def test_three_places_are_two_too_many(home):
    image = small_disk()
    for options in ("--write --scratch", "--scratch --overlay x", "--write --overlay x",
                    "--write --force-share", "--force-base"):
        assert attempt(f"platter mount {options} {image}").status == 64
    refused(f"platter mount --overlay {image} {image}", "the image itself")


@pytest.mark.skipif(not ROOT, reason="needs root, to become somebody else")
def test_a_file_that_may_not_be_written(nobodys_home, nobody):
    image = small_disk()
    os.chmod(image, 0o444)
    refused(f"platter mount --write {image}", image, "ermission", user=nobody)
    with mounted(image, "--scratch", user=nobody) as mnt:
        run(f"echo hello > {mnt}/p1 && head -n1 {mnt}/p1", user=nobody)
    run("touch one", user=nobody)
    with mounted(image, "--scratch", at="one", user=nobody) as one:
        assert run(f"stat -c %s {one}", user=nobody).out == f"{MIB}\n"
        run(f"echo hello > {one} && head -n1 {one}", user=nobody)


@pytest.mark.parametrize("option", ["--write", "--overlay w.qcow2"])
@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGINT])
def test_what_was_written_outlives_the_mount(home, option, one, number):
    Path("one").touch()
    image = small_disk()
    content = noise(7, 100_000)
    with mounted(image, option, at="one" if one else "mnt") as mnt:
        process = json.loads(run("platter list --json").out)["mounts"][0]["daemonPid"]
        write_at(mnt if one else mnt / "disk", 77_777, content)
        if number is not None:
            os.kill(process, number)
            assert eventually(lambda: not session.mounts() and not session.processes())
    with mounted(image, "" if option == "--write" else option) as mnt:
        assert read_at(mnt / "disk", 77_777, len(content)) == content


def test_a_crash_leaves_no_mount(home):
    with mounted(small_disk(), "--write") as mnt:
        write_at(mnt / "p1", 0, b"kept")
        os.kill(status(mnt)["daemonPid"], signal.SIGKILL)
        assert eventually(lambda: not session.mounts() and not session.processes())
    assert read_at("small.img", P1[0], 4) == b"kept"


def test_status_says_where_writes_go(home):
    image = small_disk()
    for option, changes, overlay in (
            ("", "refused", None), ("--write", "inPlace", None), ("--scratch", "scratch", None),
            ("--overlay w.qcow2", "overlay", f"{os.getcwd()}/w.qcow2")):
        with mounted(image, option) as mnt:
            said = status(mnt)
            assert (said["changes"], said.get("overlay")) == (changes, overlay)
            assert said["readOnly"] == (changes == "refused")
            if option:
                write_at(mnt / "p1", 0, b"abc")
                said = status(mnt)
                assert said["bytesWritten"] == 3 and said["writes"] == 1


# Overlays


def test_a_changed_base_is_refused(home):
    image = small_disk()
    with mounted(image, "--overlay w.qcow2") as mnt:
        write_at(mnt / "p1", 0, b"mine")
    run(f"touch {image}")
    with mounted(image, "--overlay w.qcow2") as mnt:
        assert "relink" in status(mnt)["notes"][0]
    write_at(image, 5, b"changed")
    refused(f"platter mount --overlay w.qcow2 {image}", image, "--force-base")
    with mounted(image, "--overlay w.qcow2 --force-base") as mnt:
        assert read_at(mnt / "p1", 0, 4) == b"mine"
    small_disk("other.img")
    run("truncate -s 2M other.img")
    refused("platter mount --overlay w.qcow2 other.img", "w.qcow2", "2097152")


def test_an_overlay_that_cannot_be_made_leaves_nothing(home):
    image = small_disk()
    refused(f"platter mount --overlay no/such/w.qcow2 {image}", "w.qcow2")
    refused("platter mount --overlay w.qcow2 missing.img", "missing.img")
    assert not os.path.exists("w.qcow2")


def test_a_scratch_in_memory_is_said_to_be(home):
    image = small_disk()
    if attempt("stat -f -c %T /dev/shm").out.strip() == "tmpfs":
        with mounted(image, "--scratch") as mnt:
            assert not status(mnt)["notes"]
        run(f"mkdir -p mnt && TMPDIR=/dev/shm platter mount --scratch {image} mnt")
        assert "tmpfs" in status(Path("mnt"))["notes"][0]
        run("platter unmount mnt")


# Sharing with other programs


class Holder:
    """qemu-io with an image open."""

    def __init__(self, options):
        self.process = start(f"exec timeout -k 5 30 qemu-io {options}", stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.write(self.process.stdin.fileno(), b"length\n")
        # It has taken its locks when it answers.
        while not (line := self.process.stdout.readline()).strip().endswith(b"iB"):
            assert line, "qemu-io does not open the image"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=10)


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
