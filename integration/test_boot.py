"""QEMU boots from mnt/disk: GRUB's screen is read out of the machine's text memory."""

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.shell import mounted, needs, run, start

FOLDER = Path("/usr/lib/grub-rescue")
ISO, FLOPPY = FOLDER / "grub-rescue-cdrom.iso", FOLDER / "grub-rescue-floppy.img"
TEXT_MEMORY = "pmemsave 0xb8000 4000"  # 80 by 25 pairs of character and colour.

pytestmark = [
    needs("qemu-system-x86_64"),
    pytest.mark.skipif(
        not ISO.exists(), reason=f"{FOLDER} is missing (apt install grub-rescue-pc)"),
]


@contextmanager
def machine(drive):
    """Gives a function that reads the screen."""
    process = start(
        "exec qemu-system-x86_64 -machine accel=tcg -m 64 -nodefaults -vga std -display none "
        f"-monitor unix:monitor,server,nowait {drive}", stderr=subprocess.PIPE)
    try:
        yield lambda: screen(process)
    finally:
        process.kill()
        process.wait()


def screen(process):
    assert process.poll() is None, process.stderr.read().decode()
    with socket.socket(socket.AF_UNIX) as monitor:
        try:
            monitor.connect("monitor")
        except OSError:
            return ""  # Not yet.
        Path("text").unlink(missing_ok=True)
        monitor.sendall(f'{TEXT_MEMORY} "{os.getcwd()}/text"\n'.encode())
        time.sleep(0.3)
    return Path("text").read_bytes()[::2].decode("latin-1") if Path("text").exists() else ""


def assert_grub_comes_up(drive):
    with machine(drive) as read_screen:
        deadline = time.monotonic() + 60
        text = ""
        while "GRUB  version" not in text:
            assert time.monotonic() < deadline, f"no GRUB in 60 s, but:\n{text}"
            text = read_screen()


CDROM = "-drive media=cdrom,format=raw,readonly=on,file={}"
HARD_DISK = "-drive if=virtio,format=raw,readonly=on,file={}"
DISKETTE = "-drive if=floppy,format=raw,readonly=on,file={}"


def test_without_platter():
    """The test itself works: GRUB comes up from the file as it lies there."""
    assert_grub_comes_up(CDROM.format(ISO))


@pytest.mark.parametrize("option", ["", "--cache=none"])
def test_iso(option):
    with mounted(ISO, option) as mnt:
        assert_grub_comes_up(CDROM.format(mnt / "disk"))


def test_iso_as_a_hard_disk():
    with mounted(ISO) as mnt:
        assert_grub_comes_up(HARD_DISK.format(mnt / "disk"))


def test_floppy():
    with mounted(FLOPPY) as mnt:
        assert_grub_comes_up(DISKETTE.format(mnt / "disk"))


@needs("qemu-img")
@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
def test_floppy_in_a_vhd(subformat):
    run(f"qemu-img convert -f raw -O vpc -o subformat={subformat},force_size=on "
        f"{FLOPPY} floppy.vhd")
    with mounted("floppy.vhd") as mnt:
        run(f"cmp {mnt}/disk {FLOPPY}")
        assert_grub_comes_up(DISKETTE.format(mnt / "disk"))


def test_floppy_in_place_of_a_file():
    """As an emulator's configuration would name it."""
    Path("floppy.img").touch()
    with mounted(FLOPPY, at="floppy.img") as file:
        assert_grub_comes_up(DISKETTE.format(file))
