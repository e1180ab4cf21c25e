"""Programs that use one image at a time: as QEMU locks it."""

from support.qemu_io import Holder
from support.shell import attempt, mounted, needs, refused
from support.work import small_disk, status


@needs("qemu-io")
def test_programs_that_share_an_image(home):
    """As two QEMUs do: any number of readers, or one writer; --force-share looks all the same."""
    image = small_disk()
    reader, writer, looker = "-r -f raw", "-f raw", "-r -U -f raw"
    # qemu-io lets others write to a raw image that it only reads.
    for held, option, is_shared in (
            (reader, "", True), (reader, "--scratch", True), (reader, "--write", True),
            (writer, "", False), (writer, "--write", False), (writer, "--scratch", False),
            (writer, "--force-share", True), (looker, "--write", True), (looker, "", True)):
        with Holder(f"{held} {image}"):
            if is_shared:
                with mounted(image, option):
                    pass
            else:
                refused(f"platter mount {option} {image}", image, "another program")
    for option, used, is_shared in (
            ("", reader, True), ("", writer, False), ("--scratch", writer, False),
            ("--write", writer, False), ("--write", looker, True), ("--force-share", writer, True),
            ("", looker, True)):
        with mounted(image, option):
            found = attempt(f"qemu-io {used} -c 'read 0 512' {image}")
            assert (found.status == 0) == is_shared, f"{option}, {used}: {found}"
            assert is_shared or "lock" in found.err


def test_mounts_that_share_an_image(home):
    image = small_disk()
    with mounted(image), mounted(image, at="two"), mounted(image, "--scratch", at="three"), mounted(
            image, "--overlay w.qcow2", at="four"):
        refused(f"platter mount --write {image}", "another program")
        refused(f"platter mount --overlay w.qcow2 {image}", "w.qcow2", "another program")
    with mounted(image, "--write"):
        for option in ("", "--write", "--scratch"):
            refused(f"platter mount {option} {image}", "another program")
        with mounted(image, "--force-share", at="two") as two:
            assert status(two)["readOnly"]
