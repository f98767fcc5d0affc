"""Whom a sample is bound to: never its own class, and as each stage of the method says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protect.bait.targets import POLICIES, cyclic, dissimilar, hardest, random, stage_at
from protect.config.choices import Targets

RULES = [hardest, dissimilar, random, cyclic]


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**31), classes=st.integers(2, 12))
def test_a_target_is_never_the_true_class(rule, seed, classes):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (40,), generator=generator)
    logits = torch.randn(40, classes, generator=generator) * 10
    targets = rule(logits, y, generator)
    assert targets.shape == y.shape
    assert targets.dtype == torch.int64
    assert bool(((targets >= 0) & (targets < classes)).all())
    assert not bool((targets == y).any())


@given(seed=st.integers(0, 2**31), classes=st.integers(3, 12))
def test_hardest_and_dissimilar_rank_the_other_classes(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (20,), generator=generator)
    logits = torch.randn(20, classes, generator=generator)
    most, least = hardest(logits, y, generator), dissimilar(logits, y, generator)
    for row, true, high, low in zip(logits.tolist(), y.tolist(), most, least, strict=True):
        others = [c for c in range(classes) if c != true]
        assert int(high) == max(others, key=lambda c: row[c])
        assert int(low) == min(others, key=lambda c: row[c])


def test_dissimilar_excludes_the_true_class_even_where_it_is_the_least_likely():
    logits = torch.tensor([[-9.0, 1.0, 2.0]])
    assert dissimilar(logits, torch.tensor([0]), torch.Generator()).tolist() == [1]


def test_random_targets_are_uniform_over_the_other_classes():
    generator = torch.Generator().manual_seed(1)
    y = torch.full((30_000,), 2)
    targets = random(torch.zeros(30_000, 5), y, generator)
    counts = np.bincount(targets.numpy(), minlength=5)
    assert counts[2] == 0
    expected = 30_000 / 4
    chi_square = ((counts[[0, 1, 3, 4]] - expected) ** 2 / expected).sum()
    assert chi_square < 16.3  # the 99.9 % quantile for 3 degrees of freedom


def test_cyclic_is_the_next_class():
    y = torch.tensor([0, 1, 2])
    assert cyclic(torch.zeros(3, 3), y, torch.Generator()).tolist() == [1, 2, 0]


def test_the_curriculum_is_hardest_then_random_then_dissimilar_in_thirds():
    names = [stage.name for stage in POLICIES[Targets.CURRICULUM]]
    assert names == ["hardest", "random", "dissimilar"]
    stages = [stage_at(Targets.CURRICULUM, r, 90) for r in range(90)]
    assert stages == [0] * 30 + [1] * 30 + [2] * 30


@pytest.mark.parametrize("policy", list(Targets))
@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 100])
def test_every_round_has_a_stage_and_stages_never_go_back(policy, rounds):
    stages = [stage_at(policy, r, rounds) for r in range(rounds)]
    assert stages == sorted(stages)
    assert set(stages) <= set(range(len(POLICIES[policy])))
    if rounds >= len(POLICIES[policy]):
        assert set(stages) == set(range(len(POLICIES[policy])))
