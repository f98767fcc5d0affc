"""`protect run --harden jpeg` as it is typed: a search for textures first, then the rounds."""

import io
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cases.gallery import put
from helpers import cli, write_colours
from kill_events import run_until
from pictures import encoded, picture
from PIL import Image

from protect import RunConfig
from protect.bait.textures import TILE

WORDS = (
    "--harden",
    "jpeg",
    "--size",
    "32",
    "--rounds",
    "2",
    "--batch-size",
    "16",
    "--device",
    "cpu",
)


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


def test_the_search_comes_first_and_is_counted(hardened):
    _, out, said = hardened
    assert said.index("Choosing textures") < said.index("Optimising noise")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["config"]["harden"] == ["jpeg"]
    assert manifest["config"]["effort"]["outer_lr"] == 0.05
    assert manifest["timing"]["optimise"] > 1
    assert max(image["linf_levels"] for image in manifest["images"]) <= 8
    assert cli("check", out).exit_code == 0


def test_jpeg_leaves_most_of_the_noise_and_of_other_noise_little(hardened, tmp_path):
    photos, out, _ = hardened
    words = [word for word in WORDS if word not in ("--harden", "jpeg")]
    other = cli("run", photos, "-o", tmp_path / "other", *words)
    assert other.exit_code == 0, other.stderr
    for moved in (0, 4):
        assert kept(out, photos, moved) > 0.5
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
    ("stage", "steps", "checkpoint"),
    [
        ("Choosing", 0, 0.0),
        ("Choosing", 200, 0.0),
        ("Optimising", 0, 30.0),
        ("Optimising", 2, 0.0),
        ("Writing", 5, 30.0),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    hardened,
    tmp_path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    steps: int,
    checkpoint: float,
):
    """Wherever the search was: begun anew, or known with its anchor as soon as it is done."""
    monkeypatch.setattr("protect.generation.CHECKPOINT_SECONDS", checkpoint)
    photos, out, _ = hardened
    config = RunConfig(
        source=photos,
        output=tmp_path / "out",
        harden="jpeg",
        size=32,
        rounds=2,
        batch_size=16,
        device="cpu",
    )
    run_until(config, stage, steps)
    began = (tmp_path / "out.state" / "run.json").exists()
    result = cli("run", photos, "-o", tmp_path / "out", *WORDS, *(["--resume"] if began else []))
    assert result.exit_code == 0, result.stderr
    assert ("Choosing textures" in result.stderr) == (stage == "Choosing")
    for path in out.rglob("*.png"):
        assert (tmp_path / "out" / path.relative_to(out)).read_bytes() == path.read_bytes()


def test_the_same_settings_give_the_same_bytes(hardened, tmp_path):
    photos, out, _ = hardened
    again = cli("run", photos, "-o", tmp_path / "again", *WORDS)
    assert again.exit_code == 0, again.stderr
    for path in out.rglob("*.png"):
        assert (tmp_path / "again" / path.relative_to(out)).read_bytes() == path.read_bytes()


def test_pictures_that_come_later_get_the_same_texture(hardened, tmp_path):
    photos, out, _ = hardened
    new = photos / "blue" / "later.png"
    new.write_bytes((photos / "blue" / "0.png").read_bytes())
    result = cli("run", photos, "-o", out, "--extend")
    assert result.exit_code == 0, result.stderr
    original = np.asarray(Image.open(new)).astype(int)
    first, later = (
        np.asarray(Image.open(out / "blue" / name)).astype(int) - original
        for name in ("0.png", "later.png")
    )
    middle = (original > 8) & (original < 247)  # elsewhere a part of the noise is clamped away

    def is_moved(place: tuple[int, int]) -> bool:
        both = middle & np.roll(middle, place, axis=(0, 1))
        apart = np.abs(np.roll(first, place, axis=(0, 1)) - later)[both]
        return apart.max() <= 1 and (apart == 0).mean() > 0.99  # halves round to even pixels

    # Both are windows of one texture, which is as large as the pictures and repeats.
    assert sum(map(is_moved, product(range(TILE), range(TILE)))) == 1
    assert cli("check", out).exit_code == 0


def test_a_dry_run_counts_the_search(hardened, tmp_path):
    photos, _, _ = hardened

    def seconds(*words: str) -> float:
        result = cli("run", photos, "-o", tmp_path / "out", *words, "--dry-run", "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)["duration"]["optimise"]

    assert seconds(*WORDS) > 2 * seconds(*WORDS[2:])


def test_many_classes_are_told_that_textures_are_dealt(tmp_path):
    photos = tmp_path / "photos"
    for label in range(30):
        put(photos, f"{label:02}/a.png", encoded(picture("RGB", (32, 32), seed=label), "PNG"))
    result = cli("run", photos, "-o", tmp_path / "out", *WORDS)
    assert result.exit_code == 0, result.stderr
    assert "for 30 classes a search among textures would take longer" in result.stderr
    assert "Choosing textures" not in result.stderr
