"""Some hundred damaged pictures in every run of the tests; `mutations.py` tries any number."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork to limit and to give up")
def test_every_damaged_picture_gets_an_answer():
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("mutations.py"), "--count", "300"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
    )
    assert result.stdout, result.stderr
    document = json.loads(result.stdout)
    assert document["defects"] == []
    assert document["mutations"] == 300
    assert document["answers"]["read"] > 50
    assert document["answers"]["refused"] > 50
