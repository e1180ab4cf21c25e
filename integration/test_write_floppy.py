"""Emulators write to a floppy on a mount, and the original stays as it was."""

import os

import pytest

from support.files import digest, noise, read_at, sparse_file, write_at
from support.shell import attempt, mounted, needs, run

SECTORS_A_TRACK, HEADS, SECTOR = 18, 2, 512
# Behind the boot sector, two tables of nine sectors and 14 sectors of root folder, as mkfs.fat has it.
FIRST_FILE = 33 * SECTOR
SAVED = b"PLATTER!" * 64
CYLINDER, HEAD, NUMBER = 40, 1, 5
SAVED_AT = ((CYLINDER * HEADS + HEAD) * SECTORS_A_TRACK + NUMBER - 1) * SECTOR
# In the boot sector, behind what FAT keeps there, which the BIOS loads to 0x7c00.
PROGRAM_AT, TEXT_AT = 0x3E, 0x8C

# Fills the sector at 0x7e00 with the text, writes it to the floppy by INT 13h, and ends the machine
# through its debug port with the carry flag as its answer.
PROGRAM = bytes.fromhex(
    "31c0 8ec0"               # xor ax, ax; mov es, ax
    "8ed8 fc"                 # mov ds, ax; cld
    "be 8c7c bf 007e"         # mov si, 0x7c8c; mov di, 0x7e00
    "bb 4000"                 # mov bx, 64
    "56 b9 0400 f3a5 5e"      # again: push si; mov cx, 4; rep movsw; pop si
    "4b 75f6"                 # dec bx; jnz again
    "b8 0103 bb 007e"         # mov ax, 0x0301; mov bx, 0x7e00
    f"b9 {NUMBER:02x}{CYLINDER:02x} b6 {HEAD:02x}"  # mov cx, …; mov dh, …
    "cd13"                    # int 0x13, with the drive in dl as the BIOS gave it
    "0f92c0 ba 0105 ee"       # setc al; mov dx, 0x501; out dx, al
    "f4 ebfd")                # hlt; jmp back to it


@pytest.fixture(params=["img", "vhd"])
def floppy(request, home):
    """1.44 MB with two files; its boot sector writes into the large one."""
    assert PROGRAM_AT + len(PROGRAM) <= TEXT_AT
    sparse_file("floppy.img", 1440 * 1024)
    run("mkfs.fat -F 12 -n GAME floppy.img && mcopy -i floppy.img - ::/SAVE.DAT",
        input=noise(1, 1_000_000))
    run("mcopy -i floppy.img - ::/OLD.TXT", input=b"the original")
    write_at("floppy.img", PROGRAM_AT, PROGRAM)
    write_at("floppy.img", TEXT_AT, SAVED[:8])
    if request.param == "vhd":
        run("qemu-img convert -f raw -O vpc -o force_size=on floppy.img floppy.vhd")
    return f"floppy.{request.param}"


@needs("qemu-system-x86_64", "mkfs.fat", "mcopy", "qemu-img")
@pytest.mark.parametrize("option", ["--scratch", "--overlay work.qcow2"])
def test_qemu(floppy, option):
    before = digest(floppy)
    file = noise(1, 1_000_000)
    with mounted(floppy, option) as mnt:
        ended = attempt(
            "timeout -k 5 40 qemu-system-x86_64 -machine accel=tcg -m 16 -nodefaults -display none "
            f"-device isa-debug-exit,iobase=0x501 -drive if=floppy,format=raw,file={mnt}/disk "
            "-boot a")
        assert ended.status == 1, f"2 n + 1, n of the program; 3: the BIOS could not write\n{ended}"
        assert read_at(mnt / "disk", SAVED_AT, SECTOR) == SAVED
        at = SAVED_AT - FIRST_FILE
        assert run(f"mcopy -i {mnt}/disk ::/SAVE.DAT -").bytes == (
            file[:at] + SAVED + file[at + SECTOR:])
    assert digest(floppy) == before


@needs("dosbox", "mkfs.fat", "mcopy", "qemu-img")
@pytest.mark.parametrize("option", ["--scratch", "--overlay work.qcow2"])
def test_dosbox(floppy, option):
    before = digest(floppy)
    with mounted(floppy, option) as mnt:
        commands = [f"imgmount a {mnt}/disk -t floppy", "a:", "copy old.txt new.txt",
                    "echo saved > game.txt", "del old.txt", "exit"]
        run("SDL_VIDEODRIVER=dummy SDL_AUDIODRIVER=dummy HOME=$PWD timeout -k 5 40 "
            "dosbox -noconsole -noautoexec " + " ".join(f'-c "{line}"' for line in commands))
        run(f"sync {mnt}/disk && fsck.fat -n {mnt}/disk")
        listed = run(f"mdir -b -i {mnt}/disk ::").out.split()
        assert listed == ["::/SAVE.DAT", "::/NEW.TXT", "::/GAME.TXT"]
        assert run(f"mtype -i {mnt}/disk ::/NEW.TXT").bytes == b"the original"
        assert run(f"mtype -i {mnt}/disk ::/GAME.TXT").out.split() == ["saved"]
        assert run(f"mcopy -i {mnt}/disk ::/SAVE.DAT -").bytes == noise(1, 1_000_000)
    assert digest(floppy) == before
    assert os.path.exists("work.qcow2") == ("overlay" in option)
