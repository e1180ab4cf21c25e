"""What cannot work is refused with one line that says what it is about and what to do."""

import errno
import os
from pathlib import Path

import pytest

from support.files import MIB, noise, sparse_file, write_at
from support.session import ROOT
from support.shell import attempt, mounted, needs, refused, run, session

VERBS = ["info", "map", "hash", "cat", "mount"]


@pytest.fixture(autouse=True)
def mount_point(home):
    os.mkdir("mnt")


def command(verb, image):
    return f"platter {verb} {image}" + (" mnt" if verb == "mount" else "")


@pytest.mark.parametrize("verb", VERBS)
def test_no_such_file(verb):
    refused(command(verb, "absent.img"), "absent.img", "No such file")


@pytest.mark.parametrize("verb", VERBS)
def test_no_such_folder(verb):
    Path("file").touch()
    refused(command(verb, "file/disk.img"), "file/disk.img", "Not a directory")


@pytest.mark.parametrize("verb", VERBS)
def test_no_permission(verb, nobodys_home, nobody):
    sparse_file("secret.img", MIB).chmod(0o600)
    os.chown("mnt", nobody.uid, nobody.gid)
    refused(command(verb, "secret.img"), "secret.img", "Permission denied", user=nobody)


@pytest.mark.parametrize("verb", VERBS)
def test_empty_file(verb):
    Path("empty.img").touch()
    refused(command(verb, "empty.img"), "empty.img", "empty")


@pytest.mark.parametrize("verb", VERBS)
def test_directory_as_image(verb):
    os.mkdir("folder")
    refused(command(verb, "folder"), "folder", "directory")


@pytest.mark.parametrize("verb", VERBS)
def test_neither_file_nor_disk(verb):
    """Opening a FIFO must not wait for somebody to write to it."""
    os.mkfifo("fifo")
    refused(command(verb, "fifo"), "fifo", timeout=5)
    refused(command(verb, "/dev/null"), "/dev/null", timeout=5)


@pytest.mark.parametrize("verb", VERBS)
def test_unknown_format(verb):
    sparse_file("disk.img", MIB)
    refused(f"{command(verb, 'disk.img')} --format floppy", "floppy", "raw", "vhd")


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_of_another_format(verb):
    sparse_file("disk.img", MIB)
    refused(f"{command(verb, 'disk.img')} --format vhd", "disk.img", "VHD footer")


@pytest.mark.parametrize("verb", ["info", "mount"])
@pytest.mark.parametrize("size", [0, 1, 513, 8192])
def test_bad_sector_size(verb, size):
    sparse_file("disk.img", MIB)
    refused(f"{command(verb, 'disk.img')} --sector-size {size}", size, "512")


def test_mount_point_missing(disk):
    refused(f"platter mount {disk} nowhere", "nowhere", "mkdir")


def test_mount_point_not_empty(disk):
    Path("mnt/file").touch()
    refused(f"platter mount {disk} mnt", "mnt", "not empty")


def test_mount_point_already_mounted(disk):
    with mounted(disk):
        refused(f"platter mount {disk} mnt", "mnt", "already mounted", "unmount")
        assert len(session.mounts()) == 1


def test_mount_point_already_mounted_by_somebody_else(disk):
    refused(f"platter mount {disk} /proc", "/proc", "already mounted")


def test_mount_point_neither_folder_nor_file(disk):
    refused(f"platter mount {disk} /dev/null", "/dev/null", "directory or a regular file")


def test_mount_point_of_somebody_else(disk, nobody, home):
    os.chmod("mnt", 0o755)
    refused(f"platter mount {disk} mnt", "mnt", user=nobody)


def test_partition_on_a_folder(disk):
    refused(f"platter mount --partition 1 {disk} mnt", "mnt", "regular file")
    refused(f"platter mount --partition 1 {disk}", "regular file")


@pytest.mark.parametrize("verb", ["mount", "cat", "hash"])
def test_partition_that_does_not_exist(verb, disk):
    Path("file").touch()
    place = "file" if verb == "mount" else ""
    for number in (0, 3, 128, 1 << 40):
        refused(f"platter {verb} --partition {number} {disk} {place}", number, "1, 2 and 7")


@pytest.mark.parametrize("verb", ["mount", "cat", "hash"])
def test_partition_of_a_disk_without_a_table(verb):
    sparse_file("floppy.img", MIB)
    Path("file").touch()
    place = "file" if verb == "mount" else ""
    refused(f"platter {verb} --partition 1 floppy.img {place}", "no partition table")


def test_later_part_of_a_split_image():
    for name in ("disk.001", "disk.002", "disk.003"):
        sparse_file(name, MIB)
    refused("platter info disk.002", "disk.002", "disk.001")
    os.unlink("disk.002")
    refused("platter info disk.001", "002")


def test_a_mount_point_of_its_own_is_taken_away_again():
    for image in ("absent.img", "mnt"):
        refused(f"platter mount {image}", image)
    assert list(session.me.runtime.glob("platter/*")) == []


# The machine

# A /dev of the test's own, in a mount namespace of its own: other programs on this machine go on
# with theirs.
WITHOUT_FUSE = """unshare {} bash -ec '
    mkdir dev && touch dev/null dev/tty && mount --bind /dev/null dev/null
    {}
    mount --rbind dev /dev
    {}'"""


@needs("unshare")
@pytest.mark.parametrize("option", ["", "--cache=none"])
def test_no_fuse_device(disk, option):
    rights = "-m" if ROOT else "-Urm"
    refused(WITHOUT_FUSE.format(rights, "", f"platter mount {option} {disk} mnt"),
            "there is no /dev/fuse", "modprobe fuse")


@needs("unshare", "setpriv")
def test_fuse_device_of_root_alone(disk, nobodys_home, nobody):
    os.chown("mnt", nobody.uid, nobody.gid)
    as_nobody = (f"exec setpriv --reuid={nobody.uid} --regid={nobody.gid} --clear-groups "
                 f"env XDG_RUNTIME_DIR={nobody.runtime} platter mount {disk} mnt")
    refused(WITHOUT_FUSE.format("-m", "mount -t tmpfs none dev; touch dev/null; "
                                "mount --bind /dev/null dev/null; mknod -m 600 dev/fuse c 10 229",
                                as_nobody),
            "/dev/fuse", "0666")


def test_no_fusermount(disk):
    refused(f"PATH=/nowhere {session.platter} mount {disk} mnt", "fusermount3", "apt install fuse3")


def test_no_fusermount_to_unmount_with(disk):
    with mounted(disk):
        refused(f"PATH=/nowhere {session.platter} unmount mnt", "fusermount3", "apt install fuse3")


def test_allow_other_is_not_allowed(disk, nobodys_home, nobody):
    if "\nuser_allow_other" in Path("/etc/fuse.conf").read_text():
        pytest.skip("this machine's /etc/fuse.conf allows it")
    os.chown("mnt", nobody.uid, nobody.gid)
    refused(f"platter mount --allow-other {disk} mnt", "user_allow_other", "/etc/fuse.conf",
            user=nobody)


def test_runtime_folder_that_others_can_use(disk):
    os.makedirs("run/platter", mode=0o777)
    os.chmod("run/platter", 0o777)
    refused(f"XDG_RUNTIME_DIR=$PWD/run platter mount {disk} mnt", "run/platter", "0700")


def test_output_that_is_full(disk):
    refused(f"platter cat {disk} > /dev/full", "No space left")


def test_output_that_nobody_reads(disk):
    """Not a crash, and no line for each piece."""
    result = attempt(f"platter cat {disk} | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}")
    assert result.err.count("\n") <= 1


# Faults while mounted


@pytest.mark.parametrize("cache", ["kernel", "none"])
def test_image_truncated_while_mounted(cache):
    Path("disk.img").write_bytes(noise(1, 8 * MIB))
    kept = noise(1, 8 * MIB)[:3 * MIB + 5000]
    with mounted("disk.img", f"--cache={cache}") as mnt:
        os.truncate("disk.img", len(kept))
        assert (mnt / "disk").stat().st_size == 8 * MIB
        with open(mnt / "disk", "rb", buffering=0) as file:
            whole_pages = len(kept) // 4096 * 4096
            assert os.pread(file.fileno(), MIB, MIB) == kept[MIB:2 * MIB]
            # Up to the last whole page, though the kernel reads ahead past it.
            for place in range(3 * MIB, whole_pages, 4096):
                assert os.pread(file.fileno(), 4096, place) == kept[place:place + 4096]
            for place in (whole_pages + 4096, 5 * MIB, 8 * MIB - 1):
                with pytest.raises(OSError) as error:
                    os.pread(file.fileno(), 4096, place)
                assert error.value.errno == errno.EIO
            # A read that begins in what is left gives that, as any disk with a bad sector does.
            assert os.pread(file.fileno(), MIB, 3 * MIB) == kept[3 * MIB:whole_pages]
        result = attempt(f"dd if={mnt}/disk of=copy bs=64K")
        assert result.status != 0 and "Input/output error" in result.err
        report = attempt("platter list")
        assert "the file ends before" in report.err
        assert report.err.count("\n") == 1


@pytest.mark.parametrize("cache", ["kernel", "none"])
def test_image_truncated_and_written_again_while_mounted(cache):
    """What comes back can be read again: an error is not remembered."""
    content = noise(2, 4 * MIB)
    Path("disk.img").write_bytes(content)
    with mounted("disk.img", f"--cache={cache}") as mnt:
        os.truncate("disk.img", MIB)
        with open(mnt / "disk", "rb", buffering=0) as file:
            with pytest.raises(OSError):
                os.pread(file.fileno(), 4096, 2 * MIB)
            write_at("disk.img", 0, content)
            assert os.pread(file.fileno(), MIB, 2 * MIB) == content[2 * MIB:3 * MIB]


@pytest.mark.parametrize("cache", ["kernel", "none"])
def test_vhd_truncated_while_mounted(cache, vhd, disk):
    run(f"cp {vhd} own.vhd")
    half = os.path.getsize("own.vhd") // 2
    with mounted("own.vhd", f"--cache={cache}") as mnt:
        os.truncate("own.vhd", half)
        # The FAT partition's file is in the first half, the end of ext4's in the second.
        assert "Hello" in run(f"mcopy -i {mnt}/p1 ::/HELLO.TXT -").out
        assert "Input/output error" in attempt(f"cat {mnt}/p2 > /dev/null").err
        assert (mnt / "p7").stat().st_size == 4 * MIB
