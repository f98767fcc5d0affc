"""How tightly noise binds pictures to a class in feature space, whatever the pictures show.

A stranger's network starts from pretrained features and a head of its own, which the surrogate's
head does not foretell. So binding is measured without one: pictures that carry the noise of one
class should lie closer to each other, in the features before the head, than to all others.
"""

import torch
from torch import Tensor

SHARPNESS = 10.0
"""Of the distances, in units of the pictures' own mean squared spread."""


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
