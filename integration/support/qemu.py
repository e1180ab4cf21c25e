"""Images that QEMU makes at random, and what QEMU says that they hold."""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

from .files import digest, noise, sparse_file
from .shell import run

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Kind:
    """A format of QEMU's with the options that make it one of its variants."""

    name: str
    format: str
    options: str = ""
    # What the format allocates at a time: where writes begin and end matters there.
    block: int = 64 * KIB
    # About how large the disks are.
    size: int = 3 * MIB
    # Made by `qemu-img convert` only: in one go, which is all that QEMU can do with it.
    is_written_once: bool = False
    is_compressed: bool = False
    has_backing: bool = False
    # How many images in CI and in a soak.
    sample: int = 4
    soak: int = 50

    def __str__(self):
        return self.name


def random_size(kind, chance):
    """Now and then a multiple of the block, else of a sector."""
    size = chance.randrange(kind.size // 2, kind.size * 3 // 2)
    unit = kind.block if chance.random() < 0.2 else 512
    return max(unit, size // unit * unit)


def random_ranges(kind, size, chance):
    """(offset, length) of pieces of the disk, in sectors: single ones, some around the edges of
    blocks, some of many blocks, and long stretches without any."""
    for _ in range(chance.randrange(1, 24)):
        edge = chance.randrange(0, size // kind.block + 1) * kind.block
        which = chance.random()
        if which < 0.3:
            start, length = chance.randrange(0, size), 512
        elif which < 0.6:
            start, length = edge - 512 * chance.randrange(0, 4), 512 * chance.randrange(1, 8)
        elif which < 0.8:
            start, length = edge, kind.block * chance.randrange(1, 4)
        else:
            start, length = chance.randrange(0, size), chance.randrange(512, 5 * kind.block)
        start = max(0, start) // 512 * 512
        length = min(length // 512 * 512, size - start, MIB)
        if length > 0:
            yield start, length


def content(length, chance):
    """Noise, text that compresses well, one byte again and again, or zeros that are written."""
    which = chance.random()
    if which < 0.4:
        return noise(chance.random(), length)
    if which < 0.7:
        line = b"The quick brown fox jumps over the lazy dog %d\n" % chance.randrange(1000)
        return (line * (length // len(line) + 1))[:length]
    if which < 0.9:
        return bytes([chance.randrange(256)]) * length
    return bytes(length)


def raw_disk(kind, path, chance):
    size = random_size(kind, chance)
    sparse_file(path, size)
    with open(path, "r+b") as file:
        for start, length in random_ranges(kind, size, chance):
            file.seek(start)
            file.write(content(length, chance))
    return path


def write_at_random(kind, image, size, chance):
    """Writes, zeros and discards in any order, so that the blocks of the file are in that order."""
    commands = []
    for start, length in random_ranges(kind, size, chance):
        which = chance.random()
        if which < 0.6:
            commands.append(f"write -P {chance.randrange(1, 256)} {start} {length}")
        elif which < 0.8:
            Path("piece").write_bytes(content(length, chance))
            commands.append(f"write -s piece {start} {length}")
            # The file is read when its command runs: one for each.
            os.rename("piece", f"piece-{len(commands)}")
            commands[-1] = commands[-1].replace("piece", f"piece-{len(commands)}")
        elif which < 0.9:
            commands.append(f"write -z {start} {length}")
        else:
            commands.append(f"discard {start} {length}")
    if kind.is_compressed and size >= kind.block:
        block = chance.randrange(0, size // kind.block) * kind.block
        commands.append(f"write -c -P 200 {block} {kind.block}")
    arguments = " ".join(f"-c '{command}'" for command in commands)
    # Some formats cannot discard or write zeros: what the image then holds is what counts. But where
    # there are writes, some must succeed.
    said = run(f"qemu-io -f {kind.format} {arguments} {image} 2>&1 || true").out
    assert "wrote" in said or not any(command.startswith("write -P") for command in commands), said
    for piece in Path().glob("piece-*"):
        piece.unlink()


def make(kind, seed):
    """An image of this kind, the same for the same seed; gives its name. It stands in the current
    folder, with all the files that it names."""
    chance = random.Random(f"{kind.name} {seed}")
    options = f"-o {kind.options}" if kind.options else ""
    image = f"disk.{kind.format}"
    if kind.has_backing:
        return overlay(kind, options, image, chance)
    if kind.is_written_once or chance.random() < 0.5:
        raw_disk(kind, "source.raw", chance)
        compress = "-c" if kind.is_compressed else ""
        # What is zero stays a hole, or is written down, block by block.
        sparse = chance.choice(["", "-S 0", "-S 64k"]) if not compress else ""
        # Compressing a qcow, QEMU 7.2 does all of it and then gives a bad exit status.
        accept = "|| true" if compress and kind.format == "qcow" else ""
        run(f"qemu-img convert {compress} {sparse} -f raw -O {kind.format} {options} "
            f"source.raw {image} {accept}")
        run(f"qemu-img compare -f raw -F {kind.format} source.raw {image}")
        os.unlink("source.raw")
    else:
        size = random_size(kind, chance)
        run(f"qemu-img create -q -f {kind.format} {options} {image} {size}")
    if not kind.is_written_once:
        write_at_random(kind, image, virtual_size(kind.format, image), chance)
    return image


def overlay(kind, options, image, chance):
    """On a base that is smaller, as large or larger; in between sometimes one more of its kind."""
    size = random_size(kind, chance)
    if kind.format == "vmdk":
        # A VMDK has a VMDK of its own size below it.
        base, format = "base.vmdk", "vmdk"
        raw_disk(kind, "source.raw", chance)
        run(f"qemu-img convert -f raw -O vmdk source.raw {base}")
        os.unlink("source.raw")
        size = ""
    else:
        base, format = "base.raw", "raw"
        raw_disk(kind, base, chance)
        if chance.random() < 0.5:
            format = kind.format
            run(f"qemu-img convert -f raw -O {format} {base} base.{format}")
            base = f"base.{format}"
    names = ["middle." + kind.format] if chance.random() < 0.5 else []
    for name in [*names, image]:
        run(f"qemu-img create -q -f {kind.format} {options} -b {base} -F {format} {name} {size}")
        write_at_random(kind, name, virtual_size(kind.format, name), chance)
        base, format = name, kind.format
    return image


def virtual_size(format, image):
    return json.loads(run(f"qemu-img info --output json -f {format} {image}").out)["virtual-size"]


def oracle(kind, image):
    """The whole disk as QEMU reads it, as a raw file."""
    run(f"qemu-img convert -f {kind.format} -O raw {image} expected.raw")
    return Path("expected.raw")


def expected_digest(kind, image):
    return digest(oracle(kind, image))


def clean():
    """Images are deleted as they have been looked at: a soak makes thousands."""
    for entry in Path().iterdir():
        if entry.is_file():
            entry.unlink()
