"""Cases 43 to 52: is the protection on disk, and is it what it is said to be?

Those of a verification (42, 48, 49) are in e2e/test_verify.py.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from cases.gallery import MODES, mode_name, put, write
from cases.ran import Ran, run
from helpers import cli
from pictures import encoded, picture
from PIL import Image

from protect.bait.patterns import RANDOM_TILE
from protect.bait.textures import TILE


def put_flat(photos: Path, levels: Mapping[str, int]) -> Path:
    """Write grey pictures of one level each, name -> level, into both of two classes."""
    for label in "ab":
        for name, level in levels.items():
            put(photos, f"{label}/{name}", encoded(Image.new("L", (32, 32), level), "PNG"))
    return photos


@pytest.mark.parametrize("label", ["flat", "metadata", "sizes"])
def test_c43_noise_has_both_signs(good: Ran, label: str):
    change = good.change(f"{label}/mid.png")
    assert change.min() < 0 < change.max()


def test_c44_in_class_mode_the_pictures_of_a_class_carry_one_pattern(tmp_path: Path):
    """Two flat pictures of a class and one size show it whole."""
    photos = put_flat(tmp_path / "photos", {"black.png": 0, "mid.png": 128, "white.png": 255})
    ran = run(photos, tmp_path / "out", "--mode", "class")
    assert ran.result.exit_code == 0, ran.result.stderr
    assert ran.manifest["config"]["mode"] == "class"
    assert (ran.change("a/mid.png") != ran.change("b/mid.png")).mean() > 0.5
    for label in "ab":
        mid = ran.change(f"{label}/mid.png")
        assert np.array_equal(ran.change(f"{label}/black.png"), mid.clip(0, None))
        assert np.array_equal(ran.change(f"{label}/white.png"), mid.clip(None, 0))


def shifts_of(texture: np.ndarray, tile: int) -> set[bytes]:
    """Return what a texture looks like from each of its places."""
    return {
        np.roll(texture, (row, column), axis=(0, 1)).tobytes()
        for row in range(tile)
        for column in range(tile)
    }


@pytest.mark.parametrize(("words", "tile"), [((), RANDOM_TILE), (("--harden", "jpeg"), TILE)])
def test_c44_each_picture_carries_the_texture_of_its_class_from_another_place(
    tmp_path: Path, words: tuple[str, ...], tile: int
):
    """So that the mean of a class, which anyone can compute, has no texture to subtract.

    Textures of waves are bent besides, so that no picture shows a shift of another's.
    """
    names = [f"{i}.png" for i in range(60)]
    photos = put_flat(tmp_path / "photos", dict.fromkeys(names, 128))
    ran = run(photos, tmp_path / "out", *words)
    assert ran.result.exit_code == 0, ran.result.stderr
    assert ran.manifest["config"]["mode"] == "sample"
    for label in "ab":
        changes = [ran.change(f"{label}/{name}")[..., 0] for name in names]
        first = changes[0]
        shifted = shifts_of(first, tile)
        looks = {change.tobytes() for change in changes}
        if words:
            assert len(looks) == len(names)
            assert looks & shifted == {first.tobytes()}
        else:
            assert looks <= shifted
            assert len(looks) > min(20, 0.7 * len(shifted))
        mean = np.mean(changes, axis=0)
        assert mean.std() < first.std() / 3


def test_c45_what_is_measured_is_the_file_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An encoder that loses the noise is a defect that is found, not a quiet success."""

    def lossy(pixels, *_: object) -> bytes:
        return encoded(Image.fromarray(pixels), "JPEG", quality=75)

    monkeypatch.setattr("protect.output.writer.encode_png", lossy)
    ran = run(write(tmp_path / "photos", "a/1.png", "b/1.png"), tmp_path / "out")
    assert ran.result.exit_code == 70
    assert "does not read back as it was written" in ran.result.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["black", "white", "sky"])
def test_c50_flat_and_saturated_pictures_stay_within_the_budget(good: Ran, name: str):
    for label in ("flat", "metadata", "sizes"):
        assert good.is_within_budget(f"{label}/{name}.png")


@pytest.mark.parametrize(("format_name", "mode", "options"), MODES)
def test_c50_the_manifest_says_how_visible_the_noise_is(good: Ran, format_name, mode, options):
    record = good.images[mode_name(format_name, mode, options)]
    assert record["psnr"] > 25
    assert 0 < record["ssim"] <= 1


def test_c52_growth_is_announced_before_anything_is_computed(good: Ran):
    before, _, after = good.result.stderr.partition("Optimising noise")
    assert after
    assert "published as PNG, without loss: up to" in before


def test_c52_no_growth_is_announced_where_there_is_none(tmp_path: Path):
    ran = run(write(tmp_path / "photos", "a/1.png", "b/1.png"), tmp_path / "out")
    assert "without loss" not in ran.result.stderr


@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        ("JPEG", {"quality": 75}),
        ("WEBP", {"quality": 80}),
        ("GIF", {}),
        ("PNG", {"optimize": True}),
    ],
)
def test_c52_a_picture_saved_again_is_found_and_the_reason_said(
    tmp_path: Path, format_name: str, options: dict
):
    photos = write(tmp_path / "photos", "a/1.png", "b/1.png")
    put(photos, "a/photo.jpg", encoded(picture("RGB", (40, 40)), "JPEG"))
    ran = run(photos, tmp_path / "out")
    path = ran.out / "a" / "photo.png"
    saved = encoded(Image.open(io.BytesIO(path.read_bytes())), format_name, **options)
    path.write_bytes(saved + b"\0" * (format_name == "PNG"))
    result = cli("check", ran.out)
    assert result.exit_code == 1
    assert "changed: a/photo.png: its bytes are not those that were written" in result.stdout
    assert ("budget: a/photo.png" in result.stdout) == (format_name != "PNG")
