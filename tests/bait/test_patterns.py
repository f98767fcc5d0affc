"""Where a picture's noise comes from: its class's texture, from the same or from its own place."""

import pytest
import torch

from protect.bait.patterns import ClassPatterns

CLASSES, HEIGHT, WIDTH, TILE, LEVELS = 3, 12, 10, 4, 8
GREY, COLOUR = torch.tensor([True]), torch.tensor([False])


def made(shifts: int, channels: int = 3) -> ClassPatterns:
    return ClassPatterns(
        CLASSES,
        channels,
        HEIGHT,
        WIDTH,
        TILE,
        LEVELS,
        torch.Generator().manual_seed(0),
        shifts=shifts,
    )


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_shifts_every_picture_of_a_class_carries_the_same_noise():
    patterns = made(shifts=1)
    y = torch.tensor([1, 1, 2])
    noise = patterns(y, COLOUR.expand(3), HEIGHT, WIDTH, draws())
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[2])
    assert torch.equal(noise[0], patterns.table()[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_with_shifts_every_picture_carries_a_window_of_its_classs_table(channels):
    patterns = made(TILE, channels)
    table = patterns.table()
    assert table.shape == (CLASSES, channels, HEIGHT + TILE - 1, WIDTH + TILE - 1)
    y = torch.arange(CLASSES).repeat(20)
    noise = patterns(y, COLOUR.expand(len(y)), HEIGHT, WIDTH, draws())
    assert noise.shape == (len(y), 3, HEIGHT, WIDTH)
    seen = set()
    for own, label in zip(noise, y, strict=True):
        places = [
            (row, column)
            for row in range(TILE)
            for column in range(TILE)
            if torch.equal(own, table[label, :, row:, column:][:, :HEIGHT, :WIDTH].expand_as(own))
        ]
        assert len(places) == 1
        seen |= set(places)
    assert len(seen) == TILE**2


def test_the_mean_over_shifted_pictures_has_a_colour_and_no_texture():
    patterns = made(TILE)
    noise = patterns(torch.ones(2000).long(), COLOUR.expand(2000), HEIGHT, WIDTH, draws())
    mean = noise.mean(dim=0)
    assert noise[0].std(dim=(1, 2)).min() > 2
    assert mean.std(dim=(1, 2)).max() < 0.3
    tile = patterns.table()[1, :, :TILE, :TILE]
    assert torch.allclose(mean.mean(dim=(1, 2)), tile.mean(dim=(1, 2)), atol=0.1)


def test_places_follow_the_draws():
    patterns = made(TILE)
    y, grey = torch.ones(8).long(), GREY.expand(8)
    one, same, other = (patterns(y, grey, HEIGHT, WIDTH, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(one[:, 0], one[:, 2])  # grey


@pytest.mark.parametrize("shifts", [1, TILE])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (31, 7)])
def test_every_weight_gets_the_gradient_of_all_its_copies(shifts, size):
    patterns = made(shifts)
    patterns(torch.tensor([0, 0, 2]), COLOUR.expand(3), *size, draws()).sum().backward()
    slopes = patterns.weight.grad
    assert (slopes[[0, 2]] > 0).all()
    assert (slopes[1] == 0).all()


@pytest.mark.parametrize("shifts", [1, TILE])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (31, 7), (1, 1)])
def test_the_budget_holds_whatever_the_weights(shifts, size):
    patterns = made(shifts)
    with torch.no_grad():
        patterns.weight.mul_(1e6)
    noise = patterns(torch.tensor([0, 1]), COLOUR.expand(2), *size, draws())
    assert noise.abs().max() <= LEVELS
