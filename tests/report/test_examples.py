"""Original, protected and difference as PNGs."""

import io

import numpy as np
import pytest
from PIL import Image

from protect.report.examples import AMPLIFICATION, LARGEST_SIDE, SMALLEST_SIDE, make_example


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def example_of(original: np.ndarray, delta: np.ndarray):
    protected = np.clip(original.astype(int) + delta, 0, 255).astype(np.uint8)
    return make_example("a/b.png", original, protected, psnr=40.0, ssim=None), protected


def test_the_difference_is_amplified_around_grey_and_clipped():
    delta = np.array([0, 1, -1, 7, -8, 8, 30, -30]).reshape(1, 8, 1) * np.ones((8, 1, 3), int)
    example, _ = example_of(np.full((8, 8, 3), 100, np.uint8), delta)
    times = SMALLEST_SIDE // 8
    row = pixels_of(example.difference)[0, ::times, 0]
    assert row.tolist() == [128, 144, 112, 240, 0, 255, 255, 0]
    assert example.amplification == AMPLIFICATION == 16
    assert example.linf_levels == 30
    assert (example.psnr, example.ssim) == (40.0, None)


def test_a_tiny_picture_is_enlarged_by_whole_pixels():
    rng = np.random.default_rng(0)
    original = rng.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    example, protected = example_of(original, rng.integers(-8, 9, original.shape))
    times = -(-SMALLEST_SIDE // 3)
    for png, pixels in ((example.original, original), (example.protected, protected)):
        shown = pixels_of(png)
        assert shown.shape == (3 * times, 5 * times, 3)
        assert (shown[::times, ::times] == pixels).all()
        assert (shown[times - 1 :: times, times - 1 :: times] == pixels).all()
    assert example.view == "5 x 3 px, 43 times enlarged"


def test_a_middling_picture_is_shown_as_it_is():
    original = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    example, _ = example_of(original, np.zeros(original.shape, int))
    assert (pixels_of(example.original) == original).all()
    assert example.view == "300 x 200 px"


def test_of_a_large_picture_the_middle_is_shown_unscaled():
    original = np.random.default_rng(0).integers(0, 256, (100, 1001, 3), dtype=np.uint8)
    example, _ = example_of(original, np.zeros(original.shape, int))
    left = (1001 - LARGEST_SIDE) // 2
    assert (pixels_of(example.original) == original[:, left : left + LARGEST_SIDE]).all()
    assert example.view == "the middle 384 x 100 px of 1001 x 100 px"


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 3), (5000, 1, 3), (384, 384, 3)])
def test_no_shape_is_too_odd_and_none_grows_huge(shape):
    example, _ = example_of(np.zeros(shape, np.uint8), np.ones(shape, int))
    assert max(pixels_of(example.original).shape) <= LARGEST_SIDE
    assert (pixels_of(example.difference) == 128 + AMPLIFICATION).all()


@pytest.mark.parametrize("other", [(4, 5, 3), (4, 4), (4, 4, 4)])
def test_pictures_that_cannot_be_compared_are_refused(other):
    with pytest.raises(ValueError, match=r"a/b\.png"):
        make_example(
            "a/b.png", np.zeros(other, np.uint8), np.zeros((4, 4, 3), np.uint8), psnr=0.0, ssim=0.0
        )
