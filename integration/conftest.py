"""What every test stands on: a copy of Platter, a fresh folder, and the check that nothing is left
mounted or running afterwards."""

import itertools
import os
import re
import shutil
import sys

sys.dont_write_bytecode = True

import pytest

from support import shell
from support.images import file_system_disk
from support.session import ROOT, SOAK, Session, open_up_fuse

numbers = itertools.count(1)


def pytest_configure(config):
    try:
        shell.session = Session()
    except FileNotFoundError as error:
        pytest.exit(str(error), 2)
    config.platter_notes = [
        open_up_fuse(),
        f"platter: {os.environ.get('PLATTER', '.build/release/platter')}, "
        f"copied to {shell.session.platter}",
        f"PLATTER_SOAK: {'set, full counts' if SOAK else 'not set, the usual counts'}",
    ]


def pytest_report_header(config):
    return config.platter_notes


def pytest_terminal_summary(terminalreporter, config):
    """Said again at the end: -q leaves the header out."""
    terminalreporter.write_line(config.platter_notes[0])


def pytest_unconfigure(config):
    if shell.session is not None:
        shell.session.remove()


@pytest.fixture(scope="session", autouse=True)
def clean_machine():
    yield
    assert shell.session.left_behind() == []


@pytest.fixture(autouse=True)
def home(request, monkeypatch):
    """A fresh folder to stand in. When the test ends, no mount and no process is left: what is, is
    the test's failure, and is cleared away for the next one."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:40].strip("-")
    folder = shell.session.folder / f"{next(numbers)}-{name}"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    left = shell.session.left_behind()
    shell.session.clear()
    shutil.rmtree(folder, ignore_errors=True)
    assert left == [], f"left behind: {left}"


@pytest.fixture(scope="session")
def nobody():
    """An ordinary user."""
    if not ROOT:
        pytest.skip("needs root, to become somebody else")
    return shell.session.add_user("nobody")


@pytest.fixture
def nobodys_home(home, nobody):
    """The test's folder, given to that user."""
    os.chown(home, nobody.uid, nobody.gid)
    return home


@pytest.fixture(scope="session")
def library():
    """Where images that several tests look at are kept."""
    folder = shell.session.folder / "library"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def disk(library):
    """A raw GPT disk with file systems; see `file_system_disk`."""
    return file_system_disk(library / "disk.img")


@pytest.fixture(scope="session")
def vhd(library, disk):
    """The same disk as a dynamic VHD."""
    shell.run(f"qemu-img convert -O vpc -o subformat=dynamic,force_size=on {disk} "
              f"{library}/disk.vhd")
    return library / "disk.vhd"


@pytest.fixture(params=["raw", "vhd"])
def image(request):
    """The disk in both forms: a view must not depend on what is behind it."""
    return request.getfixturevalue({"raw": "disk", "vhd": "vhd"}[request.param])
