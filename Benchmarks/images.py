"""The test images: made once, kept in the work directory, used by every run after that."""

import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MIB = 1 << 20
SECTOR = 512
# Page-aligned: an unaligned 1 MiB touches 257 pages, which FUSE's direct path splits in two.
CHUNK = mmap.mmap(-1, MIB)

MAKERS = {"sfdisk": "fdisk", "mkfs.fat": "dosfstools", "mke2fs": "e2fsprogs",
          "qemu-img": "qemu-utils"}


class CannotMakeImage(Exception):
    pass


@dataclass(frozen=True)
class Image:
    path: Path
    format: str           # as QEMU names it: raw, vpc
    size: int             # of the virtual disk
    content: Path | None  # a plain file with the same bytes; None means that all are zero

    def warm(self):
        """Read the file as stored, so that no measurement waits for the disk underneath."""
        with open(self.path, "rb", buffering=0) as file:
            while file.readinto(CHUNK):
                pass

    def bytes_at(self, offset, length):
        if not self.content:
            return bytes(length)
        with open(self.content, "rb") as file:
            return os.pread(file.fileno(), length, offset)

    def as_plain_file(self):
        """The container's own bytes, for a server that knows no formats."""
        return Image(self.path, "raw", self.path.stat().st_size, self.path)


@cache
def digest_of(path):
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def run(*words, **options):
    if not shutil.which(words[0]):
        raise CannotMakeImage(f"{words[0]} is not installed (package {MAKERS[words[0]]})")
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise CannotMakeImage(f"{' '.join(command)}: {done.stderr.strip()}")


def kept(path, make):
    """`path`, made by make(unfinished path) if it is not there; a broken run leaves no half."""
    if not path.exists():
        print(f"making {path} …", flush=True)
        unfinished = path.with_name("unfinished-" + path.name)
        unfinished.unlink(missing_ok=True)
        make(unfinished)
        unfinished.rename(path)
    return path


def raw_disk(work, mebibytes):
    path = kept(work / f"disk-{mebibytes}.img", lambda path: make_disk(path, mebibytes))
    return Image(path, "raw", mebibytes * MIB, path)


def dynamic_vhd(work, raw):
    def convert(path):
        run("qemu-img", "convert", "-O", "vpc", "-o", "subformat=dynamic,force_size=on",
            raw.path, path)
    return Image(kept(raw.path.with_suffix(".vhd"), convert), "vpc", raw.size, raw.path)


def largest_vhd(work):
    """2,040 GiB, the most that a VHD can be; all of it empty, so 4 MiB of table and no data."""
    def create(path):
        run("qemu-img", "create", "-f", "vpc", "-o", "subformat=dynamic,force_size=on",
            path, "2040G")
    return Image(kept(work / "empty-2040G.vhd", create), "vpc", 2040 << 30, None)


def make_disk(path, mebibytes):
    """A GPT disk with a FAT32 and an ext4 partition, as a disk that was in use.

    The whole of it is first covered with what is in /usr, and the file systems are made on top
    without discarding: free space holds old data, so no part of the disk reads faster because it
    is a hole or zeros.
    """
    cover_with_files(path, mebibytes * MIB)
    fat_start, fat = MIB, max(40, mebibytes // 6) * MIB
    ext4_start = fat_start + fat
    ext4 = mebibytes * MIB - MIB - ext4_start  # the last MiB holds the backup table
    run("sfdisk", "--wipe", "always", path, input=(
        "label: gpt\n"
        f"start={fat_start // SECTOR}, size={fat // SECTOR}, type=uefi, name=boot\n"
        f"start={ext4_start // SECTOR}, size={ext4 // SECTOR}, type=linux, name=system\n"))
    run("mkfs.fat", "-F", 32, "-s", 1, "-n", "BOOT", "--offset", fat_start // SECTOR,
        path, fat // 1024)
    with tempfile.TemporaryDirectory(dir=path.parent) as staging:
        copy_files(staging, ext4 * 3 // 4)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", 4096, "-L", "system", "-d", staging,
            "-E", f"nodiscard,offset={ext4_start}", path, ext4 // 4096)


def cover_with_files(path, size):
    with open(path, "wb") as disk:
        for file in files_of_usr():
            disk.write(file.read_bytes()[:size - disk.tell()])
            if disk.tell() == size:
                return
    raise CannotMakeImage(f"/usr holds less than {size // MIB} MiB")


def copy_files(folder, size):
    # Files smaller than mke2fs's bytes per inode could use up the inodes before the space.
    for file in files_of_usr():
        length = file.stat().st_size
        if length < 16384:
            continue
        size -= length
        if size < 0:
            return
        copy = Path(folder, file.relative_to("/"))
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def files_of_usr():
    for folder, folders, names in os.walk("/usr"):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink() and os.access(file, os.R_OK):
                yield file
