"""Who may use an image together: Platter in the place of either of two QEMUs, and of both, ends as the
two QEMUs do."""

import pytest

from support.qemu_io import Holder, Machine, can_open
from support.shell import attempt, mounted, needs, run
from support.work import small_disk

# How qemu-io opens what a mount with these options opens, and how a machine's drive does.
AS_QEMU_IO = {"": "-r", "--scratch": "-s", "--overlay w.qcow2": "-s", "--force-share": "-r -U",
              "--write": ""}
AS_MACHINE = {"": ",readonly=on", "--scratch": ",snapshot=on", "--overlay w.qcow2": ",snapshot=on",
              "--force-share": ",readonly=on,force-share=on", "--write": ""}
WAYS = ["", "-r", "-s", "-r -U"]
FORMATS = {
    "raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhdx": "vhdx", "vdi": "vdi",
    "vpc": "vpc -o force_size=on", "fixed vpc": "vpc -o force_size=on,subformat=fixed",
}
FLAT = {"raw", "fixed vpc"}


def can_mount(option, image):
    """Whether Platter is allowed now, and says why not."""
    point = f"asked-{option.split()[0]}" if option else "asked"
    result = attempt(f"mkdir -p ./{point}; platter mount {option} {image} ./{point} && "
                     f"platter unmount ./{point}")
    assert result.status == 0 or "another program" in result.err, str(result)
    return result.status == 0


def by_machine(option, image, kind):
    with Machine(AS_MACHINE[option], image, kind) as machine:
        return machine.is_there


@needs("qemu-io", "qemu-img", "qemu-system-x86_64")
@pytest.mark.parametrize("name", FORMATS)
def test_either_side_either_first(home, name):
    kind, _, options = FORMATS[name].partition(" ")
    small_disk("small.raw")
    image = f"image.{kind}"
    run(f"qemu-img convert -f raw -O {kind} {options} small.raw {image}")
    mounts = [option for option in AS_QEMU_IO if option != "--write" or name in FLAT]
    expected, found = {}, {}
    for held in WAYS:
        with Holder(f"{held} -f {kind} {image}"):
            by_qemu = dict(zip(WAYS, can_open(WAYS, image, kind)))
            for option in mounts:
                pair = f"qemu-io {held}, then platter {option}"
                expected[pair] = (by_machine(option, image, kind) if kind == "raw"
                                  else by_qemu[AS_QEMU_IO[option]])
                found[pair] = can_mount(option, image)
    for option in mounts:
        with (Machine(AS_MACHINE[option], image, kind) if kind == "raw"
              else Holder(f"{AS_QEMU_IO[option]} -f {kind} {image}")):
            by_qemu = can_open(WAYS, image, kind)
        with mounted(image, option):
            by_platter = can_open(WAYS, image, kind)
        for way, *allowed in zip(WAYS, by_qemu, by_platter):
            expected[f"platter {option}, then qemu-io {way}"], \
                found[f"platter {option}, then qemu-io {way}"] = allowed
    assert len(set(expected.values())) == 2
    assert found == expected


@needs("qemu-io", "qemu-img")
def test_the_overlay_itself(home):
    """Who mounts it is its writer; who reads it as an image, its reader; its base is read by both."""
    small_disk("base.img")
    overlay, base = "w.qcow2", "base.img"
    with mounted(base, f"--overlay {overlay}"):
        pass
    ways = {f"--overlay {overlay} {base}": "", f"{overlay}": "-r", f"--scratch {overlay}": "-s",
            f"--force-share {overlay}": "-r -U"}
    expected, found = {}, {}
    for held in WAYS:
        with Holder(f"{held} -f qcow2 {overlay}"):
            by_qemu = dict(zip(WAYS, can_open(WAYS, overlay, "qcow2")))
            for mount, way in ways.items():
                expected[f"qemu-io {held}, then {mount}"] = by_qemu[way]
                found[f"qemu-io {held}, then {mount}"] = can_mount("", mount)
    for mount, way in ways.items():
        with Holder(f"{way} -f qcow2 {overlay}"):
            by_qemu = can_open(WAYS, overlay, "qcow2")
        run(f"mkdir -p mnt && platter mount {mount} mnt")
        by_platter = can_open(WAYS, overlay, "qcow2")
        run("platter unmount mnt")
        for asked, *allowed in zip(WAYS, by_qemu, by_platter):
            expected[f"{mount}, then qemu-io {asked}"], \
                found[f"{mount}, then qemu-io {asked}"] = allowed
    assert len(set(expected.values())) == 2
    assert found == expected
