"""A handful of kills on every run of the tests; `kills.py` tries as many as wanted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork, and no SIGKILL")
@pytest.mark.parametrize(("command", "kills"), [("run", 6), ("verify", 3)])
def test_a_command_that_is_killed_anywhere_goes_on_to_the_same_result(command: str, kills: int):
    """C54."""
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("kills.py"), command, "--kills", str(kills)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"},
    )
    assert result.stdout, result.stderr
    document = json.loads(result.stdout)
    assert document["problems"] == []
    assert document["kills"] >= kills
