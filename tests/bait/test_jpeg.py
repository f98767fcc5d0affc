"""Our JPEG does what Pillow's does, and its gradient knows what it deletes."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from protect.bait.jpeg import jpeg


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    """Return blotches of colour with some grain: (1, 3, H, W), whole values."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 4, generator=draws) * 200 + 20
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return (smooth + torch.randn(1, 3, height, width, generator=draws) * 4).clamp(0, 255).round()


def by_pillow(pixels: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    array = pixels[0].permute(1, 2, 0).numpy().astype(np.uint8)
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize("quality", [5, 10, 30, 49, 50, 75, 90, 95])
@pytest.mark.parametrize("size", [(64, 64), (16, 48), (33, 21), (7, 9)])
def test_it_shows_what_pillow_shows(quality, size):
    """Up to a level, but where a coefficient lies so near to half a step that integers decide."""
    pixels = torch.cat([photo(*size, seed) for seed in range(12)])
    ours = jpeg(pixels, quality)
    theirs = torch.cat([by_pillow(picture[None], quality) for picture in pixels])
    assert ours.shape == pixels.shape
    assert torch.equal(ours, ours.round())
    assert 0 <= ours.min() <= ours.max() <= 255
    assert (ours - theirs).abs().median() <= 1
    assert (ours - theirs).abs().mean() < (pixels - theirs).abs().mean() / 3


def test_a_single_pixel_goes_through():
    assert jpeg(torch.full((2, 3, 1, 1), 200.0), 75).sub(200).abs().max() <= 2


@pytest.mark.parametrize("quality", [10, 75])
def test_a_grey_picture_stays_grey(quality):
    pixels = photo(24, 24)[:, :1].expand(-1, 3, -1, -1)
    shown = jpeg(pixels, quality)
    assert (shown - shown[:, :1]).abs().max() <= 1


def test_noise_that_it_deletes_has_next_to_no_gradient_and_noise_that_it_keeps_has_one():
    """On a flat picture: the finest checks vanish at quality 10, a slow wave stays."""
    column = torch.arange(64.0)
    checks = ((column[:, None] + column[None]) % 2 * 2 - 1).expand(1, 3, 64, 64)
    wave = torch.cos(torch.pi * (2 * column + 1) * 2 / 16).expand(1, 3, 64, 64)
    flat = torch.full((1, 3, 64, 64), 128.0)

    def survival(noise: Tensor, levels: float) -> float:
        change = jpeg(flat + levels * noise, 10) - jpeg(flat, 10)
        return float((change * noise).sum() / (levels * noise * noise).sum())

    assert abs(survival(checks, 8)) < 0.1
    assert survival(wave, 8) > 0.8

    def slope(noise: Tensor, levels: float) -> float:
        amplitude = torch.tensor(levels, requires_grad=True)
        (jpeg(flat + amplitude * noise, 10) * noise).sum().backward()
        return float(amplitude.grad / (noise * noise).sum())

    assert abs(slope(checks, 2.0)) < 0.05
    assert slope(wave, 3.5) > 0.2  # half a step: the way up is shown
