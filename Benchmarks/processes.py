"""Which processes and mounts the benchmark has started, read from /proc, and how to end them.

Servers daemonise, fork and change their session, so neither a pid nor a process group follows
them. Their environment does: every server is started with a mark of its own in it.
"""

import os
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

MARK = "PLATTER_BENCH_SERVER"
RUN = uuid.uuid4().hex


def new_mark():
    return f"{RUN}-{uuid.uuid4().hex}"


def environment_with(mark):
    return {**os.environ, MARK: mark}


def pids_marked(mark=RUN):
    """Living processes whose mark starts with this one; without an argument, all of this run."""
    wanted = f"{MARK}={mark}".encode()
    pids = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile, or somebody else's
        if any(variable.startswith(wanted) for variable in variables):
            pids.append(int(entry.name))
    return sorted(pids)


def wait_until_gone(mark, seconds):
    deadline = time.monotonic() + seconds
    while pids_marked(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def end_all(mark=RUN):
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        for pid in pids_marked(mark):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        if wait_until_gone(mark, patience):
            return True
    return False


def mounts_under(directory):
    """Mount points in or at this directory, innermost first."""
    top = os.path.realpath(directory)
    points = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        point = line.split()[1].encode().decode("unicode_escape")
        if point == top or point.startswith(top + "/"):
            points.append(point)
    return sorted(points, key=len, reverse=True)


def unmount(point):
    """Properly if possible; lazily (-z) rather than leave it behind."""
    for options in (["-u"], ["-u", "-z"]):
        command = ["fusermount3", *options, point]
        if subprocess.run(command, capture_output=True, text=True).returncode == 0:
            return


@dataclass
class Memory:
    resident: int
    proportional: int
    peak: int  # of what was ever resident


def memory_of(pid):
    """Bytes. Proportional (PSS) shares out pages of libraries that several processes map."""
    resident = proportional = peak = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            resident = int(line.split()[1]) * 1024
        if line.startswith("VmHWM:"):
            peak = int(line.split()[1]) * 1024
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            proportional = int(line.split()[1]) * 1024
    return Memory(resident, proportional, peak)


def processor_seconds_of(pid):
    """User and system time of all threads that it has and had."""
    # proc(5): utime and stime, the 14th and 15th word; the 2nd may have spaces in it.
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def name_of(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()
