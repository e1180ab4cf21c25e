#!/usr/bin/env python3
"""Platter side by side with its peers, in one run, on one machine. README.md says how to read it."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import compressed_workloads
import file_workloads
import images
import processes
import report
import servers
import workloads
import write_workloads
from runner import Runner, Sheet

HERE = Path(__file__).resolve().parent
WORKLOADS = workloads.ALL | write_workloads.ALL | compressed_workloads.ALL | file_workloads.ALL


@dataclass
class Plan:
    mebibytes: int
    rounds: int
    starts: int
    memory_rounds: int
    format_rounds: int  # of each format and of the chains
    random_share: int  # one in so many bytes is read at random there, at most
    write_rounds: int
    random_writes: int  # MiB
    sequential_writes: int  # MiB
    synced_writes: int
    unpacking_rounds: int
    is_small: bool


def main():
    options = parsed_options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    options.work.mkdir(parents=True, exist_ok=True)
    scratch = options.work / f"run-{os.getpid()}"
    scratch.mkdir()
    status = 1
    try:
        status = run(options, scratch)
    except images.CannotMakeImage as error:
        print(f"bench: the test image cannot be made: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nbench: interrupted, cleaning up", file=sys.stderr)
        status = 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        status = status if clean_up(scratch) else 1
    return status


def parsed_options():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    names = [server.name for server in servers.ALL]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platter", type=Path, metavar="PATH", help="the platter command")
    parser.add_argument("--rounds", type=int, help="rounds of each workload (7; 2 with --small)")
    parser.add_argument("--small", action="store_true", help="a 128 MiB disk, for CI")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there too")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="WORKLOAD",
                        help="some of: " + ", ".join(WORKLOADS))
    parser.add_argument("--without", nargs="+", default=[], metavar="SERVER", choices=names,
                        help="leave out some of: " + ", ".join(f'"{name}"' for name in names))
    parser.add_argument("--work", type=Path, default=cache / "platter-bench", metavar="DIR",
                        help="where the test images are kept, 28 GiB (%(default)s)")
    options = parser.parse_args()
    if "platter" in options.without:
        options.platter = options.platter or Path("platter")
    elif not options.platter:
        parser.error("--platter PATH says which platter to measure (or: --without platter)")
    elif not options.platter.is_file():
        parser.error(f"there is no {options.platter}: build it first (or: --without platter)")
    if not options.only:
        too_slow = compressed_workloads.NOT_SMALL if options.small else {}
        options.only = [name for name in WORKLOADS if name not in too_slow]
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


def run(options, scratch):
    rounds = options.rounds
    plan = (Plan(128, rounds or 2, 3, 1, rounds or 1, 32, rounds or 1, 8, 32, 100,
                 rounds or 1, True)
            if options.small else
            Plan(1536, rounds or 7, max(15, rounds or 7), 3, rounds or 7, 4, rounds or 7, 64, 512,
                 2000, rounds or 3, False))
    null_server, why_not = built_null_server(options.work)
    raw = images.raw_disk(options.work, plan.mebibytes)
    disks = (raw, images.dynamic_vhd(options.work, raw), images.largest_vhd(options.work))
    field = workloads.Field(
        options.platter, null_server, disks, options.without, options.work)

    left_out = left_out_servers(field, why_not)
    versions = {server.name: server.version() for server in field.everyone()
                if server.name not in left_out}
    machine = report.machine()
    print_setting(machine, versions, left_out)

    runner = Runner(scratch)
    tables = {}
    for name in options.only:
        print(f"{name}:", flush=True)
        tables |= WORKLOADS[name](field, runner, plan)
    sheets = {name: sheet for name, sheet in tables.items() if isinstance(sheet, Sheet)}
    tables = {name: (table, next(iter(table.rows), "")) for name, table in tables.items()
              if name not in sheets}

    print()
    for table, subject in tables.values():
        print(report.text_of(table, subject))
    for sheet in sheets.values():
        print(report.text_of_sheet(sheet))
    print_setting(machine, versions, left_out)
    for failure in runner.failures:
        print(f"FAILED  {failure}")
    if options.json:
        document = report.json_of(tables, sheets, machine, versions, left_out, runner.failures)
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if runner.failures else 0


def built_null_server(work):
    """(the program, why it could not be built)"""
    program = work / "null-server"
    source = HERE / "null-server" / "null_server.c"
    needs = {"cc": "gcc", "pkg-config": "pkg-config"}
    if missing := [package for tool, package in needs.items() if not shutil.which(tool)]:
        return program, f"not installed (package {', '.join(missing)})"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"],
                           capture_output=True, text=True)
    if flags.returncode:
        return program, "not installed (package libfuse3-dev)"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", source, "-o", program,
                    *flags.stdout.split()], check=True)
    return program, None


def left_out_servers(field, why_no_null_server):
    left_out = {name: "as asked (--without)" for name in field.unwanted}
    for server in field.everyone():
        if packages := sorted(set(server.missing().values())):
            left_out.setdefault(server.name, f"not installed (package {', '.join(packages)})")
    if why_no_null_server:
        left_out.setdefault("null server", why_no_null_server)
    field.unwanted = list(left_out)
    return left_out


def print_setting(machine, versions, left_out):
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['memoryMiB']:,} MiB, "
          f"Linux {machine['kernel']}, load at the start {machine['loadAtStart']}")
    for server, version in versions.items():
        print(f"{server}: {version}")
    for server, reason in left_out.items():
        print(f"LEFT OUT  {server}: {reason}")
    print(flush=True)


def clean_up(scratch):
    """Whether nothing of this run is left: no mount, no process, no folder."""
    for point in processes.mounts_under(scratch):
        processes.unmount(point)
    ended = processes.end_all()
    for point in processes.mounts_under(scratch):
        processes.unmount(point)
    if mounts := processes.mounts_under(scratch):
        print(f"bench: still mounted: {', '.join(mounts)}", file=sys.stderr)
        return False
    shutil.rmtree(scratch)
    if not ended:
        print(f"bench: still running: {processes.pids_marked()}", file=sys.stderr)
    return ended


if __name__ == "__main__":
    sys.exit(main())
