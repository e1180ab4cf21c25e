"""Writing into a mount: real tools, formats that stay intact, changes that are kept."""

import json
import os
import signal
from pathlib import Path

import pytest

from support.files import MIB, digest, noise, read_at, write_at
from support.session import ROOT
from support.shell import attempt, eventually, mounted, needs, refused, run, session
from support.work import P1, small_disk, status, work_disk


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


@needs("qemu-img")
def test_the_base_is_named_as_qemu_finds_it(home):
    """Relative where both can move together; by a format that QEMU refuses where it would misread."""
    os.makedirs("a:b/below")
    small_disk("a:b/disk:1.img")
    for number in range(2):
        Path(f"split.00{number + 1}").write_bytes(noise(number, 64 * 1024))
    for overlay, image, name, kind in (
            ("a:b/w.qcow2", "a:b/disk:1.img", "./disk:1.img", "raw"),
            ("a:b/below/w.qcow2", "a:b/disk:1.img", f"{os.getcwd()}/a:b/disk:1.img", "raw"),
            ("w.qcow2", "split.001", "split.001", "platter-raw")):
        with mounted(image, f"--overlay {overlay}") as mnt:
            write_at(mnt / "disk", 1000, b"mine")
            whole = digest(mnt / "disk")
        said = json.loads(run(f"qemu-img info --output=json ./{overlay}").out)
        assert (said["backing-filename"], said["backing-filename-format"]) == (name, kind)
        if kind == "raw":
            run(f"qemu-img convert -O raw ./{overlay} converted")
            assert digest("converted") == whole
        else:
            assert "platter-raw" in attempt(f"qemu-img convert -O raw ./{overlay} converted").err


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
