"""QEMU as somebody who has an image open, or wants it: qemu-io, and a machine that does not run."""

import os
import subprocess

from .shell import attempt, quoted, start


class Holder:
    """qemu-io with an image open."""

    def __init__(self, options):
        self.process = start(f"exec timeout -k 5 60 qemu-io {options}", stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.write(self.process.stdin.fileno(), b"length\n")
        # It has taken its locks when it answers.
        while not (line := self.process.stdout.readline()).strip().endswith(b"iB"):
            assert line, "qemu-io does not open the image"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=10)


class Machine:
    """A machine with a disk, which it shares only as far as a guest can bear; qemu-io lets others write
    to a raw image that it uses itself."""

    def __init__(self, options, image, kind):
        self.process = start(
            "exec timeout -k 5 60 qemu-system-x86_64 -machine q35,accel=tcg -nodefaults -display none "
            f"-S -monitor stdio -drive if=virtio,format={kind},file={quoted(image)}{options}",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.write(self.process.stdin.fileno(), b"info block\n")
        while (line := self.process.stdout.readline()) and b"Cache mode" not in line:
            pass
        self.is_there = bool(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        error = self.process.communicate(b"quit\n" if self.is_there else None, timeout=10)[1]
        assert self.is_there or b"lock" in error, error


def can_open(ways, image, kind):
    """Which of these ways to open the image, each given by options of qemu-io's, QEMU is allowed now."""
    commands = " ".join(f"-c {quoted(f'open {way} -o driver={kind} {image}')} -c length -c close"
                        for way in ways)
    said = attempt(f"qemu-io {commands} 2>&1", timeout=60).out.splitlines()
    answers = []
    lines = iter(line for line in said if line.endswith("iB") or line.startswith("no file open"))
    for line in lines:
        answers.append(line.endswith("iB"))
        if not answers[-1]:
            next(lines)  # There is nothing to close, either.
    assert len(answers) == len(ways), said
    return answers
