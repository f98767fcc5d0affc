"""Holes, patches and blends: what is seen of a picture is what its target says."""

import pytest
import torch
from torch import Tensor

from protect.evaluation.attacks.mixing import CutMix, Cutout, MixUp

COUNT = 200


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(size: tuple[int, int] = (16, 24)) -> tuple[Tensor, Tensor]:
    """Pictures of one value each, all different, and each of a class of its own."""
    values = torch.arange(COUNT) / COUNT
    return values[:, None, None, None].expand(COUNT, 3, *size), torch.eye(COUNT)


def test_cutout_blackens_a_rectangle_of_up_to_half_the_sides():
    view = torch.ones(COUNT, 3, 32, 24)
    targets = torch.eye(COUNT)
    cut, same = Cutout().augment(view, targets, draws())
    assert torch.equal(same, targets)
    hole = cut == 0
    assert torch.equal(cut, 1 - hole.float())
    assert torch.equal(hole, hole[:, :1].expand_as(hole))
    rows, columns = hole[:, 0].any(dim=2), hole[:, 0].any(dim=1)
    assert torch.equal(hole[:, 0], rows[:, :, None] & columns[:, None, :])
    for lines, length in ((rows, 32), (columns, 24)):
        assert lines.sum(dim=1).max() == length // 2
        assert lines.sum(dim=1).min() >= length // 4
        assert lines.sum(dim=1).min() < length // 2
        assert lines.any(dim=0).all()


def test_cutmix_shares_targets_by_the_areas():
    view, targets = numbered()
    pasted, shares = CutMix().augment(view, targets, draws())
    seen = torch.stack([(pasted[:, 0] == i / COUNT).float().mean(dim=(1, 2)) for i in range(COUNT)])
    assert torch.allclose(seen.T, shares, atol=1e-6)
    assert torch.allclose(shares.sum(dim=1), torch.ones(COUNT))


def test_cutmix_leaves_half_of_the_pictures_alone():
    view, targets = numbered()
    _, shares = CutMix().augment(view, targets, draws())
    own = shares.diagonal()
    assert (own == 1).float().mean() == pytest.approx(0.5, abs=0.12)
    # The patch's area is uniform, so half of it at the middle, less what falls outside.
    assert 0.2 < 1 - own[own < 1].mean() < 0.5
    assert own.min() < 0.35


def test_mixup_blends_pictures_and_targets_by_the_same_uniform_share():
    view, targets = numbered()
    blended, shares = MixUp().augment(view, targets, draws())
    assert torch.allclose(shares.sum(dim=1), torch.ones(COUNT))
    assert ((shares > 0).sum(dim=1) <= 2).all()
    expected = shares @ (torch.arange(COUNT) / COUNT)
    assert torch.allclose(blended, expected[:, None, None, None].expand_as(blended), atol=1e-6)
    own = shares.diagonal()
    assert own.mean() == pytest.approx(0.5, abs=0.08)
    assert own.std() == pytest.approx(12**-0.5, abs=0.04)
