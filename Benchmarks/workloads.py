"""Who meets whom, on which image. Each workload gives the tables that it filled.

The first server of a table is the one that the others are compared with.
"""

from pathlib import Path

import images
import measures
from runner import Contestant, Table
from servers import (FuseISO, NBDKit, NullServer, Platter, PlatterInfo, QCOWInfo, QCOWMount, QEMUExport,
                     QEMUInfo, RatarMount, RawFile, VHDMount, VMDKMount, XMount)

# What Debian does not have; `make deps` puts it there.
PYTHON_PEERS = Path(__file__).resolve().parent.parent / ".build/bench-peers"


class Field:
    """The servers and images at hand; what is not installed or not wanted is left out."""

    def __init__(self, platter, null_server, disks, unwanted, work):
        self.platter = platter
        self.null_server = null_server
        self.raw, self.vhd, self.largest_vhd = disks
        self.unwanted = unwanted
        self.python_peers = PYTHON_PEERS
        self.work = work  # where the images are that only one workload needs

    def everyone(self):
        """One of each, for naming versions and what is missing."""
        return [Platter(self.platter), NullServer(self.null_server), QEMUExport(), NBDKit(),
                XMount(), VHDMount(), VMDKMount(), QCOWMount(), RatarMount(self.python_peers),
                FuseISO()]

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


def formats(field, runner, plan):
    """The same disk in every container, beside whoever reads that one, and the raw file."""
    tables = {}
    for name, image, others in (
            ("vhdx", images.container(field.raw, "vhdx", ".vhdx", "subformat=dynamic"), []),
            ("vmdk", images.container(field.raw, "vmdk", ".vmdk", "subformat=monolithicSparse"),
             [VMDKMount()]),
            ("vdi", images.container(field.raw, "vdi", ".vdi"), []),
            ("qcow2", images.container(field.raw, "qcow2", ".qcow2"), [QCOWMount()])):
        title = {"vhdx": "dynamic VHDX", "vmdk": "monolithicSparse VMDK", "vdi": "dynamic VDI",
                 "qcow2": "qcow2, not compressed"}[name]
        contestants = list(field.contestants(
            (Platter(field.platter), image),
            (Platter(field.platter), field.raw, "platter, raw image"),
            (QEMUExport(), image),
            *((server, image) for server in others)))
        note = "" if others else "left out: Debian has no other server that reads it"
        pair = {
            "sequential": Table(f"{title}, sequential read, 1 MiB at a time", "MiB/s", True, note),
            "random": Table(f"{title}, random 4 KiB reads, 1 job", "reads/s", True, note),
        }
        runner.throughput(contestants, plan.format_rounds, pair, {
            "sequential": measures.sequential,
            "random": measures.random_4k(jobs=1, share=plan.random_share),
        })
        tables |= {f"{name} {kind}": table for kind, table in pair.items()}
    return tables


def chain(field, runner, plan):
    """Ten images on each other, each with a tenth of the clusters, against one with all of them."""
    deep = images.scattered_chain(field.raw, 10)
    flat = images.container(field.raw, "qcow2", ".qcow2")
    contestants = list(field.contestants(
        (Platter(field.platter), deep, "platter, chain of 10"),
        (Platter(field.platter), flat, "platter, chain of 1"),
        (QEMUExport(), deep, "QEMU, chain of 10"),
        (QEMUExport(), flat, "QEMU, chain of 1")))
    note = "left out: qcowmount opens no backing file"
    tables = {
        "sequential": Table("qcow2 chain, sequential read, 1 MiB at a time", "MiB/s", True, note),
        "random": Table("qcow2 chain, random 4 KiB reads, 1 job", "reads/s", True, note),
    }
    runner.throughput(contestants, plan.format_rounds, tables, {
        "sequential": measures.sequential,
        "random": measures.random_4k(jobs=1, share=plan.random_share),
    })
    return {f"chain {kind}": table for kind, table in tables.items()}


def open_large(field, runner, plan):
    """What it costs to open an image whose tables are as large as they can be."""
    tables = {}
    for name, title, image, describers, others in (
            ("vhdx", "64 TiB dynamic VHDX", images.largest_vhdx(field.work), [QEMUInfo()], []),
            ("qcow2", "4 TiB qcow2 with all of its tables", images.qcow2_of_tables(field.work),
             [QEMUInfo(), QCOWInfo()], [QCOWMount()])):
        described = {
            "time": Table(f"{title}: to open it and say what it is", "ms", False),
            "peak": Table(f"{title}: memory for that at most (VmHWM)", "MiB", False),
        }
        runner.descriptions(
            list(field.contestants(
                (PlatterInfo(field.platter), image),
                *((server, image) for server in describers))), plan.starts, described)
        ready = {
            "ready": Table(f"{title}: from the command to the first 512 bytes", "ms", False),
            "peak": Table(f"{title}: memory at most (VmHWM) until then and for four reads", "MiB",
                          False, "all of a server's processes together"),
        }
        runner.time_to_ready(
            field.contestants(
                (Platter(field.platter), image), (QEMUExport(), image),
                *((server, image) for server in others)), plan.starts, ready)
        tables |= {f"open {name} {kind}": table for kind, table in described.items()}
        tables |= {f"mount {name} {kind}": table for kind, table in ready.items()}
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


ALL = {"raw": raw, "uncached": uncached, "vhd": vhd, "formats": formats, "chain": chain,
       "open": open_large, "ready": ready, "memory": memory}
