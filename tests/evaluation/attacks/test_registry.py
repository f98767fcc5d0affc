"""Every attack keeps the interface's promises, does something, and does it again."""

import pytest
import torch
import torch.nn.functional as F
from helpers import as_cache, noise_pictures
from torch import Tensor

from protect.errors import ConfigError
from protect.evaluation.attacks.base import Attack
from protect.evaluation.attacks.registry import ATTACKS, RESEARCH_TIER, make_attack

COUNT, CLASSES = 24, 3
LABELS = torch.arange(COUNT) % CLASSES
TARGETS = F.one_hot(LABELS, CLASSES).float()
PICTURES = noise_pictures(COUNT, (16, 12))
PICTURES[LABELS == 0, 0] += 40
PICTURES[LABELS == 1, :, ::2] += 20
VIEW = PICTURES.float() / 255
JPEGS = {"jpeg10", "jpeg10-shifted", "jpeg30", "jpeg50", "jpeg75", "jpeg90"}
EDITS = JPEGS | {"grey", "bits2", "blur", "downup"}
REMOVALS = {"projection", "class-mean", "spectrum"}
AUGMENTS = {"rrc", "cutout", "cutmix", "mixup", "randaugment", "ueraser-lite"}
LOSSES = {"ueraser", "adversarial"}

SPLITS = (slice(0, 1), slice(1, 8), slice(8, COUNT))

every_attack = pytest.mark.parametrize("name", ATTACKS)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(name: str) -> Attack:
    attack = make_attack(name)
    attack.fit(as_cache(PICTURES, LABELS), CLASSES, draws())
    return attack


def classify(pictures: Tensor) -> Tensor:
    kernel = torch.randn(CLASSES, 3, 5, 5, generator=draws(3))
    return F.conv2d(pictures, kernel).tanh().mean(dim=(2, 3)) * 5


def test_every_name_is_known_and_in_one_family_here():
    assert set(ATTACKS) == {"none"} | EDITS | REMOVALS | AUGMENTS | LOSSES
    assert all(make_attack(name).name == name for name in ATTACKS)
    assert all(attack.source for attack in ATTACKS.values())
    assert len({attack.source for attack in ATTACKS.values()}) == len(ATTACKS)
    assert make_attack("projection") is not make_attack("projection")


@every_attack
def test_edits_keep_shape_type_and_input_and_do_not_depend_on_the_batch(name):
    attack, before = fitted(name), PICTURES.clone()
    for whole, parts in (
        (attack.edit(PICTURES, LABELS), [attack.edit(PICTURES[i], LABELS[i]) for i in SPLITS]),
        (attack.edit_test(PICTURES), [attack.edit_test(PICTURES[i]) for i in SPLITS]),
    ):
        assert whole.shape == PICTURES.shape
        assert whole.dtype == torch.uint8
        assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(PICTURES, before)


@every_attack
def test_training_pictures_are_edited_where_they_should_be(name):
    attack = fitted(name)
    edited = attack.edit(PICTURES, LABELS)
    assert torch.equal(edited, PICTURES) == (name not in EDITS | REMOVALS)
    assert torch.equal(attack.edit_test(PICTURES), edited if name in EDITS else PICTURES)
    swapped = attack.edit(PICTURES, (LABELS + 1) % CLASSES)
    assert torch.equal(swapped, edited) == (name not in {"class-mean", "spectrum"})


@every_attack
def test_batches_are_augmented_where_they_should_be(name):
    attack, before = fitted(name), VIEW.clone()
    view, targets = attack.augment(VIEW, TARGETS, draws())
    assert view.shape == VIEW.shape
    assert view.dtype == torch.float32
    assert 0 <= view.min() <= view.max() <= 1
    assert torch.equal(VIEW, before)
    assert torch.equal(view, VIEW) == (name not in AUGMENTS)
    assert torch.equal(targets, TARGETS) == (name not in {"cutmix", "mixup"})
    assert torch.allclose(targets.sum(dim=1), torch.ones(COUNT))
    assert targets.min() >= 0
    other_targets = TARGETS.roll(1, dims=1)
    assert torch.equal(attack.augment(VIEW, other_targets, draws())[0], view)


@every_attack
def test_the_loss_is_higher_where_the_worst_is_sought_and_plain_elsewhere(name):
    loss = fitted(name).loss(classify, VIEW, TARGETS, draws())
    plain = F.cross_entropy(classify(VIEW), TARGETS)
    assert loss.shape == ()
    assert loss > plain if name in LOSSES else loss == plain


@every_attack
def test_the_same_seed_does_the_same_whatever_else_is_drawn(name):
    def results(seed: int, global_seed: int) -> list[Tensor]:
        torch.manual_seed(global_seed)
        state = torch.get_rng_state()
        attack = make_attack(name)
        attack.fit(as_cache(PICTURES, LABELS), CLASSES, draws(seed))
        made = [
            attack.edit(PICTURES, LABELS),
            *attack.augment(VIEW, TARGETS, draws(seed)),
            attack.loss(classify, VIEW, TARGETS, draws(seed)),
        ]
        assert torch.equal(torch.get_rng_state(), state)
        return made

    first = results(0, 1)
    assert all(torch.equal(*pair) for pair in zip(first, results(0, 2), strict=True))
    changed = [not torch.equal(*pair) for pair in zip(first, results(5, 1), strict=True)]
    assert any(changed) == (name in AUGMENTS | LOSSES)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("jpeg11", "jpeg10"), ("Mixup", "mixup"), ("project", "projection"), ("xyzzy", "none, jpeg")],
)
def test_an_unknown_name_is_refused_with_near_matches(typed, hint):
    with pytest.raises(ConfigError, match=f"no attack '{typed}'") as refusal:
        make_attack(typed)
    assert hint in refusal.value.hint


def test_what_is_never_run_is_said():
    assert {"separability", "self-supervised", "lightshed"} < RESEARCH_TIER.keys()
    assert ATTACKS.keys().isdisjoint(RESEARCH_TIER)
    assert all(RESEARCH_TIER.values())
