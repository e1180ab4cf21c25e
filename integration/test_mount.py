"""The ways to mount, and what `list` and `status.json` say of it."""

import json
import os
import stat
from pathlib import Path

import pytest

from support.files import MIB, data_ranges, digest
from support.images import PARTITIONS_OF_THAT_DISK
from support.session import ROOT
from support.shell import attempt, mounted, needs, run, session

START, SIZE = PARTITIONS_OF_THAT_DISK[2]


def test_shows_disk_partitions_and_links(image):
    with mounted(image) as mnt:
        names = run(f"ls {mnt}").out.split()
        assert names == [
            "by-label", "by-partlabel", "by-partuuid", "by-uuid", "disk", "files", "p1", "p2", "p7",
            "status.json"]


def test_is_usable_when_the_command_returns(image):
    os.mkdir("mnt")
    run(f"platter mount {image} mnt && cat mnt/p1 > p1; platter unmount mnt")
    assert digest("p1") == digest(image.with_name("disk.img"), offset=MIB, length=16 * MIB)


def test_on_a_regular_file_shows_the_disk(image, disk):
    Path("file.img").write_text("what was here before\n")
    with mounted(image, at="file.img") as file:
        assert stat.S_ISREG(file.stat().st_mode)
        run(f"cmp {file} {disk}")
        assert data_ranges(file)[0][0] == 0
    assert Path("file.img").read_text() == "what was here before\n"


def test_partition_on_a_regular_file(image, disk):
    Path("root.img").touch()
    with mounted(image, "--partition 2", at="root.img") as file:
        assert file.stat().st_size == SIZE
        assert digest(file) == digest(disk, offset=START, length=SIZE)


def test_over_the_image_itself(image, disk):
    run(f"cp --sparse=always {image} own.img")
    before = digest("own.img")
    with mounted("own.img", at="own.img"):
        run(f"cmp own.img {disk}")
    assert digest("own.img") == before


def test_over_the_image_itself_one_partition(vhd, disk):
    run(f"cp {vhd} own.vhd")
    with mounted("own.vhd", "--partition 1", at="own.vhd"):
        assert digest("own.vhd") == digest(disk, offset=MIB, length=16 * MIB)


def test_makes_a_mount_point_and_takes_it_away(image):
    printed = run(f"platter mount {image}").out
    folder = Path(printed.removesuffix("\n"))
    assert folder == session.me.runtime / "platter" / image.name
    assert (folder / "p1").stat().st_size == 16 * MIB
    second = Path(run(f"platter mount {image}").out.removesuffix("\n"))
    assert second != folder and (second / "p1").exists()
    run(f"platter unmount {folder}; platter unmount {second}")
    assert not folder.exists() and not second.exists()


def test_without_cache(image, disk):
    with mounted(image, "--cache=none") as mnt:
        run(f"cmp {mnt}/disk {disk}")
        for number, (start, size) in PARTITIONS_OF_THAT_DISK.items():
            assert digest(mnt / f"p{number}") == digest(disk, offset=start, length=size)
        # Odd places and lengths, across blocks.
        with open(mnt / "disk", "rb", buffering=0) as view, open(disk, "rb") as whole:
            for offset, count in ((1, 1), (511, 3), (4095, 8193), (32 * MIB - 7, 3 * MIB + 13),
                                  (96 * MIB - 5, 100), (96 * MIB, 1), (1 << 40, 1)):
                assert os.pread(view.fileno(), count, offset) == os.pread(
                    whole.fileno(), count, offset)


def test_two_at_once(disk, vhd):
    with mounted(disk, at="one") as one, mounted(vhd, at="two") as two:
        run(f"cmp {one}/p2 {two}/p2")
        assert run("platter list").out.count("\n") == 3


def test_the_same_image_twice(vhd):
    with mounted(vhd, at="one") as one, mounted(vhd, "--cache=none", at="two") as two:
        run(f"cmp {one}/disk {two}/disk")


def test_a_name_with_everything_in_it(disk):
    """Spaces, commas, quotes and backslashes mean something to mount options and mount tables."""
    name = """a b,c"d'e\\f\tg – ü"""
    os.mkdir(name)
    os.symlink(disk, f"{name}/{name}.img")
    with mounted(f"{name}/{name}.img", at=f"{name}/m,n o\\p") as mnt:
        assert (mnt / "p7").stat().st_size == 4 * MIB
        [mount] = json.loads(run("platter list --json").out)["mounts"]
        assert mount["mountPoint"] == str(mnt)


@needs("losetup")
def test_a_block_device(disk):
    """Its size is not the node's own, and it has no holes."""
    if not ROOT:
        pytest.skip("needs root, to make a loop device")
    made = attempt(f"losetup --find --show --read-only {disk}")
    if made.status != 0:
        pytest.skip(f"this machine makes no loop device: {made.err.strip()}")
    device = made.out.strip()
    try:
        with mounted(device) as mnt:
            run(f"cmp {mnt}/disk {disk}")
            assert digest(mnt / "p2") == digest(disk, offset=START, length=SIZE)
        assert run(f"platter hash {device}").out.split()[0] == digest(disk)
    finally:
        run(f"losetup --detach {device}")


def test_through_a_link_and_a_relative_path(disk, home):
    os.makedirs("deep/mnt")
    os.symlink("deep", "shortcut")
    os.symlink(disk, "image")
    run("cd shortcut && platter mount ../image mnt/ && test -f mnt/p1")
    run("platter unmount shortcut/../deep/mnt/.")


def test_status_json_has_the_processes(image):
    with mounted(image) as mnt:
        status = json.loads((mnt / "status.json").read_text())
        assert status["version"] == 1
        assert sorted([status["daemonPid"], status["supervisorPid"]]) == sorted(session.processes())
        parent = Path(f"/proc/{status['daemonPid']}/stat").read_text().rsplit(")")[1].split()[1]
        assert int(parent) == status["supervisorPid"]
        assert status["mountPoint"] == str(mnt)
        assert status["image"] == str(image)
        assert status["virtualSize"] == 96 * MIB
        assert status["readOnly"] is True


def test_status_json_counts(image):
    with mounted(image) as mnt:
        before = json.loads((mnt / "status.json").read_text())
        run(f"cat {mnt}/p7 > /dev/null")
        after = json.loads((mnt / "status.json").read_text())
        assert after["reads"] > before["reads"]
        assert after["bytesRead"] - before["bytesRead"] >= 4 * MIB
        assert after["failedReads"] == 0


def test_list_agrees_with_status_json(disk, vhd):
    assert json.loads(run("platter list --json").out) == {"version": 1, "mounts": []}
    with mounted(disk, at="a"), mounted(vhd, at="b"):
        report = json.loads(run("platter list --json").out)
        assert report["version"] == 1
        assert report["mounts"] == [
            json.loads(Path(f"{point}/status.json").read_text()) for point in ("a", "b")]
        assert [mount["format"] for mount in report["mounts"]] == ["raw", "vhd"]


def test_list_as_a_table(image):
    assert run("platter list").out == ""
    with mounted(image) as mnt:
        heading, line = run("platter list").out.splitlines()
        assert heading.split("  ")[0] == "MOUNT POINT"
        assert line.startswith(f"{mnt}  {image}  ")


def test_reads_from_many_at_once(image, disk):
    """The daemon answers on several threads: each reader gets its own bytes."""
    with mounted(image, "--cache=none") as mnt:
        run(f"""for n in 1 2 3 4 5 6 7 8; do
                  cmp {mnt}/disk {disk} & pids="$pids $!"
                done
                for pid in $pids; do wait $pid || exit 1; done""")
