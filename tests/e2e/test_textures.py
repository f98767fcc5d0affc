"""`protect run --harden jpeg` as it is typed: a search among textures in place of the rounds."""

import io
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cases.gallery import put, write
from helpers import COLOURS, cli, small_network, write_colours
from kill_events import run_until
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from protect import RunConfig
from protect.bait.patterns import BEND
from protect.bait.textures import TILE
from protect.errors import ConfigError
from protect.noise import Noise
from protect.system.device import generator

UNASKED = ("--size", "32", "--batch-size", "16", "--device", "cpu", "--seed", "0")
WORDS = ("--harden", "jpeg", *UNASKED)


def compressed(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=10)
    return np.asarray(Image.open(file)).astype(int)


def kept(folder: Path, photos: Path, moved: int = 0) -> float:
    """Return what JPEG at quality 10 leaves of the noise, as a share of it, over all pictures.

    They are moved before by so many pixels down and across.
    """
    shares = []
    for path in sorted(photos.rglob("*.png")):
        original = np.asarray(Image.open(path).convert("RGB")).astype(int)
        published = Image.open(folder / path.relative_to(photos)).convert("RGB")
        noise = np.asarray(published).astype(int) - original
        original, noise = (np.roll(pixels, (moved, moved), (0, 1)) for pixels in (original, noise))
        left = compressed(original + noise) - compressed(original)
        shares.append((left * noise).sum() / (noise * noise).sum())
    return float(np.mean(shares))


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("hardened")
    photos = write_colours(folder / "photos", per_class=12)
    result = cli("run", photos, "-o", folder / "out", *WORDS)
    assert result.exit_code == 0, result.stderr
    return photos, folder / "out", result.stderr


def test_the_search_takes_the_place_of_the_rounds_and_is_recorded(hardened):
    photos, out, said = hardened
    assert "Choosing textures" in said
    assert "Optimising noise" not in said
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["config"]["harden"] == ["jpeg"]
    assert manifest["config"]["effort"]["rounds"] == 0
    assert len(manifest["bound"]) == 1
    mapping = manifest["target_mapping"]
    assert (mapping["policy"], mapping["stages"]) == ("search", ["search"])
    assert set(mapping["final"]) == set(manifest["classes"])
    for true, targets in mapping["counts"]["search"].items():
        # In three views by two networks each.
        assert sum(targets.values()) == 6 * len(list((photos / true).iterdir()))
        assert true not in targets
    assert manifest["timing"]["optimise"] > 1
    assert max(image["linf_levels"] for image in manifest["images"]) <= 8
    assert cli("check", out).exit_code == 0


def test_rounds_that_are_asked_for_are_done_after_the_search(hardened, tmp_path):
    photos, out, _ = hardened
    result = cli("run", photos, "-o", tmp_path / "out", *WORDS, "--rounds", "2")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.index("Choosing textures") < result.stderr.index("Optimising noise")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["config"]["effort"]["rounds"] == 2
    assert manifest["config"]["effort"]["outer_lr"] == 0.05
    assert len(manifest["bound"]) == 3
    searched = json.loads((out / "manifest.json").read_text())
    assert manifest["bound"][0] == searched["bound"][0]
    assert manifest["patterns"] != searched["patterns"]
    mapping = manifest["target_mapping"]
    assert (mapping["policy"], mapping["stages"]) == ("random", ["search", "random"])
    assert mapping["counts"]["search"] == searched["target_mapping"]["counts"]["search"]
    assert mapping["counts"]["random"] != mapping["counts"]["search"]


@pytest.mark.parametrize(
    "settings", [{"targets": "cyclic"}, {"targets": "curriculum"}, {"outer_steps": 3}]
)
def test_what_only_rounds_do_is_not_asked_of_a_search(settings):
    with pytest.raises(ConfigError, match="belong to rounds"):
        RunConfig(source="photos", harden=("jpeg",), **settings)
    for other in ({"rounds": 2}, {"binding": "head"}, {"harden": ("grey",)}, {"harden": "auto"}):
        RunConfig(source="photos", **{"harden": ("jpeg",)} | settings | other)


def test_a_time_budget_has_no_rounds_to_plan(hardened, tmp_path):
    photos, _, _ = hardened
    result = cli("run", photos, "-o", tmp_path / "out", *WORDS, "--time-budget", "5m")
    assert result.exit_code == 2
    assert "--harden jpeg searches" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_more_classes_than_there_is_time_for_are_refused_before_any_is_read(tmp_path, words):
    photos = tmp_path / "photos"
    for number in range(13):
        put(photos, f"class {number}/a.png", b"not a picture")
    result = cli("run", photos, "-o", tmp_path / "out", *WORDS, "--preset", "quick", *words)
    assert result.exit_code == 2
    assert "has time for 12 classes of 13" in result.stderr
    assert "--preset strong" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"photos"}


def test_a_dry_run_foretells_the_search(hardened, tmp_path):
    photos, out, _ = hardened
    told = cli("run", photos, "-o", tmp_path / "out", *WORDS, "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    duration = json.loads(told.stdout)["duration"]
    assert (duration["rounds"], duration["timed_rounds"], duration["not_timed"]) == (0, 0, "")
    took = json.loads((out / "manifest.json").read_text())["timing"]["optimise"]
    assert took / 10 < duration["optimise"] < 20 * took
    people = cli("run", photos, "-o", tmp_path / "out", *WORDS, "--dry-run")
    assert "choosing textures" in people.stdout
    assert "rounds" not in people.stdout


def test_a_batch_size_is_found_for_the_search_too(hardened, tmp_path):
    photos, _, _ = hardened
    words = [word if word != "16" else "auto" for word in WORDS]
    result = cli("run", photos, "-o", tmp_path / "out", *words)
    assert result.exit_code == 0, result.stderr
    assert "--batch-size auto: 128 pictures a step" in result.stderr
    assert "Optimising noise" not in result.stderr


def test_jpeg_leaves_most_of_the_noise_and_of_other_noise_little(hardened, tmp_path):
    photos, out, _ = hardened
    other = cli("run", photos, "-o", tmp_path / "other", *UNASKED, "--rounds", "2")
    assert other.exit_code == 0, other.stderr
    for moved in (0, 4):
        assert kept(out, photos, moved) > 0.55
        assert kept(tmp_path / "other", photos, moved) < 0.4


def test_a_resumed_run_searches_no_second_time(hardened):
    photos, out, _ = hardened
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    (out / "manifest.json").unlink()
    next(iter(before)).unlink()
    result = cli("run", photos, "-o", out, *WORDS, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "Choosing textures" not in result.stderr
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before


@pytest.mark.parametrize(
    ("stage", "steps", "checkpoint", "rounds"),
    [
        ("Choosing", 0, 0.0, None),
        ("Choosing", 200, 0.0, None),
        ("Writing", 0, 30.0, None),
        ("Writing", 5, 30.0, None),
        ("Optimising", 0, 30.0, 2),
        ("Optimising", 2, 0.0, 2),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    hardened,
    tmp_path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    steps: int,
    checkpoint: float,
    rounds: int | None,
):
    """Wherever the search was: begun anew, or known with its anchor as soon as it is done."""
    monkeypatch.setattr("protect.generation.CHECKPOINT_SECONDS", checkpoint)
    photos, out, _ = hardened
    config = RunConfig(
        source=photos,
        output=tmp_path / "out",
        harden="jpeg",
        size=32,
        rounds=rounds,
        batch_size=16,
        device="cpu",
        seed=0,
    )
    run_until(config, stage, steps)
    began = (tmp_path / "out.state" / "run.json").exists()
    words = (*WORDS, *(("--rounds", rounds) if rounds else ()))
    result = cli("run", photos, "-o", tmp_path / "out", *words, *(["--resume"] if began else []))
    assert result.exit_code == 0, result.stderr
    assert ("Choosing textures" in result.stderr) == (stage == "Choosing")
    if rounds:
        out = tmp_path / "whole"
        assert cli("run", photos, "-o", out, *words).exit_code == 0
    for path in out.rglob("*.png"):
        assert (tmp_path / "out" / path.relative_to(out)).read_bytes() == path.read_bytes()


def test_the_same_settings_give_the_same_bytes(hardened, tmp_path):
    photos, out, _ = hardened
    again = cli("run", photos, "-o", tmp_path / "again", *WORDS)
    assert again.exit_code == 0, again.stderr
    for path in out.rglob("*.png"):
        assert (tmp_path / "again" / path.relative_to(out)).read_bytes() == path.read_bytes()


def change(photos: Path, out: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what was changed of a picture, and where nothing of it was clamped away."""
    before, after = (np.asarray(Image.open(folder / name)).astype(int) for folder in (photos, out))
    return (after - before).transpose(2, 0, 1), ((before > 8) & (before < 247)).transpose(2, 0, 1)


def test_every_picture_carries_its_own_view_of_its_texture_bent(hardened):
    photos, out, _ = hardened
    recorded = Noise.unpack(load_file(out.with_name("out.state") / "patterns.safetensors"))
    assert recorded.bend == BEND
    for k, label in enumerate(COLOURS):
        for name in (f"{label}/{i}.png" for i in range(6)):
            noise, inside = change(photos, out, name)
            own = recorded.pattern(k, generator(0, "window", name)).round().int().numpy()
            other = recorded.pattern(k, generator(0, "window", "another")).round().int().numpy()
            assert (noise == own)[inside].all()
            assert not (noise == other)[inside].all()


@pytest.mark.parametrize("old", [(), ("bend",), ("bend", "grid")])
def test_pictures_that_come_later_get_the_same_texture(hardened, tmp_path, old: tuple[str, ...]):
    """Of runs from before textures were bent, or grids recorded, as those have it: straight."""
    photos, out, _ = hardened
    state = out.with_name("out.state") / "patterns.safetensors"
    before = load_file(state)
    save_file({name: value for name, value in before.items() if name not in old}, state)
    new = photos / "blue" / f"later {len(old)}.png"
    new.write_bytes((photos / "blue" / "0.png").read_bytes())
    result = cli("run", photos, "-o", out, "--extend")
    assert result.exit_code == 0, result.stderr
    save_file(before, state)
    noise, inside = change(photos, out, f"blue/{new.name}")

    def is_a_window_of(texture: Tensor) -> bool:
        tile = texture.round().int().numpy()[:, :TILE, :TILE]
        return any(
            (np.roll(tile, place, (1, 2)) == noise)[inside].all()
            for place in product(range(TILE), range(TILE))
        )

    blue, red = (before["noise"][list(COLOURS).index(label)] for label in ("blue", "red"))
    assert is_a_window_of(blue) == bool(old)
    assert not is_a_window_of(red)
    if not old:
        own = Noise.unpack(before).pattern(0, generator(0, "window", f"blue/{new.name}"))
        assert (noise == own.round().int().numpy())[inside].all()
    assert cli("check", out).exit_code == 0


def test_where_nothing_is_asked_for_the_search_goes_through_what_undoes_rounds(hardened, tmp_path):
    photos, _, _ = hardened
    words = (*UNASKED, *small_network(tmp_path))
    result = cli("run", photos, "-o", tmp_path / "out", *words)
    assert result.exit_code == 0, result.stderr
    assert "Choosing textures" in result.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["config"]["harden"] == ["jpeg", "blur", "resize"]
    assert manifest["config"]["effort"]["rounds"] == 0
    same = cli("run", photos, "-o", tmp_path / "same", *words, "--harden", "jpeg,blur,resize")
    assert same.exit_code == 0, same.stderr
    for path in (tmp_path / "out").rglob("*.png"):
        assert (tmp_path / "same" / path.relative_to(tmp_path / "out")).read_bytes() == (
            path.read_bytes()
        )
    # What "auto" meant was recorded, and it goes on meaning that.
    for name, harden in (("out", "auto"), ("out", "jpeg,blur,resize"), ("same", "auto")):
        again = cli("run", photos, "-o", tmp_path / name, "--extend", "--harden", harden)
        assert again.exit_code == 0, again.stderr
    other = cli("run", photos, "-o", tmp_path / "out", "--extend", "--harden", "jpeg")
    assert other.exit_code == 2
    assert "harden: was ['jpeg', 'blur', 'resize'], is ['jpeg']" in other.stderr


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_where_nothing_is_asked_for_many_classes_are_protected_by_rounds(tmp_path, words):
    """And not refused: what they then lack is said."""
    photos = tmp_path / "photos"
    write(photos, *(f"class {number}/{i}.png" for number in range(13) for i in range(2)))
    flags = (*UNASKED, *small_network(tmp_path), "--preset", "quick")
    result = cli("run", photos, "-o", tmp_path / "out", *flags, *words)
    assert result.exit_code == 0, result.stderr
    assert "has time for 12 classes of 13" in result.stderr
    assert "undo it; --preset strong" in result.stderr
    assert "textures" not in result.stderr.replace("a search among textures", "")
    if not words:
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert manifest["config"]["harden"] == []
        assert manifest["config"]["effort"]["rounds"] == 54
