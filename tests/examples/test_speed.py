"""The benchmark of speed runs, and writes what it says."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
import torch
from helpers import write_colours

from protect.bait.engine import Engine
from protect.config.choices import Preset
from protect.config.settings import EFFORTS

SPEED = Path(__file__).parents[2] / "examples" / "benchmarks" / "speed.py"


def speed(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SPEED, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SPEED.parents[2]), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def photos(make_folder) -> Path:
    return (
        make_folder("photos", classes=("all",), per_class=2, size=(70, 66), suffix=".jpg") / "all"
    )


def test_every_cheap_part_is_measured_and_written_down(tmp_path, photos):
    out = tmp_path / "out"
    done = speed("--quick", "--photos", photos, "--device", "cpu", "--out", out)
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "speed.json").read_text())
    assert document["quick"]
    rows = document["comparisons"]
    assert list(dict.fromkeys(row["part"] for row in rows)) == [
        "step",
        "training",
        "io",
        "memory",
        "startup",
    ]
    for row in rows:
        for spread in (row["ours"], row["other"], row["ratio"]):
            assert 0 < spread["low"] <= spread["median"] <= spread["high"]
        if row["ratio"]["n"] == 1:
            expected = row["ours"]["median"] / row["other"]["median"]
            assert row["ratio"]["median"] == pytest.approx(expected)
    goals = {
        (row["part"], row["goal"]["of"], row["goal"]["at_most"]) for row in rows if row["goal"]
    }
    assert goals == {
        ("step", "ratio", 1.25),
        ("training", "ratio", 1.15),
        ("io", "ratio", 1.1),
        ("memory", "ratio", 1.1),
        ("startup", "ours", 0.3),
    }
    assert "| protect --help | s |" in (out / "speed.md").read_text()
    assert "the figures mean nothing" in " ".join(done.stdout.split())


def test_whole_runs_are_compared_on_pictures_in_class_folders(tmp_path):
    train = write_colours(tmp_path / "train", per_class=8)
    test = write_colours(tmp_path / "test", per_class=4, seed=1)
    words = ("--part", "authors", "--part", "quality", "--train", train, "--test", test)
    done = speed("--quick", *words, "--device", "cpu", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    authors, peak, final = json.loads((tmp_path / "out" / "speed.json").read_text())["comparisons"]
    # A single round of four pictures, against 8,730 steps.
    assert authors["ratio"]["median"] < 1
    for accuracy in (peak, final):
        assert 0 <= accuracy["ours"]["median"] <= 100
    assert peak["ours"]["median"] >= final["ours"]["median"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--photos", "nowhere"), "nowhere holds no *.jpg"),
        (("--part", "authors"), "--part authors needs a folder with --train"),
        (("--part", "quality", "--train", "."), "--part quality needs a folder with --test"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_measured(words, said):
    done = speed("--quick", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def passes_of_the_loop(engine: Engine) -> Counter[tuple[str, bool]]:
    """Do a round, and count how its network is passed: to where gradients go, in which mode."""
    seen: Counter[tuple[str, bool]] = Counter()

    def note(network, inputs, outputs):
        if inputs[0].requires_grad:
            kind = "to pixels"
        else:
            kind = "to parameters" if outputs[1].requires_grad else "forward"
        seen[kind, network.training] += 1

    engine.surrogate.register_forward_hook(note)
    engine.advance()
    return seen


@pytest.mark.parametrize("outer_steps", [1, 2, 3, 7, 12])
def test_the_passes_on_paper_are_those_that_the_loop_makes(monkeypatch, outer_steps):
    monkeypatch.syspath_prepend(SPEED.parent)
    step = import_module("costs.step")
    effort = EFFORTS[Preset.STANDARD].model_copy(
        update={"outer_steps": outer_steps, "batch_size": 4}
    )
    engine = step.make_engine(effort, size=32, device=torch.device("cpu"))
    passes = step.Passes.of_round(outer_steps)
    assert passes_of_the_loop(engine) == Counter(
        {
            ("to parameters", True): passes.to_parameters,
            ("to pixels", True): passes.to_pixels,
            ("to pixels", False): passes.to_pixels_frozen,
            ("forward", False): passes.forward,
        }
    )
