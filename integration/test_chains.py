"""Images that stand on other images: what they may name, what is said where one is missing, and the
older states of a disk that can be looked at."""

import json
import os
import re
from pathlib import Path

import pytest

from support.files import MIB, digest, noise
from support.shell import mounted, needs, quoted, refused, run
from test_hostile import measured

pytestmark = needs("qemu-img", "qemu-io", "time")

SECRET = b"SECRET OF SOMEBODY ELSE\n"


def overlay(name, backing, format="raw", *, size="1M", kind="qcow2"):
    """An image that names `backing`, whether that exists or not."""
    run(f"qemu-img create -q -f {kind} -u -b {quoted(backing)} -F {format} {quoted(name)} {size}")


def raw(name, seed, size=MIB):
    Path(name).write_bytes(noise(seed, size))
    return digest(name)


def hashed(image, options=""):
    return run(f"platter hash {options} {quoted(image)}").out.split()[0]


def by_qemu(image, options=""):
    run(f"qemu-img convert {options} -O raw {quoted(image)} expected.raw")
    return digest("expected.raw")


@pytest.fixture
def outside(home):
    """The test stands in a folder below one that holds somebody else's file."""
    (home / "outside").mkdir()
    (home / "outside/secret").write_bytes(SECRET * 50_000)
    (home / "vm").mkdir()
    os.chdir(home / "vm")
    os.mkdir("mnt")
    return home / "outside"


VERBS = ("info", "info --json", "hash", "map", "cat", "mount")


def refused_everywhere(image, *words, options="", verbs=VERBS):
    """By every verb, in time, in one line with these words, and without a byte of the other file."""
    for command in verbs:
        point = " mnt" if command == "mount" else ""
        result = measured(f"platter {command} {options} {quoted(image)}{point}")
        assert result.status == 1, str(result)
        assert result.err.startswith("platter: "), str(result)
        assert result.out == "", str(result)
        assert "SECRET" not in result.err and "root:" not in result.err, str(result)
        for word in words:
            assert word in result.err, f"does not say '{word}': {result}"


# What images name


@pytest.mark.parametrize("kind", ["qcow2", "qcow", "qed"])
@pytest.mark.parametrize("name, words", [
    ("/etc/passwd", ["'/etc/passwd'", "--allow-path /etc "]),
    ("../" * 12 + "etc/passwd", ["etc/passwd'", "--allow-path /etc "]),
    ("../outside/secret", ["'../outside/secret'", "--allow-path "]),
    ("link", ["'link'", "--allow-path "]),
    ("folder-link/secret", ["'folder-link/secret'", "--allow-path "]),
    ("file:///etc/passwd", ["/etc/passwd'", "--allow-path /etc "]),
    ('json:{"driver":"file","filename":"/etc/passwd"}', ["json:", "--parent FILE"]),
    ('json:{"file.driver":"nbd","file.host":"localhost"}', ["json:", "--parent FILE"]),
    ("nbd://localhost:10809/x", ["nbd:", "--parent FILE"]),
    ("nbd+unix:///x?socket=/run/x", ["nbd+unix:", "--parent FILE"]),
    ("http://localhost/x.img", ["http:", "--parent FILE"]),
    ("host_device:/dev/sda", ["host_device:", "--parent FILE"]),
    ("fifo", ["'fifo'", "not a regular file"]),
    ("/dev/null", ["'/dev/null'", "not a regular file"]),
    ("/proc/self/environ", ["'/proc/self/environ'", "--allow-path "]),
    ("vm-folder", ["'vm-folder'", "not a regular file"]),
    (".", ["'.'", "not a regular file"]),
    ("absent.img", ["'absent.img'", "looked for ", "/absent.img", "--parent FILE"]),
    ("x" * 1000, ["not found", "--parent FILE"]),
])
def test_refused(kind, name, words, outside):
    os.symlink("../outside/secret", "link")
    os.symlink("../outside", "folder-link")
    os.mkfifo("fifo")
    os.mkdir("vm-folder")
    overlay("disk.img", name, kind=kind)
    # The rest does not depend on the format.
    verbs = VERBS if kind == "qcow2" else ("hash", "mount")
    refused_everywhere("disk.img", "disk.img: ", *words, verbs=verbs)


def test_a_fifo_is_not_opened(outside):
    """Somebody who waits for a reader goes on waiting."""
    os.mkfifo("fifo")
    overlay("disk.qcow2", "fifo")
    refused("platter hash disk.qcow2", "fifo")
    with pytest.raises(OSError):  # ENXIO: nobody reads.
        os.open("fifo", os.O_WRONLY | os.O_NONBLOCK)


def vmdk_with(text, hint=""):
    """A descriptor with these extents."""
    parent = f'parentCID=12345678\nparentFileNameHint="{hint}"\n' if hint else (
        "parentCID=ffffffff\n")
    Path("disk.vmdk").write_text(
        f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\n{parent}createType="monolithicFlat"\n'
        f'\n# Extent description\n{text}\n\n# The Disk Data Base\nddb.adapterType = "ide"\n')


@pytest.mark.parametrize("name, words", [
    ("/etc/passwd", ["--allow-path /etc"]), ("../outside/secret", ["--allow-path "]),
    ("../" * 12 + "etc/passwd", ["--allow-path /etc"]), ("link", ["--allow-path "]),
    ("fifo", ["not a regular file"]), ("/dev/null", ["not a regular file"]),
    ("absent", ["absent"]),
])
def test_extents_refused(name, words, outside):
    os.symlink("../outside/secret", "link")
    os.mkfifo("fifo")
    vmdk_with(f'RW 2 FLAT "{name}" 0')
    refused_everywhere("disk.vmdk", "disk.vmdk: ", *words)


def test_a_vmdk_parent_is_refused(outside):
    Path("flat").write_bytes(noise(1, 1024))
    vmdk_with('RW 2 FLAT "flat" 0', "../outside/secret")
    refused_everywhere("disk.vmdk", "'../outside/secret'", "--allow-path ")
    vmdk_with('RW 2 FLAT "flat" 0', "disk.vmdk")
    refused_everywhere("disk.vmdk", "disk.vmdk", "already in the chain")


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside/secret", "link"])
def test_a_data_file_is_refused(name, outside):
    """CVE-2024-32498: the data file is named in an extension of the header."""
    os.symlink("../outside/secret", "link")
    placeholder = "d" * len(name)
    run(f"qemu-img create -q -f qcow2 -o data_file={placeholder} disk.qcow2 1M")
    image = Path("disk.qcow2").read_bytes()
    assert image.count(placeholder.encode()) == 1
    Path("disk.qcow2").write_bytes(image.replace(placeholder.encode(), name.encode()))
    refused_everywhere("disk.qcow2", f"'{name}'", "--allow-path ")


# What is allowed


def test_allow_path(outside):
    overlay("disk.qcow2", "../outside/secret")
    message = refused("platter hash disk.qcow2", "--allow-path")
    option = re.search(r"--allow-path \S+", message)[0]
    assert option == f"--allow-path {outside}"
    expected = by_qemu("disk.qcow2")
    assert hashed("disk.qcow2", option) == expected
    assert hashed("disk.qcow2", f"--allow-path /usr {option}") == expected
    with mounted("disk.qcow2", option) as mnt:
        assert digest(mnt / "disk") == expected
    refused(f"platter hash --allow-path /usr disk.qcow2", "--allow-path")
    refused(f"platter hash --allow-path absent disk.qcow2", "absent", "No such file")


def test_below_its_own_folder(outside):
    os.makedirs("a/b")
    expected = raw("a/b/base.img", 1)
    for name in ("a/b/base.img", "./a/../a/b/base.img", str(Path("a/b/base.img").absolute())):
        overlay("disk.qcow2", name)
        assert hashed("disk.qcow2") == expected
    # From there, names start where the image is.
    overlay("a/b/low.qcow2", "base.img")
    overlay("a/mid.qcow2", "b/low.qcow2", "qcow2")
    overlay("top.qcow2", "a/mid.qcow2", "qcow2")
    assert hashed("top.qcow2") == expected
    os.chdir("/")
    assert hashed(outside.parent / "vm/top.qcow2") == expected


def test_through_a_link_to_the_image(outside):
    expected = raw("base.img", 1)
    overlay("disk.qcow2", "base.img")
    os.symlink("../vm/disk.qcow2", outside / "link.qcow2")
    assert hashed(outside / "link.qcow2") == expected


# A raw disk that became something else (CVE-2008-2004, CVE-2024-40767)


def test_a_raw_disk_that_became_something_else(outside):
    """A guest wrote a qcow2 header into its raw disk, with a file of the host below it."""
    overlay("header", "/etc/passwd")
    header = Path("header").read_bytes()
    os.unlink("header")
    Path("disk.img").write_bytes((header + bytes(MIB))[:MIB])
    refused_everywhere("disk.img", "'/etc/passwd'", "qcow2 by its content", "--format raw")
    assert hashed("disk.img", "--format raw") == digest("disk.img")
    with mounted("disk.img", "--format raw") as mnt:
        assert digest(mnt / "disk") == digest("disk.img")
    # Who says what it is, is not told.
    told = refused("platter info --format qcow2 disk.img", "'/etc/passwd'")
    assert "by its content" not in told


# Loops and depth


@pytest.mark.parametrize("kind", ["qcow2", "qcow", "qed"])
def test_loops(kind, outside):
    overlay("a", "b", kind, kind=kind)
    overlay("b", "a", kind, kind=kind)
    refused_everywhere("a", "b: ", "/a'", "already in the chain")
    os.unlink("b")
    os.link("a", "b")
    refused_everywhere("a", "already in the chain")
    os.unlink("b")
    os.symlink("a", "b")
    refused_everywhere("a", "already in the chain")
    overlay("c", "d" * 10, kind=kind)
    Path("c").write_bytes(Path("c").read_bytes().replace(b"d" * 10, b"././././/c"))
    refused_everywhere("c", "already in the chain")


def test_depth(outside):
    raw("000", 1)
    overlay("001", "000", size="2M")
    overlay("model", "NNN", "qcow2", size="2M")
    model = Path("model").read_bytes()
    assert model.count(b"NNN") == 1
    for number in range(2, 301):
        Path(f"{number:03}").write_bytes(model.replace(b"NNN", b"%03d" % (number - 1)))
    refused_everywhere("300", "longer than 64")
    # The deepest that there may be is read as any other.
    for number in range(1, 64, 7):
        run(f"qemu-io -f qcow2 -c 'write -P {number} {number * 16}k 20k' {number:03}")
    assert hashed("063") == by_qemu("063")
    refused("platter hash 064", "longer than 64")


# Where the parent is missing


def mending_command(message):
    return re.search(r"(?:fits|fit): (platter info .*)", message)[1]


@pytest.mark.parametrize("folder", ["", "sub/", "with space/", "$(touch pwned)'`\"/"])
def test_the_command_that_mends(folder, outside):
    if folder:
        os.mkdir(folder)
    expected = raw(f"{folder}base.img", 1)
    overlay(f"{folder}disk.qcow2", "base.img")
    os.rename(f"{folder}base.img", f"{folder}Base.raw")
    raw(f"{folder}other.raw", 2)
    message = refused(f"platter hash {quoted(folder + 'disk.qcow2')}", "'base.img' was not found",
                      "looked for", "Base.raw fits: platter info --parent")
    command = mending_command(message)
    assert "virtualSize" in run(command + " --json").out
    assert run(command.replace("platter info", "platter hash")).out.split()[0] == expected
    assert not Path("pwned").exists()


def test_the_command_that_mends_starts_from_the_top(outside):
    expected = raw("base.img", 1)
    overlay("low.qcow2", "base.img")
    overlay("mid.qcow2", "low.qcow2", "qcow2")
    overlay("top.qcow2", "mid.qcow2", "qcow2")
    os.rename("base.img", "base.old")
    message = refused("platter hash top.qcow2", "low.qcow2: ", "'base.img'")
    command = mending_command(message)
    assert command.endswith(
        "--parent ./mid.qcow2 --parent ./low.qcow2 --parent ./base.old top.qcow2")
    assert run(command.replace("platter info", "platter hash")).out.split()[0] == expected


def test_a_vmdk_knows_its_parent_by_more_than_its_name(outside):
    for name, seed in (("base", 1), ("other", 2)):
        raw(f"{name}.raw", seed)
        run(f"qemu-img convert -f raw -O vmdk {name}.raw {name}.vmdk")
        os.unlink(f"{name}.raw")
    run("qemu-img create -q -f vmdk -b base.vmdk -F vmdk disk.vmdk")
    expected = by_qemu("disk.vmdk")
    os.rename("base.vmdk", "moved.vmdk")
    message = refused("platter hash disk.vmdk", "'base.vmdk' was not found")
    assert "other.vmdk" not in message
    # QEMU gives every image a CID at random; where the child knows it, its parent is found by it.
    assert "moved.vmdk fits: " in message
    command = mending_command(message).replace("platter info", "platter hash")
    assert run(command).out.split()[0] == expected
    # Another image in the parent's place is not taken for it.
    os.rename("other.vmdk", "base.vmdk")
    refused("platter hash disk.vmdk", "base.vmdk", "--parent")


def test_nothing_fits(outside):
    overlay("disk.qcow2", "base.img")
    raw("unrelated.img", 1)
    message = refused("platter info disk.qcow2", "'base.img' was not found", "./base.img",
                      "nothing beside it fits", "--parent FILE")
    assert "unrelated" not in message


# --parent


def test_parent(outside):
    """In place of what the image names, wherever it is: the user typed it."""
    base = raw("base.img", 1)
    overlay("low.qcow2", "base.img")
    overlay("top.qcow2", "low.qcow2", "qcow2")
    assert hashed("top.qcow2") == base
    other = raw(outside / "other.img", 2)
    assert hashed("top.qcow2", f"--parent low.qcow2 --parent {outside}/other.img") == other
    assert hashed("low.qcow2", f"--parent {outside}/other.img") == other
    os.unlink("base.img")
    assert hashed("low.qcow2", f"--parent {outside}/other.img") == other
    with mounted("low.qcow2", f"--parent {outside}/other.img") as mnt:
        assert digest(mnt / "disk") == other
    # What is given stands in for a name that nobody may open.
    overlay("bad.qcow2", "/etc/passwd")
    assert hashed("bad.qcow2", f"--parent {outside}/other.img") == other
    overlay("bad.qcow2", "nbd://localhost/x")
    assert hashed("bad.qcow2", f"--parent {outside}/other.img") == other
    refused(f"platter hash low.qcow2 --parent absent", "absent", "No such file")
    refused(f"platter hash low.qcow2 --parent {outside}/other.img --parent {outside}/secret",
            "secret", "no parent")
    refused("platter hash low.qcow2 --parent low.qcow2", "already in the chain")


def test_info_names_the_chain(outside):
    raw("base.img", 1)
    overlay("low.qcow2", "base.img", size="2M")
    overlay("top.qcow2", "low.qcow2", "qcow2", size="3M")
    report = json.loads(run("platter info --json top.qcow2").out)
    assert [(Path(layer["path"]).name, layer["format"], layer["virtualSize"])
            for layer in report["chain"]] == [
        ("top.qcow2", "qcow2", 3 * MIB), ("low.qcow2", "qcow2", 2 * MIB), ("base.img", "raw", MIB)]
    assert [(s["name"], s["kind"]) for s in report["snapshots"]] == [
        ("low.qcow2", "parent"), ("base.img", "parent")]


# Older states


@pytest.fixture
def history(outside):
    """A qcow2 with two snapshots inside, on a qcow2 that is on a raw file. Gives the digests."""
    states = {"base.img": raw("base.img", 1)}
    overlay("low.qcow2", "base.img")
    run("qemu-io -f qcow2 -c 'write -P 1 0 100k' -c 'write -P 2 600k 1k' low.qcow2")
    states["low.qcow2"] = by_qemu("low.qcow2")
    overlay("top.qcow2", "low.qcow2", "qcow2")
    for number, name in ((3, "first one"), (4, "second")):
        run(f"qemu-io -f qcow2 -c 'write -P {number} {number * 50}k 90k' "
            f"-c 'write -z 64k 64k' top.qcow2")
        run(f"qemu-img snapshot -c '{name}' top.qcow2")
        states[name] = by_qemu("top.qcow2")
    run("qemu-io -f qcow2 -c 'write -P 5 0 1M' top.qcow2")
    states[""] = by_qemu("top.qcow2")
    assert len(set(states.values())) == 5
    return states


def test_snapshots_of_every_verb(history):
    assert hashed("top.qcow2") == history[""]
    report = json.loads(run("platter info --json top.qcow2").out)
    assert [(s["name"], s["kind"]) for s in report["snapshots"]] == [
        ("first one", "inside"), ("second", "inside"), ("low.qcow2", "parent"),
        ("base.img", "parent")]
    for name, expected in history.items():
        if not name:
            continue
        option = f"--snapshot {quoted(name)}"
        assert hashed("top.qcow2", option) == expected
        run(f"platter cat {option} top.qcow2 > state.raw")
        assert digest("state.raw") == expected
        assert json.loads(run(f"platter info --json {option} top.qcow2").out)["virtualSize"] == MIB
        ranges = json.loads(run(f"platter map --json {option} top.qcow2").out)["ranges"]
        assert sum(r["length"] for r in ranges) == MIB
        with mounted("top.qcow2", option) as mnt:
            assert digest(mnt / "disk") == expected
    # By its number, too, where that is no name.
    assert hashed("top.qcow2", "--snapshot 2") == history["second"]
    for name in ("first one", "second"):
        # As QEMU has it, from another way in.
        assert by_qemu("top.qcow2", f"-l snapshot.name={quoted(name)}") == history[name]
    for command in ("hash", "cat", "map", "info"):
        refused(f"platter {command} --snapshot third top.qcow2", "'third'", "first one", "second",
                "low.qcow2")
    refused("platter hash --snapshot x base.img", "'x'", "none")


def test_snapshots_in_a_mount(history):
    with mounted("top.qcow2") as mnt:
        assert sorted(os.listdir(mnt / "snapshots")) == sorted(
            name.replace(" ", "\\x20") if not (mnt / "snapshots" / name).exists() else name
            for name in history if name)
        for folder in (mnt / "snapshots").iterdir():
            name = folder.name.replace("\\x20", " ")
            assert digest(folder / "disk") == history[name], name
            assert os.stat(folder / "disk").st_mode & 0o222 == 0
        assert digest(mnt / "disk") == history[""]
    with mounted("top.qcow2", "--snapshot second") as mnt:
        assert not (mnt / "snapshots").exists()
    # A disk without a past has no such folder.
    with mounted("base.img") as mnt:
        assert not (mnt / "snapshots").exists()


def test_a_snapshot_of_another_size(outside):
    run("qemu-img create -q -f qcow2 disk.qcow2 1M")
    run("qemu-io -f qcow2 -c 'write -P 1 1000k 24k' disk.qcow2")
    run("qemu-img snapshot -c small disk.qcow2")
    run("qemu-img resize -q -f qcow2 disk.qcow2 3M")
    run("qemu-io -f qcow2 -c 'write -P 2 2M 64k' disk.qcow2")
    # QEMU shows it with the size that the disk has now.
    by_qemu("disk.qcow2", "-l snapshot.name=small")
    os.truncate("expected.raw", MIB)
    expected = digest("expected.raw")
    assert hashed("disk.qcow2", "--snapshot small") == expected
    with mounted("disk.qcow2") as mnt:
        assert os.stat(mnt / "disk").st_size == 3 * MIB
        assert os.stat(mnt / "snapshots/small/disk").st_size == MIB
        assert digest(mnt / "snapshots/small/disk") == expected


def test_partitions_of_a_snapshot(outside, disk):
    """What is in a snapshot's folder is what is in the mount's."""
    run(f"qemu-img convert -O qcow2 {disk} disk.qcow2")
    run("qemu-img snapshot -c before disk.qcow2")
    run("qemu-io -f qcow2 -c 'write -z 0 1M' disk.qcow2")
    with mounted("disk.qcow2") as mnt, mounted(disk, at="other") as other:
        assert not (mnt / "p1").exists()
        then = mnt / "snapshots/before"
        for name in ("disk", "p1", "p2", "p7"):
            assert digest(then / name) == digest(other / name)
        assert os.path.realpath(then / "by-label/helloext") == str((then / "p2").absolute())


def test_a_chain_of_every_format(outside):
    """raw below vmdk, vdi, vhdx … cannot be; but qcow2 stands on anything."""
    raw("base.raw", 1)
    for format in ("raw", "vpc", "vhdx", "vmdk", "vdi", "qcow", "qed", "parallels"):
        options = "-o force_size=on" if format == "vpc" else ""
        if format != "raw":
            run(f"qemu-img convert -f raw -O {format} {options} base.raw base.{format}")
        overlay("top.qcow2", f"base.{format}", format, size="1500k")
        run("qemu-io -f qcow2 -c 'write -P 9 100k 5k' top.qcow2")
        assert hashed("top.qcow2") == by_qemu("top.qcow2"), format
