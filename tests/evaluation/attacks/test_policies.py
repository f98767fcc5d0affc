"""torchvision's transforms are drawn picture by picture, from the given generator alone."""

import torch

from protect.evaluation.attacks.policies import (
    RandAugment,
    ResizedCrop,
    per_picture,
    trivial_augment,
)

COUNT = 64
RAMP = (torch.arange(32) * 8 / 255).expand(COUNT, 3, 32, 32)
"""Sixty-four times the same picture, brighter to the right."""


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distinct(pictures: torch.Tensor) -> int:
    return len(pictures.flatten(1).unique(dim=0))


def test_doing_nothing_keeps_whole_levels_and_rounds_others():
    assert torch.equal(per_picture(lambda picture: picture, RAMP, draws()), RAMP)
    between = torch.full((1, 3, 2, 2), 100.6 / 255)
    whole = torch.full((1, 3, 2, 2), 101 / 255)
    assert torch.equal(per_picture(lambda picture: picture, between, draws()), whole)


def test_the_global_generator_is_used_and_put_back():
    def add(picture: torch.Tensor) -> torch.Tensor:
        return picture + torch.randint(0, 100, ()).to(torch.uint8)

    black = torch.zeros(COUNT, 3, 2, 2)
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        results.append(per_picture(add, black, draws()))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)
    assert distinct(results[0]) > 20
    assert not torch.equal(results[0], per_picture(add, black, draws(1)))


def test_augmentations_differ_from_picture_to_picture():
    targets = torch.eye(COUNT)
    randomly, same = RandAugment().augment(RAMP, targets, draws())
    assert same is targets
    assert distinct(randomly) > COUNT / 4
    assert distinct(trivial_augment(RAMP, draws())) > COUNT / 4


def test_a_resized_crop_is_a_slower_ramp():
    cropped, _ = ResizedCrop().augment(RAMP, torch.eye(COUNT), draws())
    assert cropped.shape == RAMP.shape
    assert distinct(cropped) > COUNT / 2
    row = cropped[:, 0, 0]
    assert (row.diff(dim=1) >= 0).all()
    assert torch.equal(cropped, row[:, None, None, :].expand_as(cropped))
    width = (row[:, -1] - row[:, 0]) * 255 / 8 / 31
    # At least 8 % of the area, and 4/3 of it upright at the most: a quarter of the width.
    assert 0.15 < width.min() < 0.5
    assert 0.9 < width.max() <= 1
