"""One finished run, in a copy for each test that extends it."""

from pathlib import Path

import pytest
from cases.gallery import write
from cases.ran import run
from extending import PHOTOS, Done, move


@pytest.fixture(scope="session")
def _one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    ran = run(write(root / "photos", *PHOTOS), root / "out")
    assert ran.result.exit_code == 0, ran.result.stderr
    return root


@pytest.fixture
def done(_one_run: Path, tmp_path: Path) -> Done:
    return move(_one_run, tmp_path)
