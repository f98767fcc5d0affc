"""Binding in feature space: by the nearest centroid of the others that carry the same noise."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protect.bait.binding import SHARPNESS, centroid_logits


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
