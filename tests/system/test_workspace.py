"""Temporary folders of killed processes are removed, and no others."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from protect.system.workspace import LOCKS, remove_abandoned, workspace

pytestmark = pytest.mark.skipif(not LOCKS, reason="this system has no such locks")
PREFIX = "protect-test-"
HOLD = f"""
import sys
from protect.system.workspace import workspace
with workspace({PREFIX!r}) as folder:
    (folder / "large.npy").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def hold(place: Path) -> tuple[subprocess.Popen, Path]:
    """Start a process that holds a workspace until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(place)},
    )
    return process, Path(process.stdout.readline().strip())


def test_it_is_gone_afterwards(tmp_path):
    with workspace(PREFIX) as folder:
        assert folder.parent == tmp_path
        (folder / "a").write_text("x")
        assert remove_abandoned(PREFIX) == 0
    assert not list(tmp_path.iterdir())


def test_that_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(tmp_path):
    process, folder = hold(tmp_path)
    with process:
        with workspace(PREFIX):
            assert (folder / "large.npy").exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert folder.exists()
    with workspace(PREFIX) as mine:
        assert [path.name for path in tmp_path.iterdir()] == [mine.name]


def test_folders_that_are_not_ours_are_left_alone(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "in-use.lock").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{PREFIX}without-lock").mkdir()
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / "other-prefix").mkdir()
    (tmp_path / "other-prefix" / "in-use.lock").touch()
    before = sorted(tmp_path.rglob("*"))
    assert remove_abandoned(PREFIX) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_of_other_users_are_left_alone(tmp_path, monkeypatch):
    folder = tmp_path / f"{PREFIX}abandoned"
    folder.mkdir()
    (folder / "in-use.lock").touch()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert remove_abandoned(PREFIX) == 0
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert remove_abandoned(PREFIX) == 1
    assert not folder.exists()
