"""The benchmark of strength from its command line, on drawn pictures and with least effort."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from quickstart import draw_photos
from strength import app
from typer.testing import CliRunner, Result

SCRIPT = Path(__file__).parents[2] / "examples" / "benchmarks" / "strength.py"
TINY = ("--quick", "--size", "32", "--device", "cpu", "--victim", "lite0")
METHODS = ("--method", "lsp", "--method", "bait")
ATTACKS = ("--attack", "none", "--attack", "grey")


def strength(*words: str) -> Result:
    """Run the benchmark in this process."""
    return CliRunner().invoke(app, words)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with pictures to train and to test on."""
    draw_photos(tmp_path / "photos", 4, seed=0)
    draw_photos(tmp_path / "test", 6, seed=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_of_methods_victims_and_attacks(own):
    words = ("--train", "photos", "--test", "test", *TINY, *METHODS, *ATTACKS, "--seeds", "2")
    typed = [sys.executable, str(SCRIPT), *words]
    first = subprocess.run(typed, cwd=own, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    document = json.loads((own / "strength" / "photos.json").read_text())
    assert document["schema_version"] == 1
    assert document["finished"]
    assert document["eps"] == "8/255"
    assert document["pictures"] == {
        "name": "photos",
        "tuning": False,
        "n_train": 24,
        "n_test": 36,
        "classes": 6,
        "chance": pytest.approx(1 / 6),
    }
    assert [method["name"] for method in document["methods"]] == ["lsp", "bait"]
    for method in document["methods"]:
        assert 0 < method["quality"]["linf_levels"] <= 8
        assert method["quality"]["n"] == 24
    rows = document["rows"]
    assert {(row["method"], row["victim"], row["attack"]) for row in rows} == {
        (method, "lite0", attack) for method in ("lsp", "bait") for attack in ("none", "grey")
    }
    for row in rows:
        cell = row["cell"]
        assert cell["attack"] == row["attack"]
        assert cell["backbone"] == "timm:tf_efficientnet_lite0"
        assert cell["seeds"] == ([0, 1] if row["attack"] == "none" else [0])
        assert 0 <= cell["final"] <= cell["peak"] <= 1
        assert cell["control_peak"] > 0
    # The control of each attack is one, whatever the method, and was trained once.
    for attack in ("none", "grey"):
        controls = [row["cell"]["curves"] for row in rows if row["attack"] == attack]
        assert len({json.dumps([seed["control"] for seed in curves]) for curves in controls}) == 1
    trainings = sorted((own / "strength" / "trainings").iterdir())
    assert len(trainings) == 3 + 2 * 3

    markdown = (own / "strength" / "photos.md").read_text()
    for text in (first.stdout, markdown):
        assert "LSP" in text
        assert "originals (control)" in text
        assert "none (mean of 2)" in text
        assert "36 clean test pictures" in " ".join(text.split())
    peak = next(row["cell"]["peak"] for row in rows if row["method"] == "bait")
    line = next(line for line in markdown.splitlines() if line.startswith("| BAIT, as shipped"))
    assert f"| {peak * 100:.1f} / " in line

    # All of it is found again, and a wider table only runs what is new.
    again = strength(*words)
    assert again.exit_code == 0
    assert json.loads((own / "strength" / "photos.json").read_text()) == document
    assert "Optimising" not in again.stderr
    assert sorted((own / "strength" / "trainings").iterdir()) == trainings
    wider = strength(*words, "--attack", "low-lr", "--method", "none")
    assert wider.exit_code == 0, wider.stderr
    assert "Optimising" not in wider.stderr
    document = json.loads((own / "strength" / "photos.json").read_text())
    assert len(document["rows"]) == 3 * 3
    assert document["methods"][-1]["quality"]["linf_levels"] == 0
    cells = {(row["method"], row["attack"]): row["cell"] for row in document["rows"]}
    assert cells["none", "low-lr"]["mode"] == "low-lr"
    assert cells["none", "none"]["peak"] == cells["none", "none"]["control_peak"]


def test_a_broken_promise_is_a_defect_and_no_row(own):
    """Whatever a method does, `protect verify` measures the files."""
    words = ("--train", "photos", "--test", "test", *TINY, "--method", "random-class")
    words += ("--attack", "none")
    assert strength(*words).exit_code == 0
    (folder,) = (path for path in (own / "strength" / "folders").iterdir() if path.is_dir())
    (folder / "circle" / "000.png").write_bytes((own / "photos" / "star" / "000.png").read_bytes())
    result = strength(*words)
    assert result.exit_code == 70
    assert "levels, not 8" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "tapp"), "choose from tap"),
        (("--attack", "jpeg11"), "did you mean jpeg10"),
        (("--yardstick", "fashions"), "choose from fashion"),
        (("--victim", "resnet18@scratchy"), "there is no training mode"),
        (("--victim", "resnet_18"), "resnet18"),
        (("--train", "photos"), "both"),
        (("--train", "photos", "--test", "test", "--tune"), "other test pictures"),
        (("--eps", "8"), "8/255"),
        (("--victim", "lite0-probe", "--attack", "cutmix"), "none of these victims"),
        (("--train", "nowhere", "--test", "test"), "nowhere"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_made(own, words, said):
    result = strength(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (own / "strength").exists()
