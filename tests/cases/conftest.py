"""Two folders that hold every kind of picture there is, each protected once."""

import pytest
from cases.gallery import fill_bad, fill_good
from cases.ran import Ran, run


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Everything that can be protected, protected."""
    root = tmp_path_factory.mktemp("good")
    fill_good(root / "photos", root / "elsewhere")
    ran = run(root / "photos", root / "out")
    assert "manifest.json" in {path.name for path in ran.out.iterdir()}, ran.result.output
    return ran


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Everything that cannot be, among a few pictures that can."""
    root = tmp_path_factory.mktemp("bad")
    fill_bad(root / "photos")
    ran = run(root / "photos", root / "out", "--on-error", "skip")
    assert ran.result.exit_code == 1, ran.result.output
    return ran
