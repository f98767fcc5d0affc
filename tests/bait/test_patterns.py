"""Where a picture's noise comes from: its class's texture, from the same place or its own."""

import pytest
import torch

from protect.bait.alphabet import broad_start, dealt_start
from protect.bait.patterns import RANDOM_TILE, ClassPatterns, random_start, shifts_of
from protect.bait.textures import BROAD_TILE, TILE
from protect.config.choices import NoiseMode
from protect.config.settings import RunConfig
from protect.generation import start_of

CLASSES, HEIGHT, WIDTH, SHIFTS, LEVELS = 3, 12, 10, 8, 8
GREY, COLOUR = torch.tensor([True]), torch.tensor([False])


def made(shifts: int = 1, channels: int = 3, **changes) -> ClassPatterns:
    start = random_start(CLASSES, channels, torch.Generator().manual_seed(0))
    return ClassPatterns(start, HEIGHT, WIDTH, LEVELS, shifts=shifts, **changes)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_pattern_repeats_its_tile():
    patterns = made()
    table, side = patterns.table(), patterns.weight.shape[-1]
    assert table.shape == (CLASSES, 3, HEIGHT, WIDTH)
    assert torch.equal(table[:, :, side:], table[:, :, : HEIGHT - side])
    assert torch.equal(table[..., side:], table[..., : WIDTH - side])
    assert torch.equal(table[..., :side, :side], LEVELS * patterns.weight.tanh())


def test_with_nothing_of_their_own_every_picture_of_a_class_carries_the_same_noise():
    patterns = made()
    y = torch.tensor([1, 1, 2])
    noise = patterns(y, COLOUR.expand(3), HEIGHT, WIDTH, draws())
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[2])
    assert torch.equal(noise[0], patterns.table()[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_has_a_window_of_its_own(channels):
    shifts = 4
    patterns = made(shifts, channels)
    table = patterns.table()
    assert table.shape == (CLASSES, channels, HEIGHT + shifts - 1, WIDTH + shifts - 1)
    y = torch.arange(CLASSES).repeat(20)
    noise = patterns(y, COLOUR.expand(len(y)), HEIGHT, WIDTH, draws())
    assert noise.shape == (len(y), 3, HEIGHT, WIDTH)
    seen = set()
    for own, label in zip(noise, y, strict=True):
        places = [
            (row, column)
            for row in range(shifts)
            for column in range(shifts)
            if torch.equal(own, table[label, :, row:, column:][:, :HEIGHT, :WIDTH].expand_as(own))
        ]
        assert len(places) == 1
        seen |= set(places)
    assert len(seen) == shifts**2


def test_the_mean_over_shifted_pictures_has_a_colour_and_no_texture():
    patterns = made(SHIFTS)
    noise = patterns(torch.ones(2000).long(), COLOUR.expand(2000), HEIGHT, WIDTH, draws())
    mean = noise.mean(dim=0)
    assert noise[0].std(dim=(1, 2)).min() > 2
    assert mean.std(dim=(1, 2)).max() < 0.3
    tile = patterns.table()[1, :, :SHIFTS, :SHIFTS]
    assert torch.allclose(mean.mean(dim=(1, 2)), tile.mean(dim=(1, 2)), atol=0.1)


def test_where_windows_start_follows_the_draws():
    patterns = made(SHIFTS)
    y, grey = torch.ones(8).long(), GREY.expand(8)
    one, same, other = (patterns(y, grey, HEIGHT, WIDTH, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(one[:, 0], one[:, 2])  # grey


@pytest.mark.parametrize("shifts", [1, SHIFTS])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (31, 7)])
def test_every_weight_gets_the_gradient_of_all_its_copies(shifts, size):
    patterns = made(shifts)
    patterns(torch.tensor([0, 0, 2]), COLOUR.expand(3), *size, draws()).sum().backward()
    slopes = patterns.weight.grad
    assert (slopes[[0, 2]] > 0).all()
    assert (slopes[1] == 0).all()


@pytest.mark.parametrize("shifts", [1, SHIFTS])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (31, 7), (1, 1)])
def test_the_budget_holds_whatever_the_weights(shifts, size):
    patterns = made(shifts)
    with torch.no_grad():
        patterns.weight.mul_(1e6)
    noise = patterns(torch.tensor([0, 1]), COLOUR.expand(2), *size, draws())
    assert noise.abs().max() <= LEVELS


def test_a_table_may_begin_with_textures_of_another():
    """In place, as an optimiser holds the weight; the faint one stays faint."""
    patterns, alphabet = made(), made(anchor=2)
    with torch.no_grad():
        alphabet.weight.copy_(torch.arange(1, 4)[:, None, None, None] / 10)
    weight = patterns.weight
    patterns.take(alphabet, torch.tensor([2, 0, 1]))
    assert patterns.weight is weight
    assert patterns.anchor == 0
    assert patterns.levels.flatten().tolist() == [2, 8, 8]
    expected = torch.tensor([2 * 0.3, 8 * 0.1, 8 * 0.2])
    assert torch.allclose(patterns.table()[:, 0, 0, 0], expected, atol=0.05)
    patterns.take(alphabet, torch.tensor([1, 0, 1]))
    assert patterns.anchor is None
    assert patterns.levels.flatten().tolist() == [8, 8, 8]


@pytest.mark.parametrize("tile", [RANDOM_TILE, TILE, BROAD_TILE])
def test_a_picture_starts_anywhere_in_the_tile_of_its_class(tile):
    assert shifts_of(NoiseMode.SAMPLE, tile) == tile
    assert shifts_of(NoiseMode.CLASS, tile) == 1


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({}, random_start),
        ({"harden": "grey"}, random_start),
        ({"harden": "jpeg"}, dealt_start),
        ({"harden": "grey,jpeg"}, dealt_start),
        ({"harden": "jpeg", "mode": "class"}, dealt_start),
        ({"harden": "jpeg", "binding": "head"}, random_start),
    ],
)
def test_a_search_begins_with_textures_and_rounds_with_random_tiles(tmp_path, settings, start):
    config = RunConfig(source=tmp_path, **settings)
    assert start_of(config, ()) is start
    broad = broad_start if start is dealt_start else start
    assert start_of(config, (224, 96)) is broad
