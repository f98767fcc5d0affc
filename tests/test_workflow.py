"""The workflow that tests every system and Python that is promised."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_it_runs_on_every_system_and_python():
    matrix = WORKFLOW["jobs"]["tests"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"


def test_it_runs_what_is_there():
    lines = [
        step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step
    ]
    named = {word for line in lines for word in line.split() if word.startswith((".ci/", "tests/"))}
    assert named
    for word in named:
        assert (ROOT / word).is_file()


def test_it_may_not_write_to_the_repository():
    assert WORKFLOW["permissions"] == {"contents": "read"}
