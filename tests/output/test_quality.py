import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from protect.output import quality
from protect.output.quality import Quality, measure, psnr, ssim

Pixels = NDArray[np.uint8]


def noise(shape: tuple[int, ...], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int, channels: int) -> Pixels:
    rows, columns = np.mgrid[:height, :width]
    waves = [
        127 + 60 * np.sin(rows / 9 + k) + 60 * np.cos(columns / 13 - k) for k in range(channels)
    ]
    return np.stack(waves, axis=2).round().astype(np.uint8)


def nudged(pixels: Pixels, levels: int, seed: int = 1) -> Pixels:
    change = np.random.default_rng(seed).integers(-levels, levels + 1, pixels.shape)
    return np.clip(pixels.astype(int) + change, 0, 255).astype(np.uint8)


def batch(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].double()


def reference_ssim(original: Pixels, published: Pixels) -> float:
    # Some versions of torchmetrics average over windows that reach into a mirrored border; Wang et
    # al. do not. Its map without that border is the same in all versions.
    _, whole = structural_similarity_index_measure(
        batch(published), batch(original), data_range=255.0, return_full_image=True
    )
    return whole[:, :, 5:-5, 5:-5].mean().item()


CASES = {
    "random": (noise((70, 50, 3)), noise((70, 50, 3), seed=9)),
    "random, nudged": (noise((70, 50, 3)), nudged(noise((70, 50, 3)), 8)),
    "smooth, nudged": (smooth(120, 80, 3), nudged(smooth(120, 80, 3), 8)),
    "smooth, one level": (smooth(120, 80, 3), nudged(smooth(120, 80, 3), 1)),
    "grey": (smooth(40, 60, 1), nudged(smooth(40, 60, 1), 16)),
    "white": (np.full((40, 40, 3), 255, np.uint8), nudged(np.full((40, 40, 3), 255, np.uint8), 8)),
    "black": (np.zeros((40, 40, 1), np.uint8), nudged(np.zeros((40, 40, 1), np.uint8), 8)),
    "inverted": (smooth(40, 40, 3), 255 - smooth(40, 40, 3)),
    "one window": (noise((11, 11, 3)), nudged(noise((11, 11, 3)), 8)),
    "one row of windows": (noise((11, 40, 1)), nudged(noise((11, 40, 1)), 8)),
    "one more than a tile": (smooth(107, 203, 3), nudged(smooth(107, 203, 3), 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_psnr_and_ssim_agree_with_torchmetrics(name: str) -> None:
    original, published = CASES[name]
    expected = peak_signal_noise_ratio(batch(published), batch(original), data_range=255.0)
    assert psnr(original, published) == pytest.approx(expected.item(), rel=1e-6)
    assert ssim(original, published) == pytest.approx(
        reference_ssim(original, published), rel=0, abs=1e-5
    )


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (10, 11), (11, 10), (10, 500), (500, 10), (1, 40)]
)
def test_ssim_is_none_below_its_window(height: int, width: int) -> None:
    original = smooth(height, width, 3)
    assert ssim(original, nudged(original, 8)) is None


def test_identical_pictures() -> None:
    original = noise((20, 30, 3))
    assert measure(original, original.copy()) == Quality(linf_levels=0, psnr=None, ssim=1.0)


@pytest.mark.parametrize("tile", [1, 7, 8, 9, 1000])
def test_ssim_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    original = noise((42, 29, 3))
    published = nudged(original, 30)
    monkeypatch.setattr(quality, "_TILE", 1000)
    whole = ssim(original, published)
    monkeypatch.setattr(quality, "_TILE", tile)
    assert ssim(original, published) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 5, 59, 60, 61])
def test_differences_are_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    original, published = noise((4, 5, 3)), noise((4, 5, 3), seed=2)
    whole = measure(original, published)
    monkeypatch.setattr(quality, "_CHUNK", chunk)
    assert measure(original, published) == whole


@pytest.mark.parametrize(
    ("before", "after", "levels"), [(3, 5, 2), (5, 3, 2), (0, 255, 255), (255, 0, 255), (7, 7, 0)]
)
def test_linf_does_not_wrap(before: int, after: int, levels: int) -> None:
    original = np.full((2, 2, 1), 100, np.uint8)
    published = original.copy()
    original[1, 1], published[1, 1] = before, after
    assert measure(original, published).linf_levels == levels


@pytest.mark.parametrize("at", [(0, 0, 0), (511, 511, 2), (300, 7, 1)])
def test_linf_sees_every_pixel(at: tuple[int, int, int]) -> None:
    original = np.full((512, 512, 3), 50, np.uint8)
    published = original.copy()
    published[at] = 59
    assert measure(original, published).linf_levels == 9


def test_psnr_of_a_known_error() -> None:
    original = np.full((3, 4, 3), 100, np.uint8)
    assert psnr(original, original + np.uint8(1)) == pytest.approx(20 * math.log10(255))
    black = np.zeros((600, 600, 3), np.uint8)
    assert psnr(black, ~black) == pytest.approx(0.0)


@given(
    st.tuples(st.integers(1, 14), st.integers(1, 14), st.sampled_from([1, 3])).flatmap(
        lambda shape: st.tuples(arrays.arrays(np.uint8, shape), arrays.arrays(np.uint8, shape))
    )
)
@settings(max_examples=50, deadline=None)
def test_ranges_and_symmetry(pair: tuple[Pixels, Pixels]) -> None:
    original, published = pair
    there, back = measure(original, published), measure(published, original)
    assert there.linf_levels == np.abs(original.astype(int) - published.astype(int)).max()
    assert there.linf_levels == back.linf_levels
    assert there.psnr == back.psnr
    assert (there.psnr is None) == (there.linf_levels == 0)
    assert (there.ssim is None) == (min(original.shape[:2]) < 11)
    if there.ssim is not None:
        assert -1 <= there.ssim <= 1
        assert there.ssim == pytest.approx(back.ssim, abs=1e-6)


def test_views_are_measured_as_they_look() -> None:
    original, published = noise((40, 60, 3)), noise((40, 60, 3), seed=5)
    expected = measure(original[::2, 5:50].copy(), published[::2, 5:50].copy())
    assert measure(original[::2, 5:50], published[::2, 5:50]) == expected


@pytest.mark.parametrize("shape", [(1000, 1100, 3), (11, 100_000, 3)])
def test_a_huge_picture_needs_little_memory(shape: tuple[int, int, int]) -> None:
    original = np.zeros(shape, np.uint8)
    published = np.ones(shape, np.uint8)
    tracemalloc.start()
    try:
        measure(original, published)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One float32 copy of the whole alone would take 13 MB.
    assert peak < 8e6


@pytest.mark.parametrize("function", [measure, psnr, ssim])
@pytest.mark.parametrize(
    ("original", "published"),
    [
        (np.zeros((12, 12, 3), np.uint8), np.zeros((12, 13, 3), np.uint8)),
        (np.zeros((12, 12, 3), np.uint8), np.zeros((12, 12, 1), np.uint8)),
        (np.zeros((12, 12), np.uint8), np.zeros((12, 12), np.uint8)),
        (np.zeros((0, 12, 3), np.uint8), np.zeros((0, 12, 3), np.uint8)),
        (np.zeros((12, 12, 3), np.float32), np.zeros((12, 12, 3), np.uint8)),
        (np.zeros((12, 12, 3), np.uint8), np.zeros((12, 12, 3), np.float32)),
    ],
)
def test_incomparable_arrays_are_refused(function: Any, original: Any, published: Any) -> None:
    with pytest.raises(ValueError, match=r"shapes differ|must be"):
        function(original, published)
