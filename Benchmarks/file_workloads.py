"""The files inside a disc: beside fuseiso, and beside those who extract."""

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import images
from images import MIB
from runner import Reading, Table
from servers import FuseISO, Platter, Server, ServerFailed

FILES = 20_000
LARGE = "large.bin"


class PlatterFiles(Platter):
    """The files at the root of the mount."""

    def served(self, image, point):
        return point / LARGE

    def pids(self):
        return Server.pids(self)


class Extractor(Server):
    """A program that makes files of a disc; nothing is mounted."""

    def __init__(self, name, package, command):
        super().__init__()
        self.name = name
        self.packages = {command[0]: package}
        self.words = command

    def extract(self, image, folder):
        words = [str(word).format(image=image.path, folder=folder) for word in self.words]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise ServerFailed(f"{self.name}: {done.stderr.strip()[-500:]}")

    def stop(self):
        pass

    def kill(self):
        pass


def disc(work, is_small):
    """A disc of ISO 9660 with Rock Ridge: many small files in deep folders, and one large one."""
    files, mebibytes = (1000, 64) if is_small else (FILES, 512)
    path = work / f"disc-{files}.iso"
    if not path.exists():
        tree = work / f"disc-{files}-tree"
        shutil.rmtree(tree, ignore_errors=True)
        content = os.urandom(64 << 10)
        for number in range(files):
            folder = tree / f"folder-{number % 200}" / f"level-{number % 7}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"file-{number:05}.dat").write_bytes(content[:number % 97 * 100])
        with open(tree / LARGE, "wb") as file:
            for _ in range(mebibytes):
                file.write(content * 16)
        made = path.with_suffix(".part")
        images.run("xorriso", "-report_about", "WARNING", "-as", "mkisofs", "-r", "-o", made, tree)
        made.rename(path)
        shutil.rmtree(tree)
    return images.Image(path, "raw", path.stat().st_size, path)


def timed(words, **options):
    """Seconds that a command takes that must succeed."""
    begun = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          **options)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise ServerFailed(f"{words[0]}: {done.stderr.strip()[-500:]}")
    return seconds


def load(path):
    """Reads a file into the page cache, so that nobody's turn pays for the disk below."""
    with open(path, "rb", buffering=0) as file:
        while file.readinto(images.CHUNK):
            pass


def sequential(path):
    """MiB/s of one file, nothing of it in the page cache."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size = os.fstat(file.fileno()).st_size
        begun = time.perf_counter()
        for offset in range(0, size, MIB):
            if not os.preadv(file.fileno(), [images.CHUNK], offset):
                raise ServerFailed(f"short read at {offset}")
    return size / MIB / (time.perf_counter() - begun)


def files(field, runner, plan):
    """Each turn is a new mount, so that nobody's kernel knows any name yet."""
    image = disc(field.work, plan.is_small)
    platter = PlatterFiles(field.platter, "--files")
    tables = {
        "find": Table(f"find over {FILES:,} files of an ISO 9660 disc", "ms", False),
        "ls": Table("ls -lR over the same", "ms", False),
        "tar": Table("tar -c of all of it", "ms", False),
        "sequential": Table("one file of it, sequential read, 1 MiB at a time", "MiB/s", True),
    }

    def take(contestant):
        commands = {
            "find": ["find", "{}"],
            "ls": ["ls", "-lR", "{}"],
            # Without a pipe tar knows that nobody reads, and reads nothing.
            "tar": ["sh", "-c", "tar -c -C {} . | cat > /dev/null"],
        }
        for name, words in commands.items():
            load(image.path)
            with runner.fresh(contestant) as path:
                point = str(Path(path).parent)
                yield Reading(name, contestant.label,
                              1000 * timed([word.format(point) for word in words]))
        load(image.path)
        with runner.fresh(contestant) as path:
            yield Reading("sequential", contestant.label, sequential(path))

    runner.alternate(
        field.contestants((platter, image), (FuseISO(LARGE), image)), plan.rounds, tables, take)
    return {f"files {name}": table for name, table in tables.items()}


def extraction(field, runner, plan):
    image = disc(field.work, plan.is_small)
    tables = {"extract": Table("all files of an ISO 9660 disc into a folder", "ms", False)}
    # Taken away when all have had their turns: for minutes ext4 looks at each inode that was freed before it
    # takes another, which costs more than the extraction.
    made = []
    contestants = list(field.contestants(
        (Extractor("platter", "platter", [field.platter, "cp", "{image}:/", "{folder}"]), image),
        (Extractor("xorriso", "xorriso",
                   ["xorriso", "-report_about", "WARNING", "-osirrox", "on", "-indev", "{image}",
                    "-extract", "/", "{folder}"]), image),
        (Extractor("7zz", "7zip", ["7zz", "x", "-y", "-o{folder}", "{image}"]), image)))

    def take(contestant):
        folder = runner.new_directory()
        made.append(folder)
        contestant.image.warm()
        begun = time.perf_counter()
        contestant.server.extract(contestant.image, folder)
        seconds = time.perf_counter() - begun
        found = sum(1 for path in folder.rglob("*") if stat.S_ISREG(path.lstat().st_mode))
        if found < (1000 if plan.is_small else FILES):
            raise ServerFailed(f"{contestant.label} gave {found} files")
        yield Reading("extract", contestant.label, 1000 * seconds)

    runner.alternate(contestants, plan.rounds, tables, take)
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)
    return tables


ALL = {"files": files, "extraction": extraction}
