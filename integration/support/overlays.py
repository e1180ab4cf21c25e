"""Overlays, as their verbs show them."""

import json
from pathlib import Path

from .shell import quoted, run


def said(overlay="w.qcow2", options=""):
    return json.loads(run(f"platter overlay status --json {options} {overlay}").out)


def check(overlay="w.qcow2"):
    name = json.dumps({"driver": "qcow2", "backing": None,
                       "file": {"driver": "file", "filename": overlay}})
    run(f"qemu-img check {quoted('json:' + name)}")


def content(overlay="w.qcow2", options=""):
    return run(f"platter hash {options} {overlay}").out.split()[0]


def mark_of(overlay):
    """Where the word of state is: in the extension, which follows the backing format's."""
    return Path(overlay).read_bytes()[:512].index(b"Plat") + 8 + 8
