"""UDF discs that others make, beside what they were made of and what 7-Zip extracts."""

import io
import os
import shutil

import pytest

from support import shell, trees
from support.session import SOAK
from support.shell import attempt, mounted, needs, run

def extracted(image, folder):
    run(f"7zz x -y -tudf -o{folder} {image}", timeout=600)
    return folder


def compare(image, expected):
    """Through a mount and by `cp`; 7-Zip takes no notice of modes."""
    expected = trees.entries(expected, modes=False)
    assert expected
    with mounted(image, "--files") as mnt:
        trees.assert_same(trees.entries(mnt, modes=False), expected)
    run(f"platter cp {image}:/ copied", timeout=600)
    trees.assert_same(trees.entries("copied", modes=False), expected)


@needs("7zz", "genisoimage")
def test_genisoimage(home):
    tree = trees.make(home / "tree", 20_000 if SOAK else 200, deepest=7)
    for path in tree.rglob("*"):
        # genisoimage's UDF has no links.
        if path.is_symlink():
            path.unlink()
    run(f"genisoimage -quiet -udf -R -D -allow-limited-size -input-charset utf-8 -o disc.iso {tree}", timeout=600)
    compare(home / "disc.iso", extracted(home / "disc.iso", home / "expected"))
    found, made = trees.entries(home / "copied", modes=False), trees.entries(tree, modes=False)
    # It takes folders' times from the clock.
    trees.assert_same(*({path: entry for path, entry in both.items() if entry.content} for both in (found, made)))


def test_pycdlib(home):
    """UDF 2.60 with links, which genisoimage cannot write and 7-Zip does not read."""
    pycdlib = pytest.importorskip("pycdlib", reason="pycdlib is missing (make deps)")
    disc = pycdlib.PyCdlib()
    disc.new(udf="2.60")
    contents = {}
    for folder in range(5):
        path = f"dir {folder}"
        disc.add_directory(f"/DIR{folder}", udf_path=f"/{path}")
        for number in range(200 if SOAK else 20):
            name, data = f"{path}/Grüße {number}, 世界", os.urandom(number * 1000)
            disc.add_fp(io.BytesIO(data), len(data), f"/DIR{folder}/F{number}.;1", udf_path=f"/{name}")
            contents[name] = data
    disc.add_symlink(udf_symlink_path="/link", udf_target="dir 1/Grüße 2, 世界")
    disc.write("disc.iso")
    disc.close()
    with mounted(home / "disc.iso", "--files") as mnt:
        found = {str(path.relative_to(mnt)): path for path in mnt.rglob("*")}
        assert set(found) == set(contents) | {f"dir {folder}" for folder in range(5)} | {"link"}
        for name, data in contents.items():
            assert found[name].read_bytes() == data, name
        assert os.readlink(mnt / "link") == "dir 1/Grüße 2, 世界"
        assert (mnt / "link").read_bytes() == contents["dir 1/Grüße 2, 世界"]


@needs("7zz")
@pytest.mark.parametrize("name", ["udf102.iso", "udf-cd-nero-6.img.xz"])
def test_discs_of_others(home, name):
    image = shell.session.shared / "images" / name
    if not image.exists():
        pytest.skip(f"{image} is not there")
    if name.endswith(".xz"):
        run(f"xz -dc {image} > disc.img")
    else:
        shutil.copyfile(image, "disc.img")
    compare(home / "disc.img", extracted(home / "disc.img", home / "expected"))


@needs("genisoimage")
def test_names_of_iso(home):
    """A bridge disc shows UDF, or ISO 9660 where its names are asked for."""
    (home / "tree").mkdir()
    (home / "tree" / "A name that ISO 9660 has not got.txt").write_text("hello")
    run("genisoimage -quiet -udf -o disc.iso tree")
    assert run("platter ls disc.iso").out == "A name that ISO 9660 has not got.txt\n"
    assert "A name that" not in attempt("platter ls --iso-names iso disc.iso").out


@pytest.mark.skipif(not SOAK, reason="PLATTER_SOAK=1 makes a disc of 5 GiB")
@needs("genisoimage")
def test_large_file(home):
    """More than 4 GiB, in pieces of a gibibyte less a block."""
    (home / "tree").mkdir()
    with open(home / "tree" / "large", "wb") as file:
        file.truncate((5 << 30) + 5)
        for place in (0, (1 << 30) - 2050, (4 << 30) - 3, 5 << 30):
            file.seek(place)
            file.write(b"here")
    run("genisoimage -quiet -udf -allow-limited-size -R -o disc.iso tree", timeout=600)
    with mounted(home / "disc.iso", "--files") as mnt:
        run(f"cmp {mnt}/large tree/large", timeout=600)
