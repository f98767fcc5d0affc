"""Noise that is the same for a whole class is found and taken out of pictures never seen before."""

import pytest
import torch
import torch.nn.functional as F
from helpers import as_cache, noise_pictures
from torch import Tensor

from protect.evaluation.attacks.base import Attack
from protect.evaluation.attacks.removal import ClassMean, Projection, Spectrum

CLASSES = 3
COUNT = 900
LABELS = torch.arange(COUNT) % CLASSES
PATTERN = 8 * torch.randint(
    0, 2, (CLASSES, 3, 12, 12), generator=torch.Generator().manual_seed(7)
).mul(2).sub(1)


def protected(seed: int) -> Tensor:
    """Noise pictures, each with its class's pattern of +-8 levels."""
    return (noise_pictures(COUNT, (12, 12), seed) + PATTERN[LABELS]).to(torch.uint8)


def fitted(kind: type[Attack], pictures: Tensor | None = None) -> Attack:
    attack = kind()
    pictures = protected(seed=0) if pictures is None else pictures
    attack.fit(as_cache(pictures, LABELS), CLASSES, torch.Generator().manual_seed(1))
    return attack


def pattern_left(pictures: Tensor) -> float:
    """How much of the pattern the class means hold: 1 if all, 0 if nothing."""
    means = torch.stack([pictures[k == LABELS].double().mean(dim=0) for k in range(CLASSES)])
    known = PATTERN.double() - PATTERN.double().mean(dim=0)
    return (((means - means.mean(dim=0)) * known).sum() / (known * known).sum()).item()


def probe(train: Tensor, test: Tensor) -> float:
    """Share of `test` that ridge regression on the pixels of `train` gets right."""
    centre = train.flatten(1).double().mean(dim=0)
    x, new = train.flatten(1).double() - centre, test.flatten(1).double() - centre
    targets = F.one_hot(LABELS, CLASSES).double() - 1 / CLASSES
    kernel = x @ x.T + 1e5 * torch.eye(COUNT, dtype=torch.float64)
    answers = (new @ x.T @ torch.linalg.solve(kernel, targets)).argmax(dim=1)
    return (answers == LABELS).double().mean().item()


@pytest.mark.parametrize("kind", [Projection, ClassMean])
def test_a_planted_class_pattern_is_gone_and_cannot_be_learned_any_more(kind):
    train, unseen = protected(seed=0), protected(seed=5)
    assert pattern_left(train) == pytest.approx(1, abs=0.1)
    assert probe(train, unseen) > 0.99

    attack = fitted(kind)
    edited = attack.edit(train, LABELS)
    assert abs(pattern_left(edited)) < 0.05
    assert abs(pattern_left(attack.edit(unseen, LABELS))) < 0.05
    assert probe(edited, unseen) < 0.5  # a third is chance


@pytest.mark.parametrize(("kind", "most"), [(Projection, 12), (ClassMean, 8)])
def test_pictures_without_a_pattern_are_nearly_left_alone(kind, most):
    pictures = noise_pictures(COUNT, (12, 12))
    edited = fitted(kind, pictures).edit(pictures, LABELS)
    assert (edited.double() - pictures.double()).abs().mean() < 2
    assert (edited.int() - pictures.int()).abs().max() <= most


def test_projection_leaves_nothing_in_the_span_but_rounding():
    attack = fitted(Projection)
    assert attack.basis.shape == (3 * 12 * 12, CLASSES - 1)
    assert torch.allclose(attack.basis.T @ attack.basis, torch.eye(CLASSES - 1).double())

    def size_in_span(pictures: Tensor) -> float:
        return ((pictures.flatten(1).double() - attack.mean) @ attack.basis).abs().max().item()

    pictures = protected(seed=0)
    assert size_in_span(pictures) > 100
    assert size_in_span(attack.edit(pictures, LABELS)) < 2


def test_projection_keeps_the_mean_picture():
    pictures = (protected(seed=0).float() * 0.2 + 190).to(torch.uint8)
    edited = fitted(Projection, pictures).edit(pictures, LABELS)
    assert (edited.double().mean(dim=0) - pictures.double().mean(dim=0)).abs().max() < 0.5


def test_class_means_are_taken_off_by_label_rounded_and_clipped():
    red = torch.tensor([10, 20, 100, 201])
    pictures = red.to(torch.uint8)[:, None, None, None].expand(4, 3, 2, 2)
    labels = torch.tensor([0, 0, 1, 1])
    attack = ClassMean()
    attack.fit(as_cache(pictures, labels), 2, torch.Generator())
    # The means are 15 and 150.5, of all 82.75: offsets of -67.75 and +67.75.
    assert attack.edit(pictures, labels)[:, 0, 0, 0].tolist() == [78, 88, 32, 133]
    assert attack.edit(pictures, 1 - labels)[:, 0, 0, 0].tolist() == [0, 0, 168, 255]


SIDE = 32
WAVES = torch.tensor([(0, 4), (3, 5), (6, 1)])


def waves_from_anywhere(seed: int) -> Tensor:
    """Noise pictures with +-8 levels of the wave of their class, from a place of its own in each.

    So no mean of a class shows it.
    """
    draws = torch.Generator().manual_seed(seed)
    place = torch.arange(SIDE) / SIDE
    down, across = WAVES[LABELS].T[..., None, None]
    start = torch.rand(COUNT, 1, 1, generator=draws)
    angle = 2 * torch.pi * (down * place[:, None] + across * place + start)
    signs = torch.where(angle.cos() < 0, -1, 1)
    return (noise_pictures(COUNT, (SIDE, SIDE), seed) + 8 * signs[:, None]).to(torch.uint8)


def strengths(pictures: Tensor) -> Tensor:
    """Return how strong each class's wave is in the pictures of each class, (K, K)."""
    spectra = torch.fft.fft2(pictures.double()).abs()[..., WAVES[:, 0], WAVES[:, 1]].mean(dim=1)
    return torch.stack([spectra[k == LABELS].mean(dim=0) for k in range(CLASSES)])


def test_waves_that_begin_anywhere_are_levelled_and_the_other_attacks_leave_them():
    train, unseen = waves_from_anywhere(seed=0), waves_from_anywhere(seed=5)
    before = strengths(train)
    other = before[~torch.eye(CLASSES, dtype=torch.bool)].mean().item()
    assert (before.diagonal() > 10 * other).all()
    assert (strengths(fitted(ClassMean, train).edit(train, LABELS)).diagonal() > 8 * other).all()

    attack = fitted(Spectrum, train)
    for pictures in (train, unseen):
        edited = attack.edit(pictures, LABELS)
        assert edited.dtype == torch.uint8
        assert strengths(edited).diagonal().tolist() == pytest.approx([other] * CLASSES, rel=0.3)
        # Half of the squared change is the noise's own, the rest that of its higher waves.
        change = (edited.double() - pictures.double()).square().mean().sqrt()
        assert 6 < change < 8.5


@pytest.mark.parametrize("sides", [(SIDE, SIDE), (24, 31), (5, 40), (1, 1), (2, 3)])
def test_pictures_whose_spectra_have_no_peaks_keep_theirs(sides):
    pictures = noise_pictures(COUNT, sides)
    attack = fitted(Spectrum, pictures)
    edited = attack.edit(pictures, LABELS)
    assert edited.shape == pictures.shape
    if min(sides) > 4:
        assert (edited.int() - pictures.int()).abs().max() <= 1


def test_brightness_is_no_wave():
    """A class that is brighter than the others stays so."""
    pictures = noise_pictures(COUNT, (16, 16))
    pictures[LABELS == 0] += 60
    edited = fitted(Spectrum, pictures).edit(pictures, LABELS)
    assert (
        edited.double().mean(dim=(1, 2, 3)) - pictures.double().mean(dim=(1, 2, 3))
    ).abs().max() < 1


def test_two_classes_are_told_apart_and_one_without_pictures_is_passed_over():
    train = waves_from_anywhere(seed=0)
    for absent, classes in [(2, 2), (2, 3), (0, 3)]:
        here = absent != LABELS
        attack = Spectrum()
        attack.fit(as_cache(train[here], LABELS[here]), classes, torch.Generator())
        edited = train.clone()
        edited[here] = attack.edit(train[here], LABELS[here])
        left = strengths(edited).diagonal() / strengths(train).diagonal()
        assert all(share < 0.2 for k, share in enumerate(left) if k != absent)
