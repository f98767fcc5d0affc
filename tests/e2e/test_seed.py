"""The seed of a run, of which nothing is published: with it the noise can be computed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import TINY, cli, files_of, seed_of, write_colours
from kill_events import run_until
from PIL import Image
from safetensors.torch import load_file

from protect import RunConfig
from protect.bait.record import pattern_digests
from protect.noise import Noise
from protect.system.device import generator

UNSEEDED = TINY[: TINY.index("--seed")]
GUESSABLE = 2**40
"""A drawn seed is below it once in eight million."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_colours(tmp_path / "photos", per_class=3)


def test_without_one_it_is_drawn_and_kept_and_nothing_published_tells_it(tmp_path, photos):
    one, two = tmp_path / "one", tmp_path / "two"
    for output in (one, two):
        result = cli("run", photos, "-o", output, *UNSEEDED, "--json")
        assert result.exit_code == 0, result.stderr
        seed = seed_of(output)
        assert seed > GUESSABLE
        manifest = (output / "manifest.json").read_text()
        assert "seed" not in json.loads(manifest)["config"]
        for text in (result.output, manifest):
            assert str(seed) not in text
            assert f"{seed:x}" not in text
    assert seed_of(one) != seed_of(two)
    for name, content in files_of(one).items():
        if name.endswith(".png"):
            assert content != files_of(two)[name], name


def test_one_that_was_typed_is_not_published_either_and_with_it_the_run_can_be_repeated(
    tmp_path, photos
):
    first, again = tmp_path / "first", tmp_path / "again"
    assert cli("run", photos, "-o", first, *UNSEEDED).exit_code == 0
    result = cli("run", photos, "-o", again, *UNSEEDED, "--seed", seed_of(first))
    assert result.exit_code == 0, result.stderr
    assert files_of(again) == files_of(first)
    assert seed_of(again) == seed_of(first)
    assert str(seed_of(first)) not in result.output


def test_it_is_what_the_noise_of_a_picture_is_computed_from(tmp_path, photos):
    out = tmp_path / "out"
    assert cli("run", photos, "-o", out, *UNSEEDED).exit_code == 0
    noise = Noise.unpack(load_file(tmp_path / "out.state" / "patterns.safetensors"))
    for name in ("blue/1.png", "red/2.png"):
        before, after = (np.asarray(Image.open(root / name)).astype(int) for root in (photos, out))
        draws = generator(seed_of(out), "window", name)
        own = noise.pattern(int(name.startswith("red")), draws).round().int().permute(1, 2, 0)
        inside = (before > 8) & (before < 247)
        assert inside.any()
        assert ((after - before) == own.numpy())[inside].all()


@pytest.mark.parametrize(("stage", "steps"), [("Optimising", 1), ("Writing", 3)])
def test_a_resumed_run_goes_on_with_the_one_that_was_drawn(
    tmp_path, photos, monkeypatch, stage, steps
):
    monkeypatch.setattr("protect.generation.CHECKPOINT_SECONDS", 0)
    out, whole = tmp_path / "out", tmp_path / "whole"
    settings: dict[str, Any] = {"rounds": 3, "batch_size": 4, "size": 32, "preset": "quick"}
    run_until(RunConfig(source=photos, output=out, device="cpu", **settings), stage, steps)
    drawn = seed_of(out)
    words = (*UNSEEDED, "--rounds", "3")
    foretold = cli("run", photos, "-o", out, *words, "--resume", "--dry-run")
    assert foretold.exit_code == 0, foretold.stderr
    resumed = cli("run", photos, "-o", out, *words, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert "resuming" in resumed.stderr
    assert seed_of(out) == drawn
    assert cli("run", photos, "-o", whole, *words, "--seed", drawn).exit_code == 0
    assert files_of(out) == files_of(whole)


def test_resume_begins_a_run_where_there_is_none(tmp_path, photos):
    result = cli("run", photos, "-o", tmp_path / "out", *UNSEEDED, "--resume")
    assert result.exit_code == 0, result.stderr
    assert seed_of(tmp_path / "out") > GUESSABLE


@pytest.mark.parametrize("wish", ["--resume", "--extend"])
def test_another_one_is_refused_and_neither_is_spelled(tmp_path, photos, wish):
    """What a job of CI says is often public."""
    out = tmp_path / "out"
    assert cli("run", photos, "-o", out, *UNSEEDED).exit_code == 0
    other = seed_of(out) ^ 1
    before = files_of(tmp_path)
    result = cli("run", photos, "-o", out, *UNSEEDED, "--seed", other, wish)
    assert result.exit_code == 2
    assert "  seed: is not that of the run\n" in result.stderr
    assert str(seed_of(out)) not in result.output
    assert str(other) not in result.output
    assert files_of(tmp_path) == before


def test_an_extension_goes_on_with_it(tmp_path, photos):
    out = tmp_path / "out"
    assert cli("run", photos, "-o", out, *UNSEEDED).exit_code == 0
    before = files_of(out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "red" / "1.png").unlink()
    (photos / "red" / "later.png").write_bytes((photos / "red" / "0.png").read_bytes())
    extended = cli("run", photos, "-o", out, "--extend")
    assert extended.exit_code == 0, extended.stderr
    after = files_of(out)
    assert {name: after[name] for name in before} == before
    now = json.loads((out / "manifest.json").read_text())
    assert len(now["images"]) == 7
    assert (now["config"], now["patterns"]) == (manifest["config"], manifest["patterns"])
    assert cli("check", out).exit_code == 0


def test_a_run_whose_manifest_has_it_can_be_extended(tmp_path, photos):
    """As this program wrote them before: with the seed, and digests that need none."""
    out = tmp_path / "out"
    assert cli("run", photos, "-o", out, *UNSEEDED).exit_code == 0
    file = out / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["config"]["seed"] = seed_of(out)
    noise = load_file(tmp_path / "out.state" / "patterns.safetensors")["noise"]
    for pattern, digest in zip(noise, manifest["patterns"].values(), strict=True):
        digest["sha256"] = hashlib.sha256(pattern.numpy().tobytes()).hexdigest()
    file.write_text(json.dumps(manifest))
    before = (out / "red" / "1.png").read_bytes()
    (out / "red" / "1.png").unlink()
    extended = cli("run", photos, "-o", out, "--extend")
    assert extended.exit_code == 0, extended.stderr
    assert (out / "red" / "1.png").read_bytes() == before


def test_digests_of_the_noise_need_it():
    noise = torch.linspace(-8, 8, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    digests = [pattern_digests(noise, ["a", "b"], seed) for seed in (1, 1, 2, None)]
    assert digests[0] == digests[1]
    values = [digest.sha256 for table in digests[1:] for digest in table.values()]
    assert len(set(values)) == 6
    assert {len(value) for value in values} == {64}
    plain = hashlib.sha256(noise[0].numpy().tobytes()).hexdigest()
    assert [table["a"].sha256 == plain for table in digests] == [False, False, False, True]


@pytest.mark.parametrize(
    ("words", "is_warned_of"),
    [
        (["--seed", "0"], True),
        (["--seed", str(2**32 - 1), "--dry-run"], True),
        (["--seed", str(2**32), "--dry-run"], False),
        (["--dry-run"], False),
    ],
)
def test_one_that_can_be_guessed_is_warned_of(tmp_path, photos, words, is_warned_of):
    result = cli("run", photos, "-o", tmp_path / "out", *UNSEEDED, *words)
    assert result.exit_code == 0, result.stderr
    warned = "whoever guesses so small a seed can compute the noise" in result.stderr
    assert warned is is_warned_of


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_one_that_is_out_of_range_is_refused(photos, seed):
    result = cli("run", photos, "--seed", seed)
    assert result.exit_code == 2
    assert "seed" in result.stderr
