"""Where each picture's noise lies in its class's texture, straight or bent."""

import math

import pytest
import torch
from torch import Tensor

from protect import RunConfig
from protect.bait.alphabet import broad_start, dealt_start
from protect.bait.patterns import BEND, ClassPatterns, random_start
from protect.bait.textures import BROAD_TILE, TILE, tiled
from protect.generation import bend_of
from protect.noise import Noise, places
from protect.system.device import generator
from protect.system.processes import Place
from protect.system.shards import own_rows

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


@pytest.mark.parametrize("side", [1, 2, 5, 15, 16, 17, 31, 32, 33, 64, 65, 96])
def test_bends_are_as_steep_in_pictures_of_any_size(side):
    """Knots lie as far apart in all."""
    large, small = (beside(200, (rows, rows), TILE, BEND) for rows in (97, side))
    steepness = large.float().diff(dim=2).abs().mean()
    assert small.float().diff(dim=2).abs().sum() <= 1.35 * steepness * 400 * side * (side - 1)


def strength(patterns: ClassPatterns, k: int, pictures: int) -> Tensor:
    """Return the root of the mean power of each wave in the noise of a class's pictures, (h, w)."""
    noise = torch.stack([patterns.noise().pattern(k, draws(seed))[0] for seed in range(pictures)])
    found = torch.fft.fft2(noise).abs().square().mean(dim=0).sqrt()
    found[0, 0] = 0
    return found


@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize(
    ("start", "grid", "pictures"),
    [(dealt_start, (64, 64), 300), (dealt_start, (96, 64), 300), (broad_start, (224, 224), 60)],
)
def test_waves_that_are_bent_stand_out_less_in_the_mean_spectrum(start, grid, pictures, k):
    straight = strength(made(grid, 0, start, channels=1), k, pictures)
    bent = strength(made(grid, BEND, start, channels=1), k, pictures)
    # As many waves as straight noise has with half of its power have much less of that when bent.
    power, left = straight.square().flatten(), bent.square().flatten()
    order = power.argsort(descending=True)
    few = int((power[order].cumsum(0) < power.sum() / 2).sum()) + 1
    assert left.sort(descending=True).values[:few].sum() < 0.3 * left.sum()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("bend", [0, BEND])
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_see_what_one_sees(grid, bend, processes, monkeypatch):
    patterns, y = made(grid, bend), torch.tensor([0, 1, 2, 2, 1, 0, 0])
    whole = patterns(y, torch.zeros(7).bool(), *grid, draws())
    parts = []
    for rank in range(processes):
        place = Place(rank, processes, rank, processes)
        monkeypatch.setattr("protect.system.shards.place", lambda place=place: place)
        here = own_rows(len(y))
        parts.append(patterns(y, torch.zeros(7).bool()[here], *grid, draws()))
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("grid", [(28, 28), (4, 9), (40, 20)])
def test_older_noise_of_small_pictures_may_repeat_before_a_tile_does(grid):
    """Its tiles were cut to the pictures, and pictures began anywhere in a whole one."""
    beyond = TILE - 1
    tile = dealt_start(1, 3, draws())[:, :, : grid[0], : grid[1]]
    older = tiled(tile, grid[0] + beyond, grid[1] + beyond)
    noise = Noise(older, grid)
    assert not noise.repeats
    for seed in range(20):
        row, column = torch.randint(TILE, (2,), generator=draws(seed)).tolist()
        expected = older[0, :, row : row + grid[0], column : column + grid[1]]
        assert torch.equal(noise.pattern(0, draws(seed)), expected)


@pytest.mark.parametrize("grid", GRIDS)
def test_noise_of_this_version_repeats_as_it_says(grid):
    noise = made(grid, BEND).noise()
    assert noise.repeats
    other = Noise(noise.patterns, (grid[0] + 1, grid[1] + 1), BEND)
    assert not other.repeats


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


@pytest.mark.parametrize(
    ("harden", "mode", "bend"),
    [("jpeg", "sample", BEND), ("jpeg", "class", 0), ("grey", "sample", 0), ("grey", "class", 0)],
)
def test_only_textures_of_which_each_picture_has_a_part_of_its_own_are_bent(harden, mode, bend):
    assert bend_of(RunConfig(source="x", harden=harden, mode=mode)) == bend
