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


SQUARE = (32, 32)
WAVES = torch.tensor([(0, 4), (3, 5), (6, 1)])
SHARED = (5, 3)


def with_waves(ground: Tensor, height: float = 8, channels: int = 3, seed: int = 0) -> Tensor:
    """Add +-`height` levels of the wave of its class to each picture, from a place of its own.

    So no mean of a class shows it.
    """
    draws = torch.Generator().manual_seed(seed)
    down, across = (torch.arange(side) / side for side in ground.shape[-2:])
    often = WAVES[LABELS][..., None, None]
    start = torch.rand(len(ground), 1, 1, generator=draws)
    angle = 2 * torch.pi * (often[:, 0] * down[:, None] + often[:, 1] * across + start)
    noise = height * torch.where(angle.cos() < 0, -1, 1)[:, None].expand(-1, channels, -1, -1)
    pictures = ground.float()
    pictures[:, :channels] += noise
    return pictures.round().to(torch.uint8)


def strengths(pictures: Tensor) -> Tensor:
    """Return how strong each class's wave is in the pictures of each class, (K, K)."""
    spectra = torch.fft.fft2(pictures.double()).abs()[..., WAVES[:, 0], WAVES[:, 1]].mean(dim=1)
    return torch.stack([spectra[k == LABELS].mean(dim=0) for k in range(CLASSES)])


def smooth_pictures() -> Tensor:
    """Return pictures whose short waves are weak, as of photographs."""
    draws = torch.Generator().manual_seed(3)
    rough = torch.randint(40, 216, (COUNT, 3, 5, 5), generator=draws).float()
    return F.interpolate(rough, size=SQUARE, mode="bicubic").clamp(20, 235).round()


@pytest.mark.parametrize(
    ("ground", "channels"),
    [
        (noise_pictures(COUNT, SQUARE), 3),
        (noise_pictures(COUNT, SQUARE), 1),
        (noise_pictures(COUNT, (24, 31)), 3),
        (torch.full((COUNT, 3, *SQUARE), 128), 3),  # no wave of their own at all
        (smooth_pictures(), 3),
    ],
    ids=["rough", "in one channel", "not square", "flat", "smooth"],
)
def test_waves_that_begin_anywhere_are_levelled(ground, channels):
    train = with_waves(ground, channels=channels)
    unseen = with_waves(ground.roll(1, 0), channels=channels, seed=5)
    attack = fitted(Spectrum, train)
    clean = strengths(ground.to(torch.uint8)).diagonal()
    for pictures in (train, unseen):
        before = strengths(pictures).diagonal()
        edited = attack.edit(pictures, LABELS)
        assert edited.dtype == torch.uint8
        left = strengths(edited).diagonal()
        assert (left - clean < 0.15 * (before - clean)).all()


def test_class_means_do_not_find_waves_that_begin_anywhere():
    train = with_waves(noise_pictures(COUNT, SQUARE))
    edited = fitted(ClassMean, train).edit(train, LABELS)
    assert (strengths(edited).diagonal() > 0.8 * strengths(train).diagonal()).all()


def test_a_wave_that_all_classes_have_is_the_pictures_own():
    down, across = (often * torch.arange(32) / 32 for often in SHARED)
    wave = 30 * (2 * torch.pi * (down[:, None] + across)).cos()
    train = with_waves(noise_pictures(COUNT, SQUARE) + wave)
    edited = fitted(Spectrum, train).edit(train, LABELS)
    before, after = (
        torch.fft.fft2(each.double()).abs()[..., SHARED[0], SHARED[1]].mean().item()
        for each in (train, edited)
    )
    assert after == pytest.approx(before, rel=0.02)


@pytest.mark.parametrize(("times", "goes"), [(1.4, False), (3.0, True)])
def test_a_wave_stands_out_at_twice_what_is_around(times, goes):
    ground = noise_pictures(COUNT, SQUARE)
    around = strengths(ground).square().mean().sqrt()
    # A wave of signs has 2 / pi of its height times the pixels in its first wave.
    height = (times**2 - 1) ** 0.5 * around / (2 / torch.pi * 32 * 32)
    dither = torch.rand(ground.shape, generator=torch.Generator().manual_seed(4)) - 0.5
    train = with_waves(ground + dither, height=float(height))
    change = fitted(Spectrum, train).edit(train, LABELS).int() - train.int()
    assert (change.abs().float().mean() > 0.2) == goes


@pytest.mark.parametrize("sides", [SQUARE, (24, 31), (5, 40), (1, 1), (2, 3)])
def test_pictures_whose_spectra_have_no_peaks_keep_theirs(sides):
    pictures = noise_pictures(COUNT, sides)
    edited = fitted(Spectrum, pictures).edit(pictures, LABELS)
    assert edited.shape == pictures.shape
    if min(sides) > 4:
        assert (edited.int() - pictures.int()).abs().max() <= 1


def test_brightness_is_no_wave():
    """A class that is brighter than the others by far stays so."""
    pictures = noise_pictures(COUNT, (16, 16))
    pictures[LABELS != 0] -= 80
    edited = fitted(Spectrum, pictures).edit(pictures, LABELS)
    moved = edited.double().mean(dim=(1, 2, 3)) - pictures.double().mean(dim=(1, 2, 3))
    assert moved.abs().max() < 1


@pytest.mark.parametrize(("absent", "classes"), [(2, 2), (2, 3), (0, 3)])
def test_two_classes_are_told_apart_and_one_without_pictures_is_passed_over(absent, classes):
    train = with_waves(noise_pictures(COUNT, SQUARE))
    here = absent != LABELS
    attack = Spectrum()
    attack.fit(as_cache(train[here], LABELS[here]), classes, torch.Generator())
    edited = train.clone()
    edited[here] = attack.edit(train[here], LABELS[here])
    left = strengths(edited).diagonal() / strengths(train).diagonal()
    assert all(share < 0.2 for k, share in enumerate(left) if k != absent)
