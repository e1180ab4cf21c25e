"""The test images: made once, kept in the work directory, used by every run after that."""

import hashlib
import mmap
import os
import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MIB = 1 << 20
SECTOR = 512
CLUSTER = 65536  # qcow2's own choice
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
    below: tuple[Path, ...] = ()  # the images that it stands on

    def warm(self):
        """Read the files as stored, so that no measurement waits for the disk underneath."""
        for path in (self.path, *self.below):
            with open(path, "rb", buffering=0) as file:
                for start, end in data_ranges(file):
                    for offset in range(start, end, MIB):
                        os.preadv(file.fileno(), [CHUNK], offset)

    def bytes_at(self, offset, length):
        if not self.content:
            return bytes(length)
        with open(self.content, "rb") as file:
            return os.pread(file.fileno(), length, offset)

    def as_plain_file(self):
        """The container's own bytes, for a server that knows no formats."""
        return Image(self.path, "raw", self.path.stat().st_size, self.path)


def data_ranges(file):
    """Where the file is no hole."""
    end = 0
    while True:
        try:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        yield start, end


@cache
def digest_of(path):
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def run(*words, **options):
    if not shutil.which(words[0]):
        raise CannotMakeImage(f"{words[0]} is not installed (package {MAKERS[words[0]]})")
    command = [str(word) for word in words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    done = subprocess.run(command, text=True, **streams)
    if done.returncode:
        raise CannotMakeImage(f"{' '.join(command)}: {done.stderr.strip()}")


def kept(path, make):
    """`path`, made by make(another path) if it is not there; a broken run leaves no half."""
    if not path.exists():
        print(f"making {path} …", flush=True)
        # By the same name, in a folder of its own: a VMDK has its name in it.
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=path.parent) as folder:
            make(Path(folder, path.name))
            Path(folder, path.name).rename(path)
    return path


def raw_disk(work, mebibytes):
    path = kept(work / f"disk-{mebibytes}.img", lambda path: make_disk(path, mebibytes))
    return Image(path, "raw", mebibytes * MIB, path)


def dynamic_vhd(work, raw):
    def convert(path):
        run("qemu-img", "convert", "-O", "vpc", "-o", "subformat=dynamic,force_size=on",
            raw.path, path)
    return Image(kept(raw.path.with_suffix(".vhd"), convert), "vpc", raw.size, raw.path)


def container(raw, format, suffix, options=""):
    """The raw disk's content in another format, as qemu-img makes it."""
    def convert(path):
        chosen = ["-o", options] if options else []
        run("qemu-img", "convert", "-f", "raw", "-O", format, *chosen, raw.path, path)
    return Image(kept(raw.path.with_suffix(suffix), convert), format, raw.size, raw.path)


def scattered_chain(raw, depth):
    """qcow2 on qcow2 on qcow2 …: each of the images has its share of the clusters, all over the disk,
    and together they have what the raw disk has."""
    owners = random.Random(depth).choices(range(depth), k=-(-raw.size // CLUSTER))
    paths = [raw.path.with_name(f"{raw.path.stem}-{level + 1}of{depth}.qcow2")
             for level in range(depth)]

    def make(path, level):
        part = path.with_suffix(".part")
        with open(raw.path, "rb") as source, open(part, "wb") as target:
            target.truncate(raw.size)
            for number, owner in enumerate(owners):
                if owner == level:
                    os.pwrite(target.fileno(), os.pread(source.fileno(), CLUSTER, number * CLUSTER),
                              number * CLUSTER)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", part, path)
        part.unlink()
        if level:
            run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", paths[level - 1].name,
                "-F", "qcow2", path)

    for level, path in enumerate(paths):
        kept(path, lambda unfinished: make(unfinished, level))
    return Image(paths[-1], "qcow2", raw.size, raw.path, tuple(paths[:-1]))


def largest_vhdx(work):
    """64 TiB, the most that a VHDX can be, in the smallest blocks: 512 MiB of table, and no data."""
    def create(path):
        run("qemu-img", "create", "-f", "vhdx", "-o", "subformat=dynamic,block_size=1M", path, "64T")
    return Image(kept(work / "empty-64T.vhdx", create), "vhdx", 64 << 40, None)


def qcow2_of_tables(work):
    """4 TiB, and all of its 8,192 second-level tables there: 512 MiB of table, all of it one hole, so
    that no entry leads to data (QEMU, docs/interop/qcow2.txt, "Cluster mapping")."""
    size, tables = 4 << 40, 8192

    def create(path):
        run("qemu-img", "create", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}", path, size)
        with open(path, "r+b") as file:
            first_level = int.from_bytes(os.pread(file.fileno(), 8, 40), "big")
            end = -(-os.path.getsize(path) // CLUSTER) * CLUSTER
            copied = 1 << 63  # the flag of a cluster that nothing else refers to
            entries = [copied | end + number * CLUSTER for number in range(tables)]
            os.pwrite(file.fileno(), b"".join(e.to_bytes(8, "big") for e in entries), first_level)
            file.truncate(end + tables * CLUSTER)
    return Image(kept(work / "tables-4T.qcow2", create), "qcow2", size, None)


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
