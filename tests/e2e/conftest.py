"""One small protected folder to look at."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import FAST, cli, write_colours


@pytest.fixture(scope="session")
def _one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    write_colours(root / "photos", per_class=12)
    result = cli("run", root / "photos", "-o", root / "protected", *FAST)
    assert result.exit_code == 0, result.output
    return root


@pytest.fixture
def done(_one_run: Path, tmp_path: Path) -> SimpleNamespace:
    """A finished run of 24 pictures, in a copy that the test may spoil."""
    for name in ("photos", "protected", "protected.state"):
        shutil.copytree(_one_run / name, tmp_path / name)
    settings = tmp_path / "protected.state" / "run.json"
    recorded = json.loads(settings.read_text())
    settings.write_text(json.dumps(recorded | {"source": str(tmp_path / "photos")}))
    return SimpleNamespace(
        root=tmp_path,
        photos=tmp_path / "photos",
        protected=tmp_path / "protected",
        state=tmp_path / "protected.state",
        manifest=json.loads((tmp_path / "protected" / "manifest.json").read_text()),
    )
