"""Textures are made of what a JPEG file keeps, wherever its blocks lie."""

import pytest
import torch

from protect.bait.alphabet import SATURATION, dealt_start
from protect.bait.jpeg import BLOCK, jpeg
from protect.bait.patterns import random_start
from protect.bait.textures import (
    BROAD_TILE,
    COARSE,
    FEWEST,
    FINE,
    MOST,
    PLACES,
    TILE,
    WAVES,
    broad_textures,
    broadest,
    kept_by_jpeg,
    textures,
)

BUDGET = 8


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("make", "side"), [(textures, TILE), (broad_textures, BROAD_TILE)])
@pytest.mark.parametrize("count", [1, 7, len(WAVES), 300])
def test_they_are_all_different_up_to_their_sign(make, side, count):
    made = make(count, draws())
    assert made.shape == (count, 1, side, side)
    assert made.abs().min() == made.abs().max() == 1
    flat = made.flatten(1)
    likeness = (flat @ flat.T).abs() / flat.shape[1]
    assert (likeness - torch.eye(count)).max() < 1
    assert torch.equal(made, make(count, draws()))
    assert count < 2 or not torch.equal(made, make(count, draws(1)))


def test_single_waves_come_first_and_no_flip_makes_two_of_them_one():
    spectra = torch.fft.fft2(textures(len(WAVES), draws())[:, 0]).abs()
    strongest = set()
    for spectrum in spectra:
        down, across = divmod(int(spectrum.argmax()), TILE)
        strongest.add((min(down, TILE - down), min(across, TILE - across)))
        assert spectrum.square().sum() * 0.35 < 2 * spectrum.max() ** 2
    assert strongest == set(WAVES)
    assert all(FEWEST <= (down**2 + across**2) ** 0.5 <= MOST for down, across in strongest)


def shares_of_periods(tile: torch.Tensor) -> dict[str, float]:
    """Return how much of a tile's power is in waves as long as the fine and the coarse ones."""
    power = torch.fft.fft2(tile[0]).abs().square()
    often = torch.fft.fftfreq(len(power)).abs()
    period = 1 / torch.hypot(often[:, None], often[None]).clamp(min=1e-9)
    return {
        name: (power[(period >= shortest) & (period <= longest)].sum() / power.sum()).item()
        for name, (shortest, longest) in {"fine": FINE, "coarse": COARSE}.items()
    }


def test_broad_ones_are_fine_or_coarse_or_both_at_once():
    """The sum of two waves is of their periods alone; a product has other ones, too."""
    shares = [shares_of_periods(tile) for tile in broad_textures(240, draws())]
    sums = {kind: [i for i in range(240) if i % 3 == kind and i % 2] for kind in range(3)}
    of = {
        (kind, name): torch.tensor([shares[i][name] for i in numbers])
        for kind, numbers in sums.items()
        for name in ("fine", "coarse")
    }
    assert of[0, "fine"].mean() > 0.5
    assert of[0, "coarse"].mean() < 0.15
    assert of[1, "coarse"].mean() > 0.6
    assert of[1, "fine"].mean() < 0.25
    assert of[2, "fine"].mean() > 0.3
    assert of[2, "coarse"].mean() > 0.3


def test_the_broadest_goes_up_and_down_once_in_one_direction():
    tile = broadest()[0]
    assert tile.abs().min() == 1
    assert torch.equal(tile, tile[:1].expand(BROAD_TILE, -1))
    assert (tile[0] != tile[0].roll(1)).sum() == 2
    assert abs(tile.mean()) <= 2 / BROAD_TILE


def survival(tiles: torch.Tensor, down: int = 0, across: int = 0) -> torch.Tensor:
    """Return what JPEG at quality 10 leaves of noise on smooth pictures, as a share of it."""
    slope = torch.linspace(40, 200, 64)
    smooth = ((slope[:, None] + slope[None]) / 2).expand(len(tiles), 3, -1, -1)
    noise = (BUDGET * tiles).repeat(1, 1, 64 // tiles.shape[2], 64 // tiles.shape[3])
    noise = noise.roll((down, across), dims=(2, 3))
    left = jpeg((smooth + noise).round(), 10) - jpeg(smooth.round(), 10)
    return (left * noise).sum(dim=(1, 2, 3)) / noise.expand_as(left).square().sum(dim=(1, 2, 3))


def test_jpeg_at_quality_10_keeps_most_of_waves_wherever_its_blocks_lie():
    tiles = torch.tanh(dealt_start(96, 1, draws()))
    kept = torch.stack(
        [survival(tiles, *place) for place in [(0, 0), (4, 4), (2, 5), (7, 1), (0, BLOCK)]]
    )
    assert kept[:, : len(WAVES)].mean() > 0.6
    assert kept.mean() > 0.45
    assert kept.mean(dim=1).std() < 0.03
    assert survival(torch.tanh(random_start(96, 1, draws()))).mean() < 0.3


@pytest.mark.parametrize("size", [(64, 64), (20, 40)])
def test_what_jpeg_leaves_is_told_of_the_worst_place(size):
    """In pictures with a slope; of the second size noise is cut off below and on the right."""
    height, width = size
    ground = (torch.linspace(60, 200, height)[:, None] + torch.zeros(width)).round()
    pixels = ground.expand(2, 3, -1, -1)
    noise = BUDGET * textures(6, draws())
    told = kept_by_jpeg(noise, pixels, 10)
    assert told.shape == (6,)
    for tile, share in zip(noise, told, strict=True):
        shares = []
        for place in PLACES:
            laid = tile.roll(place, (1, 2)).repeat(1, 2, 2)[:, :height, :width].expand(3, -1, -1)
            left = jpeg((pixels[:1] + laid).round(), 10)[0] - jpeg(pixels[:1], 10)[0]
            shares.append(float((left * laid).sum() / laid.square().sum()))
        assert share == pytest.approx(min(shares), abs=1e-4)
    fine = BUDGET * (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).mul(2).sub(1)
    assert kept_by_jpeg(fine.float()[None, None], pixels, 10) < told.max() / 2


def test_the_start_spends_the_budget_and_can_still_be_moved():
    start = dealt_start(4, 3, draws()).requires_grad_()
    noise = BUDGET * torch.tanh(start)
    assert (noise.round().abs() == BUDGET).all()
    noise.sum().backward()
    assert start.grad.min() > 0.05 * BUDGET
    assert start.detach().abs().max() == SATURATION
