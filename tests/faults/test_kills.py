"""A handful of kills on every run of the tests; `kills.py` tries as many as wanted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork, and no SIGKILL")
def test_a_run_that_is_killed_anywhere_resumes_to_the_same_bytes():
    """C54."""
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("kills.py"), "--kills", "6", "--seed", "0"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout, result.stderr
    document = json.loads(result.stdout)
    assert document["problems"] == []
    assert document["kills"] >= 6
