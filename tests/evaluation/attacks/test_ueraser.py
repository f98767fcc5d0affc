"""UEraser draws what it says, and the network gets the view on which it does worst."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers import noise_pictures
from torch import Tensor

from protect.evaluation.attacks import ueraser
from protect.evaluation.attacks.ueraser import UEraser, UEraserLite, erase, plasma

COUNT = 400


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_worst_of_five_views_of_each_picture_is_learned_from():
    view = noise_pictures(40).float() / 255
    targets = F.one_hot(torch.arange(40) % 2, 2).float()
    seen, with_gradient = [], []
    weight = torch.tensor(3.0, requires_grad=True)

    def classify(pictures: Tensor) -> Tensor:
        seen.append(pictures)
        with_gradient.append(torch.is_grad_enabled())
        brightness = weight * pictures.mean(dim=(1, 2, 3))
        return torch.stack([brightness, 1.5 - brightness], dim=1)

    loss = UEraser().loss(classify, view, targets, draws())
    *candidates, chosen = tuple(seen)
    assert with_gradient == [False] * 5 + [True]
    losses = torch.stack(
        [F.cross_entropy(classify(views), targets, reduction="none") for views in candidates]
    )
    assert losses.argmax(dim=0).unique().tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(
        chosen, torch.stack([candidates[worst][i] for i, worst in enumerate(losses.argmax(dim=0))])
    )
    assert loss.item() == pytest.approx(losses.max(dim=0).values.mean().item())
    loss.backward()
    assert weight.grad != 0


def test_lite_learns_from_one_draw():
    view, targets = noise_pictures(8).float() / 255, torch.eye(8)
    erased, same = UEraserLite().augment(view, targets, draws())
    assert torch.equal(erased, erase(view, draws()))
    assert same is targets


@pytest.fixture
def flat_plasma(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes all plasma maps flat, and TrivialAugment do nothing."""

    def flatten(value: float) -> None:
        monkeypatch.setattr(ueraser, "plasma", lambda shape, draws: torch.full(shape, value))
        monkeypatch.setattr(ueraser, "trivial_augment", lambda view, draws: view)

    return flatten


def test_half_get_contrast_and_half_are_shuffled(flat_plasma):
    flat_plasma(0.5)  # Brightness as it was, contrast twice.
    colour = torch.tensor([0.4, 0.5, 0.6])
    view = colour[:, None, None].expand(COUNT, 3, 4, 4)
    erased = erase(view, draws())[:, :, 0, 0]
    strength = erased.amax(dim=1) - erased.amin(dim=1)
    stronger = strength > 0.3
    assert torch.allclose(strength, torch.where(stronger, 0.4, 0.2), atol=1e-5)
    assert stronger.float().mean() == pytest.approx(0.5, abs=0.1)
    orders = erased.argsort(dim=1).tolist()
    for order in itertools.permutations(range(3)):
        expected = 1 / 12 + (order == (0, 1, 2)) / 2
        assert orders.count(list(order)) / COUNT == pytest.approx(expected, abs=0.1)


def test_half_get_brighter_by_the_intensity(flat_plasma, monkeypatch):
    flat_plasma(0.75)  # Half of the intensity is added.
    monkeypatch.setattr(ueraser, "CONTRAST", 4 / 3)
    erased = erase(torch.zeros(COUNT, 3, 4, 4), draws())[:, 0, 0, 0]
    brighter = erased[erased > 1e-6]
    assert len(brighter) / COUNT == pytest.approx(0.5, abs=0.1)
    assert 0.25 <= brighter.min() < 0.27
    assert 0.48 < brighter.max() <= 0.5 + 1e-6


def test_trivial_augment_comes_last_and_to_every_picture(monkeypatch):
    monkeypatch.setattr(ueraser, "PROBABILITY", 0)
    monkeypatch.setattr(ueraser, "trivial_augment", lambda view, draws: 1 - view)
    view = noise_pictures(8).float() / 255
    assert torch.equal(erase(view, draws()), 1 - view)


def test_plasma_is_cloudy():
    maps = plasma(torch.Size([50, 3, 20, 33]), draws())
    assert maps.shape == (50, 3, 20, 33)
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert maps.mean() == pytest.approx(0.5, abs=0.05)
    near = (maps[..., 1:] - maps[..., :-1]).abs().mean()
    far = (maps[..., 16:] - maps[..., :-16]).abs().mean()
    assert maps.std() == pytest.approx(0.13, abs=0.02)  # Kornia's, over 200 maps
    assert 0.01 < near < far / 3
    assert not torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[:, 0], maps[:, 1])
