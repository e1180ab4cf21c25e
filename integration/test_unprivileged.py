"""The same mount as root, as an ordinary user, and as that user in a user namespace."""

import os

import pytest

from support.shell import attempt, mounted, needs, refused, run, session

pytestmark = needs("setpriv", "unshare")

# What somebody does with a mount, in one script: inside a namespace the mount is seen only there.
SESSION = """set -e
mkdir mnt
platter mount {image} mnt
test "$(ls mnt | tr '\\n' ' ')" = \
  "by-label by-partlabel by-partuuid by-uuid disk files p1 p2 p7 status.json "
test "$(stat -c %U:%a mnt/disk)" = "$(id -un):400"
cmp mnt/disk {disk}
cmp mnt/p2 <(tail -c +33554433 {disk} | head -c 33554432)
cmp mnt/by-label/HELLOFAT mnt/p1
mcopy -i mnt/p1 ::/HELLO.TXT - | grep -q 'Hello from the FAT'
grep -q fuse.platter /proc/self/mountinfo
platter list | grep -q $PWD/mnt
platter unmount mnt
! grep fuse.platter /proc/self/mountinfo
rmdir mnt
place=$(platter mount {image})
cmp $place/disk {disk}
platter unmount $place
test ! -e $place
touch file
platter mount --partition 2 {image} file
cmp file <(tail -c +33554433 {disk} | head -c 33554432)
platter unmount file
"""


def script(image, disk):
    # The namespace inherits this machine's mounts; only ours count.
    return SESSION.format(image=image, disk=disk).replace(
        "! grep fuse.platter /proc/self/mountinfo",
        "! grep fuse.platter /proc/self/mountinfo | grep $PWD")


def nothing_left():
    assert session.left_behind() == []


def test_as_whoever_runs_this(image, disk):
    run(script(image, disk))
    nothing_left()


def test_as_an_ordinary_user(image, disk, nobodys_home, nobody):
    assert run("id -u", user=nobody).out.strip() == str(nobody.uid)
    run(script(image, disk), user=nobody)
    nothing_left()


def test_in_a_user_namespace(image, disk, nobodys_home, nobody):
    if attempt("unshare -Urm true", user=nobody).status != 0:
        pytest.skip("this machine lets no ordinary user make a user namespace")
    with open("session.sh", "w") as file:
        file.write(script(image, disk))
    run("unshare -Urm bash -o pipefail session.sh", user=nobody)
    nothing_left()


def test_in_a_user_namespace_that_ends(disk, nobodys_home, nobody):
    """A container's end takes its mounts along; the processes go when they are told to."""
    if attempt("unshare -Urm true", user=nobody).status != 0:
        pytest.skip("this machine lets no ordinary user make a user namespace")
    run(f"mkdir mnt; unshare -Urm --kill-child --fork -p --mount-proc "
        f"bash -c 'platter mount {disk} mnt && test -e mnt/p1'", user=nobody)
    nothing_left()


def test_others_are_kept_out(disk, nobodys_home, nobody):
    """Without --allow-other not even root looks inside; that is the kernel's rule."""
    with mounted(disk, user=nobody) as mnt:
        assert run(f"cat {mnt}/status.json", user=nobody).out
        assert "Permission denied" in attempt(f"ls {mnt}/").err


def test_list_shows_only_ones_own(disk, nobodys_home, nobody):
    with mounted(disk, user=nobody) as mnt:
        assert str(mnt) in run("platter list", user=nobody).out
        assert run("platter list").out == ""


def test_nobody_unmounts_what_is_somebody_elses(disk, home, nobody):
    os.chmod(home, 0o777)
    with mounted(disk) as mnt:
        refused(f"platter unmount {mnt}", mnt, user=nobody)
        assert (mnt / "p1").exists()


def test_root_lists_into_allow_other(disk, home, nobody):
    """Root may let everybody look, and the modes then say so."""
    with mounted(disk, "--allow-other") as mnt:
        run(f"cmp {mnt}/disk {disk} && test $(stat -c %a {mnt}/disk) = 444", user=nobody)
