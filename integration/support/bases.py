"""One disk in every form that an overlay can have below it, in the current folder."""

from pathlib import Path

from .files import MIB, noise
from .shell import run
from .vhdx import VHDX
from .work import P1, small_disk

SIZE = 3 * MIB


def source():
    """The disk's bytes: partitions as `small_disk` has them, data that begins and ends inside blocks,
    subclusters and sectors, and holes. Made as the file source.raw, too."""
    small_disk("source.raw")
    content = bytearray(Path("source.raw").read_bytes().ljust(SIZE, b"\0"))
    for seed, (place, length) in enumerate((
            (P1[0] + 1000, 150_001), (P1[0] + 400_000, 4096), (2 * MIB - 70_000, 200_000),
            (SIZE - 5000, 5000))):
        content[place:place + length] = noise(seed, length)
    Path("source.raw").write_bytes(content)
    return bytes(content)


def raw():
    source()
    return "source.raw"


def odd_size():
    Path("odd.img").write_bytes(source()[:-435])
    return "odd.img"


def split_raw():
    content = source()
    for number, start in enumerate(range(0, SIZE, 1_234_567)):
        Path(f"split.00{number + 1}").write_bytes(content[start:start + 1_234_567])
    return "split.001"


def converted(kind, options="", *, name=None):
    def make():
        source()
        image = name or f"base.{kind}"
        run(f"qemu-img convert -f raw -O {kind} {options} source.raw {image}")
        return image
    return make


def qcow2_chain():
    """Three qcow2 files over a VHD."""
    below = converted("vpc", "-o force_size=on")()
    kind = "vpc"
    for number in range(3):
        name = f"chain-{number}.qcow2"
        run(f"qemu-img create -q -f qcow2 -b {below} -F {kind} {name} && qemu-io -f qcow2 -c "
            f"'write -P {number + 1} {300 + 400 * number}k 333k' -c 'write -z 1M 40k' {name}")
        below, kind = name, "qcow2"
    return below


def vmdk_chain():
    below = converted("vmdk")()
    run(f"qemu-img create -q -f vmdk -b {below} -F vmdk child.vmdk && "
        "qemu-io -f vmdk -c 'write -P 7 300k 333k' child.vmdk")
    return "child.vmdk"


def vhdx_difference():
    """Over another VHDX: one block is the child's, and of one some sectors."""
    content = source()
    parent = VHDX(SIZE, blocks={n: content[n * MIB:(n + 1) * MIB] for n in range(SIZE // MIB)})
    parent.write("parent.vhdx")
    VHDX(SIZE, blocks={1: noise(8, MIB), 2: noise(9, MIB)}, owned={2: {0, 5, 6, 7, 8, 1000, 2047}},
         parent=("parent.vhdx", parent.data_write_guid)).write("child.vhdx")
    return "child.vhdx"


# What `mount --write` takes: a byte of the disk is a byte of the file.
FLAT = {
    "raw": raw,
    "a size of no whole sectors": odd_size,
    "split raw": split_raw,
    "fixed VHD": converted("vpc", "-o subformat=fixed,force_size=on", name="fixed.vhd"),
    "flat VMDK": converted("vmdk", "-o subformat=monolithicFlat", name="flat.vmdk"),
}
BASES = FLAT | {
    "dynamic VHD": converted("vpc", "-o force_size=on", name="dynamic.vhd"),
    "VHDX": converted("vhdx"),
    "VMDK": converted("vmdk"),
    "compressed VMDK": converted("vmdk", "-o subformat=streamOptimized", name="stream.vmdk"),
    "VDI": converted("vdi"),
    "qcow2": converted("qcow2", "-c"),
    "qcow2 on qcow2 on VHD": qcow2_chain,
    "VMDK on VMDK": vmdk_chain,
    "differencing VHDX": vhdx_difference,
}
