"""The bound on integers: never one level too many, never one wasted, both signs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protect.bait.patterns import ClassPatterns, random_start
from protect.budget import publish, resize_noise, to_grey
from protect.config.values import Eps
from protect.output.writer import apply_noise

BUDGETS = {"1/255": 1, "4/255": 4, "7.6/255": 7, "8/255": 8, "0.03": 7, "16/255": 16}


def patterns_at_full_budget(levels: int, channels: int = 3) -> ClassPatterns:
    """Return patterns that are saturated, half of them at each sign."""
    made = ClassPatterns(random_start(2, channels, torch.Generator().manual_seed(0)), 9, 7, levels)
    with torch.no_grad():
        made.weight.copy_(made.weight.sign() * 50)
    return made


@pytest.mark.parametrize(("text", "levels"), BUDGETS.items())
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(9, 7), (1, 1), (40, 31), (5, 3), (200, 2)])
def test_every_published_pixel_keeps_the_bound_and_reaches_it(text, levels, channels, size):
    assert Eps.parse(text).levels == levels
    noise = patterns_at_full_budget(levels).table()[0].detach()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*size, channels), dtype=np.uint8)
    pixels.flat[0], pixels.flat[-1] = 0, 255
    change = apply_noise(pixels, noise).astype(int) - pixels
    assert abs(change).max() <= levels
    if size == (9, 7) and channels == 3:
        assert change.max() == levels
        assert change.min() == -levels


@given(
    levels=st.integers(1, 255),
    value=st.integers(0, 255),
    share=st.floats(-1, 1, allow_nan=False),
)
def test_publishing_rounds_to_nearest_and_clamps(levels, value, share):
    noise = torch.tensor([[[[share * levels]]]])
    published = publish(torch.full((1, 1, 1, 1), float(value)), noise).item()
    assert published == round(min(max(value + noise.item(), 0), 255))
    assert abs(published - value) <= levels


@pytest.mark.parametrize("grey", [0, 100, 128, 255])
def test_both_signs_of_noise_survive(grey):
    """C43: noise cast to unsigned before adding would lose its negative half."""
    pixels = np.full((9, 7, 3), grey, dtype=np.uint8)
    change = apply_noise(pixels, patterns_at_full_budget(8).table()[0].detach()).astype(int) - grey
    assert (change.max() == 8) == (grey < 248)
    assert (change.min() == -8) == (grey > 7)


def test_gradients_pass_rounding_and_stop_where_a_pixel_is_saturated():
    noise = torch.tensor([[[[0.3, 9.0, -9.0]]]], requires_grad=True)
    publish(torch.tensor([[[[100.0, 250.0, 4.0]]]]), noise).sum().backward()
    assert noise.grad.flatten().tolist() == [1, 0, 0]


@given(height=st.integers(1, 60), width=st.integers(1, 60), seed=st.integers(0, 2**31))
def test_resizing_noise_never_makes_it_larger(height, width, seed):
    noise = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    resized = resize_noise(noise, height, width)
    assert resized.shape == (1, 3, height, width)
    assert resized.abs().max() <= noise.abs().max() * (1 + 1e-5)


def test_noise_at_its_own_size_is_untouched():
    noise = torch.randn(2, 3, 8, 8)
    assert resize_noise(noise, 8, 8) is noise


def test_grey_noise_is_the_mean_of_the_channels():
    noise = torch.randn(2, 3, 4, 5)
    assert torch.allclose(to_grey(noise)[:, 0], noise.mean(dim=1))


@pytest.mark.parametrize("size", [(9, 7), (31, 18), (4, 3)])
@pytest.mark.parametrize("grey", [False, True])
def test_what_is_written_is_what_was_optimised(size, grey):
    """The writer's numbers and the optimised graph's are the same to the last level."""
    patterns = ClassPatterns(random_start(2, 3, torch.Generator().manual_seed(1)), 9, 7, 8)
    with torch.no_grad():
        patterns.weight.mul_(20)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (*size, 1 if grey else 3), dtype=np.uint8)
    written = apply_noise(pixels, patterns.table()[1].detach())
    stacked = torch.from_numpy(np.broadcast_to(pixels, (*size, 3)).copy()).permute(2, 0, 1)[None]
    noise = patterns(torch.tensor([1]), torch.tensor([grey]), *size, torch.Generator())
    optimised = publish(stacked.float(), noise)[0].permute(1, 2, 0).detach().numpy()
    assert np.array_equal(np.broadcast_to(written, (*size, 3)), optimised.astype(np.uint8))
