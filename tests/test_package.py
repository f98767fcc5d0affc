"""What is shipped: a wheel and an sdist with everything the tool needs, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import protect

ROOT = Path(__file__).parents[1]
NAME = f"bait_protect-{protect.__version__}"


def build(source: Path, to: Path, kind: str) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", to],
        cwd=source,
        check=True,
        capture_output=True,
    )
    return to / {"sdist": f"{NAME}.tar.gz", "wheel": f"{NAME}-py3-none-any.whl"}[kind]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(ROOT, folder, "sdist")) as archive:
        archive.extractall(folder, filter="data")
    return folder / NAME


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_sdist_has_code_tests_and_examples(sdist):
    for part in ("protect", "tests", "examples"):
        assert files(sdist / part) == files(ROOT / part)
    assert {"README.md", "CHANGELOG.md", "LICENSE"} <= files(sdist)


def test_a_wheel_made_from_the_sdist_has_all_that_the_tool_needs(sdist, tmp_path):
    with zipfile.ZipFile(build(sdist, tmp_path, "wheel")) as wheel:
        names = set(wheel.namelist())
        metadata = wheel.read(f"{NAME}.dist-info/METADATA").decode()
        commands = wheel.read(f"{NAME}.dist-info/entry_points.txt").decode()
    ours = {name.removeprefix("protect/") for name in names if name.startswith("protect/")}
    assert ours == files(ROOT / "protect")
    assert {"report/page.html.j2", "report/page.css", "schemas/manifest.schema.json"} <= ours
    assert all(name.startswith(("protect/", f"{NAME}.dist-info/")) for name in names)
    assert f"Version: {protect.__version__}\n" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert "protect = protect.__main__:main" in commands


def test_the_types_are_shipped():
    assert (ROOT / "protect" / "py.typed").is_file()


def test_the_help_of_python_shows_the_public_names():
    text = subprocess.run(
        [sys.executable, "-m", "pydoc", "protect"], capture_output=True, text=True, check=True
    ).stdout
    for name in set(protect.__all__) - {"__version__"}:
        assert name in text.split("DATA")[0]
    assert "Write a protected copy of an image folder" in text
    assert "Settings of `protect run`" in text
