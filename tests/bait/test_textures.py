"""Textures are made of what a JPEG file keeps."""

import pytest
import torch

from protect.bait.jpeg import BLOCK, jpeg, waves
from protect.bait.patterns import random_start
from protect.bait.start import SATURATION, dealt_start
from protect.bait.textures import LOW, TILE, textures

BUDGET = 8


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [1, 7, 300])
def test_they_are_all_different_up_to_their_sign(count):
    made = textures(count, draws())
    assert made.shape == (count, 1, TILE, TILE)
    assert made.abs().min() == made.abs().max() == 1
    flat = made.flatten(1)
    likeness = (flat @ flat.T).abs() / flat.shape[1]
    assert (likeness - torch.eye(count)).max() < 1
    assert torch.equal(made, textures(count, draws()))


def test_every_block_is_the_sign_of_one_low_cosine():
    cosines = waves()
    signs = [
        torch.where(cosines[row][:, None] * cosines[column][None] < 0, -1.0, 1.0)
        for row, column in LOW
    ]
    known = {block.numpy().tobytes() for sign in signs for block in (sign, -sign)}
    for texture in textures(60, draws())[:, 0]:
        for block in texture.unfold(0, BLOCK, BLOCK).unfold(1, BLOCK, BLOCK).flatten(0, 1):
            assert block.contiguous().numpy().tobytes() in known


def survival(tiles: torch.Tensor) -> torch.Tensor:
    """Return what JPEG at quality 10 leaves of noise on smooth pictures, as a share of it."""
    slope = torch.linspace(40, 200, 64)
    smooth = ((slope[:, None] + slope[None]) / 2).expand(len(tiles), 3, -1, -1)
    noise = (BUDGET * tiles).repeat(1, 1, 64 // tiles.shape[2], 64 // tiles.shape[3])
    left = jpeg((smooth + noise).round(), 10) - jpeg(smooth.round(), 10)
    return (left * noise).sum(dim=(1, 2, 3)) / noise.expand_as(left).square().sum(dim=(1, 2, 3))


def test_jpeg_at_quality_10_keeps_most_of_them_and_little_of_random_tiles():
    kept = survival(torch.tanh(dealt_start(96, 1, draws())))
    assert kept.mean() > 0.75
    assert (kept > 0.5).float().mean() > 0.9
    assert survival(torch.tanh(random_start(96, 1, draws()))).mean() < 0.35


def test_the_start_spends_the_budget_and_can_still_be_moved():
    start = dealt_start(4, 3, draws()).requires_grad_()
    noise = BUDGET * torch.tanh(start)
    assert (noise.round().abs() == BUDGET).all()
    noise.sum().backward()
    assert start.grad.min() > 0.05 * BUDGET
    assert start.detach().abs().max() == SATURATION
