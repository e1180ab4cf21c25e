"""Who meets whom, on which image. Each workload gives the tables that it filled.

The first server of a table is the one that the others are compared with.
"""

import measures
from runner import Contestant, Table
from servers import (NBDKit, NullServer, Platter, QEMUExport, RawFile, VHDMount, XMount)


class Field:
    """The servers and images at hand; what is not installed or not wanted is left out."""

    def __init__(self, platter, null_server, images, unwanted):
        self.platter = platter
        self.null_server = null_server
        self.raw, self.vhd, self.largest_vhd = images
        self.unwanted = unwanted

    def everyone(self):
        """One of each, for naming versions and what is missing."""
        return [Platter(self.platter), NullServer(self.null_server), QEMUExport(), NBDKit(),
                XMount(), VHDMount()]

    def contestants(self, *entries):
        """From (server, image) or (server, image, label)."""
        for server, image, *label in entries:
            if server.name not in self.unwanted and not server.missing():
                yield Contestant(label[0] if label else server.name, server, image)


def raw(field, runner, plan):
    contestants = list(field.contestants(
        (Platter(field.platter), field.raw),
        (NullServer(field.null_server), field.raw),
        (QEMUExport(), field.raw),
        (NBDKit(), field.raw),
        (XMount(), field.raw),
        (RawFile(), field.raw)))
    tables = {
        "sequential": Table("raw image, sequential read, 1 MiB at a time", "MiB/s", True),
        "random 1": Table("raw image, random 4 KiB reads, 1 job", "reads/s", True),
        "random 4": Table("raw image, random 4 KiB reads, 4 jobs", "reads/s", True),
    }
    runner.throughput(contestants, plan.rounds, tables, {
        "sequential": measures.sequential,
        "random 1": measures.random_4k(jobs=1),
        "random 4": measures.random_4k(jobs=4),
    })
    return tables


def uncached(field, runner, plan):
    contestants = list(field.contestants(
        (Platter(field.platter, "--cache=none"), field.raw, "platter --cache=none"),
        (NullServer(field.null_server, "--direct-io"), field.raw, "null server --direct-io")))
    tables = {"uncached": Table("raw image past the page cache, sequential read, 1 MiB at a time",
                                "MiB/s", True)}
    runner.throughput(contestants, plan.rounds, tables, {"uncached": measures.sequential})
    return tables


def vhd(field, runner, plan):
    contestants = list(field.contestants(
        (Platter(field.platter), field.vhd),
        (Platter(field.platter), field.raw, "platter, raw image"),
        (QEMUExport(), field.vhd),
        (VHDMount(), field.vhd)))
    tables = {"vhd": Table(
        "dynamic VHD, sequential read, 1 MiB at a time", "MiB/s", True,
        note="left out: nbdkit has no plugin or filter that reads VHD, xmount no input for it")}
    runner.throughput(contestants, plan.rounds, tables, {"vhd": measures.sequential})
    return tables


def ready(field, runner, plan):
    tables = {}
    for name, image, others in (
            ("raw", field.raw, [(NBDKit(), field.raw), (XMount(), field.raw)]),
            ("vhd", field.largest_vhd, [(VHDMount(), field.largest_vhd)])):
        title = "raw image" if name == "raw" else "empty dynamic VHD of 2,040 GiB"
        note = "" if name == "raw" else "the null server shows the VHD's own bytes, undecoded"
        table = Table(f"{title}, from the command to the first 512 bytes", "ms", False, note)
        contestants = field.contestants(
            (Platter(field.platter), image),
            (NullServer(field.null_server), image.as_plain_file()),
            (QEMUExport(), image),
            *others)
        runner.time_to_ready(contestants, plan.starts, {"ready": table})
        tables[f"ready {name}"] = table
    return tables


def memory(field, runner, plan):
    tables = {}
    for name, title, image, others in (
            ("raw", "raw image", field.raw, [(NBDKit(), field.raw), (XMount(), field.raw)]),
            ("vhd", "dynamic VHD", field.vhd, [(VHDMount(), field.vhd)])):
        when = f"after reading {image.size >> 20:,} MiB of a {title}"
        pair = {
            "resident": Table(f"memory {when}: resident (VmRSS)", "MiB", False),
            "proportional": Table(f"memory {when}: proportional share (PSS)", "MiB", False),
        }
        contestants = field.contestants(
            (Platter(field.platter), image),
            (NullServer(field.null_server), image.as_plain_file()),
            (QEMUExport(), image),
            *others)
        runner.memory(contestants, plan.memory_rounds, pair)
        tables |= {f"{kind} {name}": table for kind, table in pair.items()}
    return tables


ALL = {"raw": raw, "uncached": uncached, "vhd": vhd, "ready": ready, "memory": memory}
