"""Streams that are full, closed or a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import cli, write_colours

BAD = 30
NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A folder with more bad files than a screen holds."""
    photos = write_colours(tmp_path / "photos", per_class=2)
    for number in range(BAD):
        (photos / "red" / f"empty-{number:02}.png").touch()
    return photos


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run `protect` with the words and redirections of a shell."""
    return subprocess.run(
        ["sh", "-c", f'"$0" -m protect {line}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )


@NEEDS_FULL
@pytest.mark.parametrize("words", ["--version", "--help", "run --help", ""])
def test_a_help_that_cannot_be_written_is_one_error(words: str):
    result = shell(f"{words} > /dev/full")
    assert result.returncode == 3
    assert result.stderr.splitlines() == [
        "error: the result cannot be written to standard output: No space left on device",
        "hint: free some space on that disk, or write elsewhere",
    ]


@NEEDS_FULL
@pytest.mark.parametrize("words", ["check nowhere", "run --nonsense"])
def test_messages_that_cannot_be_written_leave_the_status(words: str):
    assert shell(f"{words} 2> /dev/full").returncode == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no shell that closes streams")
@pytest.mark.parametrize("stream", ["1", "2"])
@pytest.mark.parametrize(("words", "status"), [("--version", 0), ("check nowhere", 2)])
def test_a_stream_that_was_closed_is_not_missed(words: str, status: int, stream: str):
    result = shell(f"{words} {stream}>&-")
    assert result.returncode == status
    assert "Traceback" not in result.stderr


def test_a_log_has_every_bad_file(bad: Path, tmp_path: Path):
    result = cli("run", bad, "-o", tmp_path / "out", "--size", "32")
    assert result.exit_code == 2
    listed = [line for line in result.stderr.splitlines() if line.startswith("  red/empty-")]
    assert len(listed) == BAD


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_has_some_and_says_where_the_rest_is(bad: Path, tmp_path: Path):
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "protect", "run", bad, "-o", tmp_path / "out", "--size", "32"]
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, check=False)
    os.close(theirs)
    screen = b""
    while True:
        try:
            screen += os.read(ours, 1 << 16)
        except OSError:  # all is read
            break
    os.close(ours)
    assert result.returncode == 2
    assert screen.count(b"is empty (0 bytes)") == 20
    assert b"and 10 more; add 2> FILE to have all in a file" in screen.replace(b"\r\n", b"")
