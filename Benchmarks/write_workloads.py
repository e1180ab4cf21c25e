"""The workloads of writable mounts: as workloads.py, with changes that are new for each turn."""

from dataclasses import replace

import images
import measures
from images import MIB
from runner import Table
from servers import Platter, QEMUExport
from writable import (NBDKitCow, NullWriteServer, NullWriteServerOneView, PlatterOverlay,
                      PlatterOverlayOneView, PlatterScratch, QEMUNewOverlay, QEMUOverlay)
from writes import PAGE, Writes, WritesByJobs

# As Platter's overlays: an aligned write of 4 KiB copies nothing.
EXTENDED = "cluster_size=128k,extended_l2=on"
THROWN_AWAY = "nbdkit throws away what was written, so it has nothing to make safe"


def in_a_folder(field):
    # The null server's file is empty and not a copy of the disk.
    empty = replace(field.raw, content=None)
    return list(field.contestants(
        (PlatterOverlay(field.platter), field.raw),
        (NullWriteServer(field.null_server), empty),
        (QEMUOverlay(), field.raw, "QEMU, default options"),
        (QEMUOverlay(EXTENDED), field.raw, "QEMU, extended L2"),
        (NBDKitCow(), field.raw, "nbdkit cow, 64 KiB"),
        (NBDKitCow("cow-block-size=4096"), field.raw, "nbdkit cow, 4 KiB")))


def closing(title):
    """QEMU makes all safe when the file is closed, Platter when it is unmounted."""
    return Table(f"{title}: then until closed, unmounted and on the disk", "ms", False,
                 THROWN_AWAY)


def write_random(field, runner, plan):
    total = plan.random_writes * MIB
    title = f"{plan.random_writes} MiB of random 4 KiB writes"
    one = {
        "rate": Table(f"{title}, 1 job", "writes/s", True, "without fsync"),
        "again": Table(f"{title}, 1 job, once more to the same places", "writes/s", True,
                       "without fsync"),
        "closing": closing(f"{title}, 1 job"),
        "size": Table(f"{title}: what the file with the changes takes up", "MiB", False),
    }
    four = {"rate": Table(f"{title}, 4 jobs", "writes/s", True, "without fsync")}
    runner.writes(in_a_folder(field), plan.write_rounds, one,
                  Writes(PAGE, total, at_random=True, twice=True))
    runner.writes(in_a_folder(field), plan.write_rounds, four, WritesByJobs(4, total))
    return {"write-random 1": one["rate"], "write-random again": one["again"],
            "write-random closing": one["closing"],
            "overlay size": one["size"], "write-random 4": four["rate"]}


def write_sequential(field, runner, plan):
    title = f"{plan.sequential_writes} MiB written in sequence, 1 MiB at a time"
    tables = {
        "rate": Table(title, "MiB/s", True, "without fsync"),
        "again": Table(f"{title}, once more to the same places", "MiB/s", True, "without fsync"),
        "closing": closing(title),
    }
    load = Writes(MIB, plan.sequential_writes * MIB, at_random=False, twice=True)
    runner.writes(in_a_folder(field), plan.write_rounds, tables, load)
    return {f"write-sequential {kind}": table for kind, table in tables.items()}


def write_sync(field, runner, plan):
    table = Table("random 4 KiB writes, each with fdatasync", "writes/s", True,
                  "nbdkit's cow filter flushes nothing: what it holds is thrown away in any case")
    load = Writes(PAGE, plan.synced_writes * PAGE, at_random=True, sync_each=True)
    runner.writes(in_a_folder(field), plan.write_rounds, {"rate": table}, load)
    return {"write-sync": table}


def write_one_view(field, runner, plan):
    """Mounted in a regular file's place, where the kernel may collect what is written."""
    table = Table(f"one view, {plan.random_writes} MiB of random 4 KiB writes and one fsync",
                  "writes/s", True)
    contestants = field.contestants(
        (PlatterOverlayOneView(field.platter), field.raw),
        (NullWriteServerOneView(field.null_server), replace(field.raw, content=None)),
        (QEMUOverlay(), field.raw, "QEMU, default options"),
        (QEMUOverlay(EXTENDED), field.raw, "QEMU, extended L2"),
        (NBDKitCow(), field.raw, "nbdkit cow, 64 KiB"))
    load = Writes(PAGE, plan.random_writes * MIB, at_random=True, sync_at_end=True)
    runner.writes(contestants, plan.write_rounds, {"rate": table}, load)
    return {"write-one-view": table}


def empty_overlay(field, runner, plan):
    """What a writable mount costs those who only read."""
    contestants = list(field.contestants(
        (PlatterOverlay(field.platter), field.raw, "platter, empty overlay"),
        (Platter(field.platter), field.raw, "platter, no overlay"),
        (QEMUOverlay(EXTENDED), field.raw, "QEMU, empty overlay"),
        (QEMUExport(), field.raw, "QEMU, no overlay")))
    title = "reading a raw image through an empty overlay"
    tables = {
        "sequential": Table(f"{title}, sequential, 1 MiB at a time", "MiB/s", True),
        "random": Table(f"{title}, random 4 KiB, 1 job", "reads/s", True),
    }
    runner.throughput(contestants, plan.write_rounds, tables, {
        "sequential": measures.sequential,
        "random": measures.random_4k(jobs=1),
    })
    return {f"empty-overlay {kind}": table for kind, table in tables.items()}


def ready_scratch(field, runner, plan):
    """--scratch on bases of every kind, beside others that give a new place for changes."""
    tables = {}
    for name, title, image, others in (
            ("raw", "raw image", field.raw, [NBDKitCow()]),
            ("vhd", "empty dynamic VHD of 2,040 GiB", field.largest_vhd, []),
            ("vhdx", "64 TiB dynamic VHDX", images.largest_vhdx(field.work), []),
            ("chain", "qcow2 chain of 10", images.scattered_chain(field.raw, 10), [])):
        table = Table(f"{title}, writable: from the command to the first 512 bytes", "ms", False,
                      "QEMU with the time that qemu-img create takes")
        contestants = field.contestants(
            (PlatterScratch(field.platter), image, "platter --scratch"),
            (QEMUNewOverlay(EXTENDED), image, "QEMU, new overlay"),
            *((server, image, "nbdkit cow") for server in others))
        runner.time_to_ready(contestants, plan.starts, {"ready": table})
        tables[f"ready-scratch {name}"] = table
    return tables


ALL = {"write-random": write_random, "write-sequential": write_sequential,
       "write-sync": write_sync, "write-one-view": write_one_view,
       "empty-overlay": empty_overlay, "ready-scratch": ready_scratch}
