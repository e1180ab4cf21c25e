"""Trees of files: made to have what is hard about them, and compared."""

import hashlib
import os
import random
import stat
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """What a person would notice of a file: its owner is whoever looks, unless root made the disc."""

    kind: str
    size: int
    mode: int
    modified: int
    content: str


def make(folder, files, seed=6, deepest=12, sparse=9 << 20):
    """Folders and files of all sorts, the same for the same seed: deep paths, long names and names
    beyond ASCII, hard links, links, empty files and folders, one sparse file of `sparse` bytes."""
    random.seed(seed)
    root = Path(folder)
    root.mkdir()
    folders = [root]
    deep = root
    for level in range(deepest):
        deep = deep / f"level-{level}"
        deep.mkdir()
        folders.append(deep)
    for number in range(files // 40):
        parent = random.choice(folders)
        made = parent / f"folder {number}"
        if len(made.parts) - len(root.parts) < deepest:
            made.mkdir()
            folders.append(made)
    for number in range(files):
        parent = random.choice(folders)
        kind = number % 50
        name = f"file-{number}.dat"
        if kind == 1:
            name = f"Grüße, 世界 №{number}.txt"
        elif kind == 2:
            name = f"{number}-" + "long" * 60
        elif kind == 3:
            name = f"UPPER lower.{number}.tar.gz"
        path = parent / name
        path.write_bytes(random.randbytes(random.choice([0, 1, 100, 2048, 5000, 70000])))
        path.chmod(random.choice([0o644, 0o600, 0o755, 0o444]))
        if kind == 4:
            os.link(path, parent / f"hard-link-{number}")
        elif kind == 5:
            (parent / f"link-{number}").symlink_to(random.choice([name, "../" + name, "/etc/passwd"]))
    with open(root / "sparse.bin", "wb") as file:
        file.truncate(sparse)
        for place in (0, sparse // 2, max(0, sparse - (1 << 30)), sparse - 5):
            file.seek(place)
            file.write(b"here!")
    for path in [*root.rglob("*"), root]:
        moment = random.randrange(900_000_000, 1_700_000_000)
        os.utime(path, (moment, moment), follow_symlinks=False)
    return root


def entries(root, modes=True, times=True, folder_sizes=False):
    """Path → Entry, of everything below `root`."""
    found = {}
    root = Path(root)
    for path in root.rglob("*"):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = ""
        if stat.S_ISREG(status.st_mode):
            content = digest(path)
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        is_file = stat.S_ISREG(status.st_mode)
        found[str(path.relative_to(root))] = Entry(
            kind=oct(kind), size=status.st_size if is_file or folder_sizes else 0,
            mode=stat.S_IMODE(status.st_mode) if modes and not stat.S_ISLNK(status.st_mode) else 0,
            # xorriso gives a link no time.
            modified=int(status.st_mtime) if times and not stat.S_ISLNK(status.st_mode) else 0,
            content=content)
    return found


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(BLOCK):
            total.update(piece)
    return total.hexdigest()


def assert_same(found, expected):
    """Says what differs, not all that there is."""
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    assert not missing and not extra, f"missing {missing[:5]}, extra {extra[:5]}"
    for path, entry in expected.items():
        assert found[path] == entry, path
