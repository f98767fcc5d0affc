"""Binding in feature space: by the nearest centroid of the others that carry the same noise."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protect.bait.binding import (
    RIDGES,
    SHARPNESS,
    centroid_logits,
    miss_loss,
    refitted_logits,
)


@given(seed=st.integers(0, 2**31), classes=st.integers(2, 6))
def test_the_logits_are_distances_to_centroids_that_leave_the_picture_out(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(24, 5, generator=generator, dtype=torch.float64)
    carried = torch.randint(classes, (24,), generator=generator)
    logits, compared = centroid_logits(features, carried, classes)
    spread = (features - features.mean(dim=0)).square().sum(dim=1).mean()
    for i in range(24):
        for k in range(classes):
            others = [j for j in range(24) if j != i and carried[j] == k]
            if others:
                distance = (features[i] - features[others].mean(dim=0)).square().sum()
                assert logits[i, k].item() == pytest.approx(
                    (-SHARPNESS * distance / spread).item(), rel=1e-6
                )
            elif carried[i] != k:
                assert logits[i, k] == -torch.inf
        assert bool(compared[i]) == (int((carried == carried[i]).sum()) > 1)


def test_pictures_that_lie_together_are_bound_and_scattered_ones_are_not():
    carried = torch.tensor([0, 0, 0, 1, 1, 1])
    together = torch.tensor([[0.0, 0], [0.1, 0], [0, 0.1], [5, 5], [5.1, 5], [5, 5.1]])
    logits, _ = centroid_logits(together, carried, 2)
    assert torch.equal(logits.argmax(dim=1), carried)
    logits, _ = centroid_logits(together[torch.tensor([0, 3, 1, 4, 2, 5])], carried, 2)
    assert not torch.equal(logits.argmax(dim=1), carried)


def test_the_scale_of_the_features_does_not_matter():
    features, carried = torch.randn(12, 4), torch.arange(12) % 3
    one, _ = centroid_logits(features, carried, 3)
    other, _ = centroid_logits(features * 100, carried, 3)
    assert torch.allclose(one, other, rtol=1e-3)


def test_equal_features_give_finite_logits_and_gradients():
    features = torch.ones(6, 4, requires_grad=True)
    logits, _ = centroid_logits(features, torch.arange(6) % 2, 2)
    logits.sum().backward()
    assert bool(logits.isfinite().all())
    assert bool(features.grad.isfinite().all())


@given(seed=st.integers(0, 2**31))
def test_the_fitted_heads_are_ridge_regressions(seed):
    """By the primal normal equations, which the code does not use."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (20,), generator=generator)
    queries = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    logits = refitted_logits(features, y, queries, 3)
    centred = features - features.mean(dim=0)
    scale = centred.square().sum(dim=1).mean()
    answers = torch.nn.functional.one_hot(y, 3).double()
    answers = answers - answers.mean(dim=0)
    for ridge, found in zip(RIDGES, logits, strict=True):
        normal = centred.T @ centred / scale + ridge * torch.eye(6, dtype=torch.float64)
        weights = torch.linalg.solve(normal, centred.T @ answers / scale)
        expected = SHARPNESS * (queries - features.mean(dim=0)) @ weights
        assert torch.allclose(found, expected, atol=1e-8)


def test_a_fitted_head_recognises_what_it_was_fitted_to():
    y = torch.arange(30) % 3
    features = torch.nn.functional.one_hot(y, 3) * 5 + torch.randn(30, 3) * 0.1
    logits = refitted_logits(features, y, features, 3)
    assert torch.equal(logits.argmax(dim=-1), y.expand(len(RIDGES), -1))


def test_the_miss_loss_falls_as_any_incorrect_class_wins():
    y = torch.tensor([0])
    right, unsure, wrong = (
        miss_loss(torch.tensor([[values]]), y)
        for values in ([5.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0])
    )
    assert right > unsure > wrong > 0
    assert unsure.item() == pytest.approx(-math.log(2 / 3), rel=1e-5)
    other = miss_loss(torch.tensor([[[0.0, 0.0, 5.0]]]), y)
    assert other.item() == pytest.approx(wrong.item())


def test_certainty_gives_a_finite_loss_and_gradient():
    logits = torch.tensor([[[1e4, 0.0]]], requires_grad=True)
    loss = miss_loss(logits, torch.tensor([0]))
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(logits.grad.isfinite().all())
