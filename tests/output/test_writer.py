"""Noise as it is published: never none of it where pixels allow, never beyond its levels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cases.gallery import put
from hypothesis import given
from hypothesis import strategies as st
from pictures import encoded, picture

from protect.bait.patterns import ClassPatterns, random_start
from protect.data.discover import Sample
from protect.errors import InputError
from protect.noise import Noise
from protect.output.writer import BrokenPromiseError, Writer, apply_noise

SIDES = (2, 3, 7, 8, 9, 16, 31, 64, 100)


def anchor_noise(levels: int, seed: int = 0) -> torch.Tensor:
    """Return the faintest noise there is: of the anchor, before it was optimised."""
    draws = torch.Generator().manual_seed(seed)
    return ClassPatterns(random_start(2, 3, draws), 64, 64, levels, anchor=0).table().detach()[0]


def change(pixels: np.ndarray, noise: torch.Tensor) -> np.ndarray:
    return apply_noise(pixels, noise).astype(int) - pixels


@pytest.mark.parametrize("levels", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", SIDES)
def test_the_faintest_noise_leaves_a_trace_at_any_size(levels: int, channels: int, side: int):
    """Grey pictures average it over colours, small ones over their neighbours."""
    flat = np.full((side, side, channels), 128, np.uint8)
    assert 1 <= abs(change(flat, anchor_noise(levels))).max() <= max(1, levels // 4)


def test_noise_that_rounding_keeps_is_not_raised():
    flat = np.full((64, 64, 3), 128, np.uint8)
    noise = anchor_noise(8)
    assert np.array_equal(change(flat, noise), noise.permute(1, 2, 0).round().int().numpy())


def test_what_is_raised_keeps_its_signs_and_its_shape():
    noise = torch.tensor([[[0.4, -0.4], [0.1, -0.3]]])
    flat = np.full((2, 2, 1), 128, np.uint8)
    assert change(flat, noise)[..., 0].tolist() == [[1, -1], [0, -1]]


@pytest.mark.parametrize("level", [0, 255])
def test_saturated_pixels_get_what_they_can_hold(level: int):
    noise = torch.tensor([[[0.4, -0.4]]])
    flat = np.full((1, 2, 1), level, np.uint8)
    assert change(flat, noise)[0, :, 0].tolist() == ([1, 0] if level == 0 else [0, -1])


def test_a_single_pixel_and_no_noise_stay_as_they_are():
    assert not change(np.full((1, 1, 3), 128, np.uint8), anchor_noise(4)).any()
    assert not change(np.full((9, 9, 3), 128, np.uint8), torch.zeros(3, 4, 4)).any()


@given(
    st.integers(1, 16), st.integers(1, 40), st.integers(1, 40), st.sampled_from((1, 3)), st.data()
)
def test_no_change_exceeds_the_levels(levels, height, width, channels, data):
    seed = data.draw(st.integers(0, 1000))
    draws = np.random.default_rng(seed)
    pixels = draws.integers(0, 256, (height, width, channels), dtype=np.uint8)
    noise = torch.from_numpy(draws.uniform(-levels, levels, (3, 9, 5)).astype(np.float32))
    assert abs(change(pixels, noise)).max() <= levels


def writer_of_one(root: Path, max_pixels: int = 10_000) -> Writer:
    """Return what publishes `a/x.png`."""
    return Writer(
        folder=root / "out",
        noise=Noise(torch.ones(1, 3, 8, 8), (8, 8)),
        seed=0,
        class_index={"a": 0},
        levels=8,
        max_pixels=max_pixels,
    )


@pytest.mark.parametrize("change", ["gone", "damaged", "larger", "empty"])
def test_a_picture_that_changed_since_it_was_read_is_named_with_what_to_do(tmp_path, change):
    """Whatever the command: a run, its dry run, an extension."""
    put(tmp_path, "a/x.png", encoded(picture("RGB", (64, 64)), "PNG"))
    file = tmp_path / "a/x.png"
    if change == "gone":
        file.unlink()
    elif change != "larger":
        file.write_bytes(file.read_bytes()[:100] if change == "damaged" else b"")
    writer = writer_of_one(tmp_path, max_pixels=100 if change == "larger" else 10_000)
    with pytest.raises(InputError, match=r"x\.png has changed since it was read") as caught:
        writer.render(Sample(name="a/x.png", path=file, label="a"))
    before, _, then = caught.value.hint.partition(", then give the same command again")
    assert before
    assert then == ", with --resume if it was a run that had begun"


def test_a_file_that_cannot_be_read_back_is_named(tmp_path, monkeypatch):
    """A disk that lies, or a defect: whichever, the owner hears which file it is."""
    put(tmp_path, "a/x.png", encoded(picture("RGB"), "PNG"))
    writer = writer_of_one(tmp_path)

    def spoiled(path, data, **_):
        path.parent.mkdir(parents=True)
        path.write_bytes(data[:-30])

    monkeypatch.setattr("protect.output.writer.write_atomically", spoiled)
    with pytest.raises(BrokenPromiseError, match=r"out.a.x\.png cannot be decoded"):
        writer.publish(Sample(name="a/x.png", path=tmp_path / "a/x.png", label="a"), "a/x.png")
