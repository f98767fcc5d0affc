"""Adversarial training: the network learns from the worst pictures nearby.

Noise within the same distance loses its hold on a network that is wrong nowhere around a picture.
"""

import torch
from torch import Tensor

from protect.evaluation.attacks.base import Attack, Classifier

RADIUS = 8 / 255
STEP = 2 / 255
STEPS = 10


class Adversarial(Attack):
    """Ten steps up the loss before each step down it."""

    name = "adversarial"
    source = "adversarial training, L-inf 8/255, 10 steps of 2/255, APBench"

    def loss(
        self, classify: Classifier, view: Tensor, targets: Tensor, draws: torch.Generator
    ) -> Tensor:
        """Return the cross-entropy on the worst pictures found nearby.

        Args:
            classify: Called eleven times.
            view: (B, 3, H, W), float in [0, 1].
            targets: (B, K), class probabilities.
            draws: On the CPU.
        """
        start = (2 * torch.rand(view.shape, generator=draws) - 1).to(view.device)
        low, high = (view - RADIUS).clamp(min=0), (view + RADIUS).clamp(max=1)
        nearby = (view + RADIUS * start).clamp(low, high)
        for _ in range(STEPS):
            nearby.requires_grad_()
            loss = super().loss(classify, nearby, targets, draws)
            (slope,) = torch.autograd.grad(loss, nearby)
            nearby = (nearby.detach() + STEP * slope.sign()).clamp(low, high)
        return super().loss(classify, nearby, targets, draws)
