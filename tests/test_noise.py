"""Where each picture's noise lies in its class's texture, straight or bent."""

import math

import pytest
import torch
from torch import Tensor

from protect.bait.alphabet import broad_start, dealt_start
from protect.bait.patterns import BEND, ClassPatterns, bend_of, random_start
from protect.bait.textures import BROAD_TILE, TILE
from protect.config.choices import NoiseMode
from protect.noise import Noise, places
from protect.system.device import generator

LEVELS = 8
GRIDS = [(64, 64), (28, 28), (50, 31), (3, 7), (1, 1), (224, 96)]


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(grid: tuple[int, int], bend: float, start=dealt_start, channels: int = 3) -> ClassPatterns:
    weights = start(3, channels, draws())
    return ClassPatterns(weights, *grid, LEVELS, shifts=weights.shape[-1], bend=bend, anchor=1)


def beside(count: int, grid: tuple[int, int], tile: int, bend: float) -> Tensor:
    """Return how far beside its place each pixel looks: (2, B, h, w)."""
    straight = places(count, grid, tile, 0, draws())
    bent = places(count, grid, tile, bend, draws())
    return torch.stack([b - s for b, s in zip(bent, straight, strict=True)])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("start", [random_start, dealt_start, broad_start])
@pytest.mark.parametrize("bend", [0, BEND, 0.2])
def test_what_is_published_is_what_was_optimised(grid, start, bend):
    """The loop draws batches on the compute device, the writer one picture on the CPU."""
    patterns = made(grid, bend, start)
    for k in range(3):
        seen = patterns(torch.tensor([k]), torch.tensor([False]), *grid, draws(k))
        assert torch.equal(patterns.noise().pattern(k, draws(k)), seen[0].detach())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("start", [random_start, dealt_start])
def test_a_straight_texture_goes_on_over_the_edges_of_its_tile(grid, start):
    """As runs had it from before textures were bent, whose pictures `--extend` may add to."""
    patterns = made(grid, 0, start)
    tile = (patterns.levels * patterns.weight.tanh()).detach()
    side = tile.shape[-1]
    for name in ("a/1.png", "b/2.png", "c/\u732b.png"):
        drawn = generator(0, "window", name)
        row, column = (int(torch.randint(side, (), generator=drawn)) for _ in range(2))
        rows, columns = torch.arange(row, row + grid[0]), torch.arange(column, column + grid[1])
        expected = tile[2][:, rows % side][:, :, columns % side]
        assert torch.equal(patterns.noise().pattern(2, generator(0, "window", name)), expected)


@pytest.mark.parametrize(
    ("tile", "grid", "expected"),
    [
        (TILE, (64, 64), math.hypot(0.7, 1.4)),
        (BROAD_TILE, (224, 160), math.hypot(1.4, 2.8)),
    ],
)
def test_bent_pixels_look_about_as_far_beside_their_places_as_they_are_to(tile, grid, expected):
    """Both ways and around none; neighbours nearly as far; every picture another way."""
    moved = beside(50, grid, tile, BEND).float()
    assert moved.mean(dim=(1, 2, 3)).abs().max() < 0.2 * expected
    for spread in moved.std(dim=(1, 2, 3)):
        assert 0.78 * expected < spread < 0.95 * expected
    for axis in (2, 3):
        step = moved.diff(dim=axis).abs()
        assert step.max() <= 2
        assert (step == 0).float().mean() > 0.7
    likeness = torch.corrcoef(moved.flatten(2).flatten(0, 1)).fill_diagonal_(0)
    assert likeness.mean().abs() < 0.05
    assert likeness.max() < 0.9


def stands_out(patterns: ClassPatterns, k: int) -> float:
    """Return by how much the strongest wave of a class's mean spectrum exceeds those around it."""
    grid = patterns.grid
    noise = torch.stack([patterns.noise().pattern(k, draws(seed))[0] for seed in range(300)])
    strength = torch.fft.fft2(noise).abs().square().mean(dim=0).sqrt()
    strength[0, 0] = 0
    row, column = divmod(int(strength.argmax()), grid[1])
    around = strength.roll((4 - row, 4 - column), (0, 1))[:9, :9]
    return float(strength.max() / around.median())


@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize(
    ("start", "grid"), [(dealt_start, (64, 64)), (broad_start, (224, 224)), (dealt_start, (60, 50))]
)
def test_waves_that_are_bent_stand_out_less_in_the_mean_spectrum(start, grid, k):
    straight = stands_out(made(grid, 0, start, channels=1), k)
    bent = stands_out(made(grid, BEND, start, channels=1), k)
    assert bent < straight / 2


@pytest.mark.parametrize("bend", [0, BEND])
def test_the_noise_comes_back_as_it_was_saved(bend):
    noise = made((40, 50), bend).noise()
    back = Noise.unpack(noise.packed())
    assert torch.equal(back.patterns, noise.patterns)
    assert (back.grid, back.bend) == ((40, 50), bend)


def test_noise_from_before_textures_were_bent_is_straight():
    table = made((40, 50), BEND).noise().packed()
    del table["bend"]
    assert Noise.unpack(table).bend == 0


def test_what_all_pictures_of_a_class_carry_is_not_bent():
    assert bend_of(NoiseMode.CLASS) == 0
    assert bend_of(NoiseMode.SAMPLE) == BEND
