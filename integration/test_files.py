"""The files inside: mounted, listed and copied, as the tools have them that made the discs."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from support import trees
from support.files import MIB, digest
from support.session import ROOT, SOAK
from support.shell import attempt, mounted, needs, quoted, refused, run

FILES = 20_000 if SOAK else 300


@pytest.fixture(scope="session")
def tree(library):
    return trees.make(library / "tree", FILES, sparse=(5 << 30) + 5 if SOAK else 9 * MIB)


def extracted(iso, folder):
    """What xorriso makes of a disc."""
    folder.mkdir()
    run(f"xorriso -report_about WARNING -osirrox on:auto_chmod_off -indev {iso} -extract / {folder}",
        timeout=600)
    # Where mkisofs keeps folders that are too deep; they are in their own places too.
    if (folder / "rr_moved").is_dir():
        (folder / "rr_moved").rmdir()
    return folder


MAKERS = {
    "xorriso": "xorriso -report_about WARNING -as mkisofs -iso-level 3 -r -J -joliet-long -o {iso} {tree}",
    "xorriso-a": "xorriso -report_about WARNING -as mkisofs -iso-level 3 -R --hardlinks -o {iso} {tree}",
    "genisoimage": "genisoimage -quiet -R -J -joliet-long -cache-inodes -o {iso} {tree}",
}
if SOAK:
    # It cannot make files of more than 4 GiB.
    MAKERS["genisoimage"] = MAKERS["genisoimage"].replace(" -o", " -m sparse.bin -o")


@pytest.fixture(scope="session", params=MAKERS)
def disc(request, tree, library):
    """A disc and what is on it."""
    maker = request.param
    if not shutil.which(maker.split("-")[0]) or not shutil.which("xorriso"):
        pytest.skip(f"{maker.split('-')[0]} is missing")
    iso = library / f"{maker}.iso"
    run(MAKERS[maker].format(iso=iso, tree=tree), timeout=600)
    return iso, extracted(iso, library / f"{maker}-extracted")


def test_disc_is_what_xorriso_extracts(disc):
    iso, expected = disc
    expected = trees.entries(expected)
    with mounted(iso, "--files") as mnt:
        trees.assert_same(trees.entries(mnt), expected)
        # Again: what the kernel keeps by now is the same.
        trees.assert_same(trees.entries(mnt), expected)
    with mounted(iso) as mnt:
        trees.assert_same(trees.entries(mnt / "files/disk"), expected)


def test_copy_is_what_xorriso_extracts(disc):
    iso, expected = disc
    run(f"platter cp {iso}:/ copy", timeout=600)
    trees.assert_same(trees.entries("copy"), trees.entries(expected))
    # Names of one file on the disc are names of one copy.
    with mounted(iso, "--files") as mnt:
        for path in mnt.rglob("hard-link-*"):
            copy = Path("copy") / path.relative_to(mnt)
            other = f"file-{path.name.removeprefix('hard-link-')}.dat"
            assert copy.samefile(copy.with_name(other)) == path.samefile(path.with_name(other))


def test_numbers_stay(disc):
    iso, _ = disc

    def numbers(mnt):
        return {str(path): path.lstat().st_ino for path in mnt.rglob("*")}

    with mounted(iso, "--files") as mnt:
        first = numbers(mnt)
    with mounted(iso, "--files") as mnt:
        assert numbers(mnt) == first
        for path in mnt.rglob("hard-link-*"):
            status = path.stat()
            if status.st_nlink > 1:
                other = path.with_name(f"file-{path.name.removeprefix('hard-link-')}.dat")
                assert other.stat().st_ino == status.st_ino


def test_list(disc):
    iso, expected = disc
    listed = json.loads(run(f"platter ls -R --json {iso}").out)["entries"]
    there = {str(path.relative_to(expected)) for path in expected.rglob("*")}
    assert {entry["path"].lstrip("/") for entry in listed} == there
    assert run(f"platter ls {iso}").out.split("\n")[:-1] == sorted(
        (path.name for path in expected.iterdir()), key=os.fsencode)
    line = run(f"platter ls -l {iso} level-0").out.splitlines()[0]
    assert line[0] in "-dl"


@needs("mkfs.fat", "mcopy")
def test_fat_is_what_mtools_reads(tree, home):
    image = home / "floppy.img"
    run(f"mkfs.fat -C -F 16 {image} 65536 -n FILES")
    some = [path for path in sorted(tree.iterdir())
            if path.is_file() and path.name != "sparse.bin"][:40]
    for path in some:
        run(f"mcopy -i {image} -m {quoted(path)} ::", timeout=30)
    run(f"mmd -i {image} ::/folder && mcopy -i {image} -m {quoted(some[0])} ::/folder/inside.bin")
    with mounted(image, "--files") as mnt:
        assert {path.name for path in mnt.iterdir()} == {path.name for path in some} | {"folder"}
        for path in some:
            found = mnt / path.name
            assert digest(found) == digest(path)
            # FAT counts in two seconds, and in local time, which is UTC here.
            assert abs(found.stat().st_mtime - path.stat().st_mtime) < 2
            assert (mnt / path.name.upper()).stat().st_size == path.stat().st_size
        assert digest(mnt / "folder/inside.bin") == digest(some[0])
        refused_write(mnt / "new")


def refused_write(path):
    with pytest.raises(OSError):
        path.write_text("no")


@needs("mkfs.fat", "mcopy")
def test_files_follow_writes(disk_with_fat):
    with mounted(disk_with_fat, "--scratch") as mnt:
        assert (mnt / "files/p1").is_dir()
        assert list((mnt / "files/p1").iterdir()) == []
        Path("new.txt").write_text("first")
        run(f"mcopy -o -i {mnt}/p1 new.txt ::")
        assert (mnt / "files/p1/new.txt").read_text() == "first"
        Path("new.txt").write_text("the second time")
        run(f"mcopy -o -i {mnt}/p1 new.txt ::")
        assert (mnt / "files/p1/new.txt").read_text() == "the second time"
        run(f"mdel -i {mnt}/p1 ::/new.txt")
        assert not (mnt / "files/p1/new.txt").exists()


@pytest.fixture
def disk_with_fat(home):
    disk = home / "disk.img"
    with open(disk, "wb") as file:
        file.truncate(20 * MIB)
    run(f"printf '2048,16384,6\\n20480,16384,6\\n' | sfdisk -q {disk}")
    for start in (2048, 20480):
        run(f"mkfs.fat --offset {start} -F 12 {disk} 8192")
    return disk


def test_which_partition(disk_with_fat):
    Path("mnt").mkdir()
    refused(f"platter mount --files {disk_with_fat} mnt", "--partition", "1, 2")
    assert not os.listdir("mnt")
    refused(f"platter ls {disk_with_fat}", "--partition")
    with mounted(disk_with_fat, "--files", "--partition 2") as mnt:
        assert list(mnt.iterdir()) == []
    assert run(f"platter ls --partition 1 {disk_with_fat}").out == ""
    with open("nothing.img", "wb") as file:
        file.truncate(MIB)
    refused("platter ls nothing.img", "no file system", "iso9660", "vfat")
    refused("platter mount --files nothing.img mnt", "no file system")


@needs("xorriso")
def test_copy_follows_no_link_out(home):
    """A link in the image, and one that waits at the destination."""
    source = home / "source"
    (source / "real").mkdir(parents=True)
    (source / "real/file").write_text("from the disc")
    (source / "up").symlink_to("../../../../etc")
    (source / "absolute").symlink_to("/real/file")
    run(f"xorriso -report_about WARNING -as mkisofs -r -o links.iso {source}")
    run("platter cp links.iso:/ copy")
    assert os.readlink("copy/up") == "../../../../etc"
    # Inside the image its root is the root.
    assert run("platter ls links.iso absolute").out.strip() == "absolute"
    refused("platter ls links.iso up/", "no such file")
    (source / "etc").mkdir()
    (source / "etc/hosts").write_text("the disc's own")
    run(f"xorriso -report_about WARNING -as mkisofs -r -o etc.iso {source}")
    assert run("platter ls etc.iso up/").out.strip() == "hosts"
    run("platter cp etc.iso:up/hosts hosts")
    assert Path("hosts").read_text() == "the disc's own"
    outside = home / "outside"
    outside.mkdir()
    (outside / "file").write_text("not to be touched")
    Path("trap").mkdir()
    Path("trap/real").symlink_to(outside)
    result = attempt("platter cp links.iso:/ trap")
    assert result.status == 1 and "real" in result.err
    assert (outside / "file").read_text() == "not to be touched"
    Path("trap2").mkdir()
    Path("trap2/file").symlink_to(outside / "file")
    run("platter cp links.iso:/real/file trap2")
    assert Path("trap2/file").read_text() == "from the disc"
    assert (outside / "file").read_text() == "not to be touched"


@needs("xorriso")
def test_copy_names(home):
    source = home / "source"
    source.mkdir()
    (source / "a.txt").write_text("a")
    run(f"xorriso -report_about WARNING -as mkisofs -r -o one.iso {source}")
    run("platter cp one.iso:/a.txt b.txt")
    assert Path("b.txt").read_text() == "a"
    Path("folder").mkdir()
    run("platter cp one.iso:a.txt folder")
    assert Path("folder/a.txt").read_text() == "a"
    refused("platter cp one.iso:/missing folder", "no such file")
    refused("platter cp nowhere:/a.txt folder", "disk.iso:/boot")
    refused("platter cp one.iso:/a.txt one.iso:/a.txt c", "no folder")


@needs("xorriso")
def test_copy_means_folders_by_slashes(home):
    """As cp(1): a slash behind a name means a folder, of the image and here."""
    source = home / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder/a.txt").write_text("a")
    (source / "link").symlink_to("folder")
    run(f"xorriso -report_about WARNING -as mkisofs -r -o one.iso {source}")
    refused("platter cp one.iso:/folder/a.txt new/", "no such folder")
    assert not Path("new").exists()
    run("platter cp one.iso:/folder new/")
    assert os.listdir("new") == ["a.txt"]
    run("platter cp one.iso:/link as-link && platter cp one.iso:/link/ as-folder")
    assert os.readlink("as-link") == "folder" and os.listdir("as-folder") == ["a.txt"]
    assert "a.txt" in run("platter ls -l one.iso link/").out
    assert "link -> folder" in run("platter ls -l one.iso link").out
    refused("platter ls one.iso folder/a.txt/", "no folder")
    # A name that begins with a character that combines with the slash before it.
    (source / "folder/\u0301x").write_text("")
    run(f"xorriso -report_about WARNING -as mkisofs -r -o two.iso {source}")
    assert "\u0301x" in run("platter ls two.iso folder").out


@needs("mkfs.fat", "mcopy")
def test_copy_spares_the_image(home):
    """A disc that holds a file of the disc's own name."""
    image = home / "floppy.img"
    run(f"mkfs.fat -C -F 12 {image} 1440")
    for name in ("floppy.img", "other"):
        Path("inside").write_text("from the disc")
        run(f"mcopy -i {image} inside ::/{name}")
    before = digest(image)
    os.link(image, "other")
    result = attempt("platter cp floppy.img:/ .")
    assert result.status == 1 and result.err.count("is the image itself") == 2
    assert digest(image) == before and digest("other") == before
    run("platter cp floppy.img:/other elsewhere")
    assert Path("elsewhere").read_text() == "from the disc"


@needs("xorriso", "fallocate")
def test_copy_of_holes_and_damage(home):
    """Holes of the image are holes of the copy; one that breaks off is as long as what could be read."""
    source = home / "source"
    source.mkdir()
    with open(source / "sparse", "wb") as file:
        file.truncate(8 * MIB + 1)
        file.write(b"start")
        file.seek(5 * MIB)
        file.write(b"middle")
    (source / "zeros").write_bytes(bytes(3 * MIB))
    (source / "cut").write_bytes(os.urandom(MIB))
    run(f"xorriso -report_about WARNING -as mkisofs -r -o disc.iso {source}")
    run("fallocate --dig-holes disc.iso")
    run("platter cp disc.iso:/ copy")
    for name in ("sparse", "zeros", "cut"):
        run(f"cmp copy/{name} source/{name}")
    assert os.stat("copy/sparse").st_blocks * 512 < MIB
    assert os.stat("copy/zeros").st_blocks == 0
    os.chmod("disc.iso", 0o644)
    data = Path("disc.iso").read_bytes()
    place = data.index((source / "cut").read_bytes()[:4096])
    Path("cut.iso").write_bytes(data[:place + MIB // 2 + 5])
    result = attempt("platter cp cut.iso:/cut half")
    assert result.status == 1 and "ends before" in result.err
    assert 0 < os.path.getsize("half") < MIB


@needs("mkfs.fat", "mmd")
def test_copy_of_folders_without_end(home):
    """Folders that each hold the next one twice: 2^20 paths to the last."""
    image = home / "tree.img"
    run(f"mkfs.fat -C -F 12 {image} 1440")
    path = "::"
    for _ in range(20):
        path += "/0"
        run(f"mmd -i {image} {path}")
    data = bytearray(image.read_bytes())
    place = 0
    while (place := data.find(b"0          \x10", place)) >= 0:
        assert not any(data[place + 32:place + 64])
        data[place + 32:place + 64] = b"1" + data[place + 1:place + 32]
        place += 64
    image.write_bytes(data)
    for verb in ("cp tree.img:/ copy", "ls -R tree.img"):
        result = attempt(f"platter {verb}", timeout=60)
        assert result.status == 1 and "in more than 64 places" in result.err
    assert sum(1 for _ in Path("copy").rglob("*")) < 3000


@needs("xorriso", "gzip")
def test_packed_disc(tree, home):
    """One idea used thrice: a file in a file system in a compressed image."""
    run(f"xorriso -report_about WARNING -as mkisofs -r -o {home}/disc.iso {tree}/level-0", timeout=600)
    expected = trees.entries(tree / "level-0", times=False, modes=False)
    run("gzip -1 disc.iso")
    with mounted("disc.iso.gz", "--files") as mnt:
        trees.assert_same(trees.entries(mnt, times=False, modes=False), expected)
