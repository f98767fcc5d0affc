"""Binding in feature space: by what a stranger's own head would make of the pictures.

A stranger's network starts from pretrained features and a head of its own, which the surrogate's
head does not foretell. So two questions are asked without that head. Do pictures that carry the
noise of one class lie closer to each other than to all others, whatever they show? And what does a
head that was fitted to published pictures make of clean ones?
"""

import torch
from torch import Tensor

SHARPNESS = 10.0
"""Of distances, in units of the pictures' own mean squared spread, and of fitted answers."""
RIDGES = (0.05, 0.3, 2.0)
"""Of the fit, in units of the mean squared length of a feature: a head late, midway and early in a
stranger's training."""


def centroid_logits(features: Tensor, carried: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Classify each picture by the nearest centroid of the pictures that carry the same noise.

    Prototypical classification, with each picture left out of the centroid of its own class, so
    that it cannot vouch for itself.

    Args:
        features: (B, D), float32, before the head.
        carried: (B,), int64, whose noise each picture carries.
        classes: K.

    Returns:
        Logits (B, K), minus infinity for classes whose noise nobody carries, and which pictures
        have company, (B,), bool: the others have no centroid to be compared with.
    """
    members = torch.nn.functional.one_hot(carried, classes).to(features.dtype)
    counts = members.sum(dim=0)
    centroids = (members.T @ features) / counts.clamp(min=1)[:, None]
    spread = (features - features.mean(dim=0)).square().sum(dim=1).mean().detach()
    squares = (
        features.square().sum(dim=1)[:, None]
        - 2 * features @ centroids.T
        + centroids.square().sum(dim=1)[None]
    )
    # Without itself a picture is n / (n - 1) times as far from the centroid of its class.
    own = counts[carried]
    stretch = (own / (own - 1).clamp(min=1)).square()
    squares = squares * torch.where(members.bool(), stretch[:, None], torch.ones_like(squares))
    logits = -SHARPNESS * squares / spread.clamp(min=1e-12)
    return logits.masked_fill(counts == 0, -torch.inf), own > 1


def refitted_logits(features: Tensor, y: Tensor, queries: Tensor, classes: int) -> Tensor:
    """Fit heads to some pictures, in closed form, and ask them about others.

    Ridge regression of the one-hot classes, in its dual form (B examples, D features, B < D).

    Args:
        features: (B, D), float32, of the pictures that a head is fitted to.
        y: (B,), int64, their classes.
        queries: (Q, D), float32, features of other pictures.
        classes: K.

    Returns:
        Logits (R, Q, K), one head for each of `RIDGES`; differentiable in `features`.
    """
    centre = features.mean(dim=0)
    centred = features - centre
    scale = centred.square().sum(dim=1).mean().detach().clamp(min=1e-12)
    answers = torch.nn.functional.one_hot(y, classes).to(features.dtype)
    answers = answers - answers.mean(dim=0)
    inner = centred @ centred.T / scale
    ridges = torch.tensor(RIDGES, dtype=features.dtype, device=features.device)[:, None, None]
    eye = torch.eye(len(y), dtype=features.dtype, device=features.device)
    weights = torch.linalg.solve(inner + ridges * eye, answers.expand(len(RIDGES), -1, -1))
    heads = centred.T @ weights / scale
    logits: Tensor = SHARPNESS * (queries - centre) @ heads
    return logits


def true_shares(logits: Tensor, y: Tensor) -> Tensor:
    """Return the probability that each head gives to the true class of each picture: (R, Q, 1).

    Args:
        logits: (R, Q, K).
        y: (Q,), int64, true classes.
    """
    return logits.softmax(dim=-1).gather(-1, y.expand(len(logits), -1)[..., None])


def miss_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Return how far pictures are from being taken for any incorrect class, a scalar.

    The cross-entropy of the union of all incorrect classes, -log(1 - p_true), averaged.

    Args:
        logits: (R, Q, K).
        y: (Q,), int64, true classes.
    """
    return -torch.log1p(-true_shares(logits, y).clamp(max=0.999)).mean()
