"""Which published pictures still serve as pictures."""

import numpy as np
import pytest

from protect.data.decode import Picture
from protect.errors import ImageRefused
from protect.output.compare import compare

RNG = np.random.default_rng(0)


def photograph(brightness: float = 1.0, contrast: float = 1.0, channels: int = 3) -> np.ndarray:
    """Return a smooth picture with some grain, as floats on the scale 0 to 255."""
    rows, columns = np.mgrid[0:48, 0:48] / 48
    waves = np.sin(5 * rows + np.arange(channels)[:, None, None]) * np.cos(4 * columns)
    grain = RNG.normal(0, 4, waves.shape)
    return np.moveaxis(128 * brightness + (90 * waves + grain) * contrast, 0, 2)


def usable(original: np.ndarray, published: np.ndarray) -> bool:
    pictures = [
        Picture(np.clip(np.rint(levels), 0, 255).astype(np.uint8), None, None, ())
        for levels in (original, published)
    ]
    return compare(*pictures).usable


ORIGINALS = {
    "photograph": photograph(),
    "grey": photograph(channels=1),
    "dark": photograph(0.05, 0.05),
    "pale": photograph(1.7, 0.3),
    "low contrast": photograph(1.0, 0.05),
    "flat": np.full((48, 48, 3), 77.0),
    "sparse": np.where(RNG.random((48, 48, 1)) < 0.01, 250.0, 4.0),
    "line drawing": np.where(np.indices((48, 48, 1))[1] % 12 == 0, 0.0, 255.0),
    "tiny": np.full((1, 1, 3), 200.0),
}


@pytest.mark.parametrize("name", ORIGINALS)
@pytest.mark.parametrize("levels", [0, 1, 8, 16])
def test_every_picture_is_usable_within_a_common_budget(name, levels):
    original = ORIGINALS[name]
    noise = levels * RNG.choice([-1, 1], original.shape)
    assert usable(original, original + noise)


@pytest.mark.parametrize("name", ["photograph", "grey", "line drawing"])
def test_a_larger_budget_is_usable_as_long_as_the_picture_outweighs_it(name):
    original = ORIGINALS[name]
    noise = RNG.choice([-1, 1], original.shape)
    assert usable(original, original + 24 * noise)
    assert not usable(original, original + 96 * noise)


@pytest.mark.parametrize("name", ["photograph", "grey", "pale", "sparse", "line drawing"])
@pytest.mark.parametrize("what", ["black", "white", "mean", "noise", "shuffled", "negative"])
def test_a_destroyed_picture_is_not_usable(name, what):
    original = ORIGINALS[name]
    destroyed = {
        "black": np.zeros_like(original),
        "white": np.full_like(original, 255),
        "mean": np.broadcast_to(original.mean(axis=(0, 1)), original.shape),
        "noise": RNG.integers(0, 256, original.shape),
        "shuffled": RNG.permutation(original.reshape(-1)).reshape(original.shape),
        "negative": 255 - original,
    }[what]
    assert not usable(original, destroyed)


def test_pictures_of_different_shapes_are_not_compared():
    with pytest.raises(ImageRefused, match="48x48 of 1 channels"):
        usable(photograph(), photograph(channels=1))


def opacity(kind: str) -> np.ndarray | None:
    """Return an alpha channel of a picture of 48 x 48."""
    if kind == "none":
        return None
    alpha = np.full((48, 48), 255, dtype=np.uint8)
    if kind != "opaque":
        alpha[3, 4] = {"one pixel": 254, "another": 253}[kind]
    return alpha


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("none", "none", True),
        ("none", "opaque", True),
        ("opaque", "none", True),
        ("one pixel", "one pixel", True),
        ("none", "one pixel", False),
        ("one pixel", "none", False),
        ("one pixel", "opaque", False),
        ("one pixel", "another", False),
    ],
)
def test_a_change_of_the_alpha_channel_alone_is_noticed(before, after, same):
    pixels = photograph().astype(np.uint8)
    original, published = (Picture(pixels, opacity(kind), None, ()) for kind in (before, after))
    found = compare(original, published)
    assert found.quality.linf_levels == 0
    assert found.same_opacity is same
