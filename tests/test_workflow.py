"""The workflow that tests every system and Python that is promised."""

import re
import shlex
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
LOCAL = (ROOT / ".ci" / "run").read_text()
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def commands(job: str) -> list[list[str]]:
    """Return the words of every command of a job."""
    steps = WORKFLOW["jobs"][job]["steps"]
    return [shlex.split(line) for step in steps for line in step.get("run", "").splitlines()]


def readme_block(name: str) -> list[str]:
    """Return the words of a command that .ci/run takes from the README."""
    assert f"$(readme {name})" in LOCAL
    block = re.search(rf"<!-- ci: {name} -->\n```\n(.+?)\n```", README, re.DOTALL)
    assert block
    return shlex.split(block[1])


def test_it_runs_on_every_system_and_python():
    matrix = WORKFLOW["jobs"]["tests"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"
    assert matrix.keys() == {"os", "python"}, "nothing is excluded"


def test_the_first_job_is_what_runs_here_on_the_same_python():
    (command,) = commands("readme")
    assert command[-1] == ".ci/run"
    _, python, _ = WORKFLOW["jobs"]["readme"]["steps"]
    assert set(re.findall(r"python(3\.\d+)", LOCAL)) == {python["with"]["python-version"]}


def test_the_matrix_installs_and_tests_as_is_done_here():
    """Elsewhere than on Linux there are no Debian packages, and no tests of them."""
    found = commands("tests")
    assert readme_block("development-install") in found
    pytest, *others = [words for words in found if words[0] == "pytest"]
    assert pytest == readme_block("tests")
    assert others == [[*pytest, "--ignore", "tests/e2e/test_real_data.py"]]
    installs = r"apt-get install (?:-\S+ )*(.+?)(?: >.*)?$"
    (here,) = re.findall(installs, LOCAL, re.MULTILINE)
    (there,) = [words for words in found if "install" in words and "apt-get" in words]
    assert [word for word in there if word.startswith(("dataset-", "tuxpaint-"))] == here.split()


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
