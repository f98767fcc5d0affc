"""Attacks that learn the noise from the whole training set, and take it out of each picture.

All subtract one float picture from each training picture and bring the result back to whole levels
in [0, 255], because that is what a stored picture holds. Test pictures stay as they are.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from protect.data.cache import PixelCache
from protect.evaluation.attacks.base import Attack

FEWEST_EPOCHS = 20
FEWEST_STEPS = 980
"""What 20 epochs are on CIFAR-10, which the source uses."""
LEARNING_RATE = 0.1
BATCH = 1024
SPECTRA = 64
"""Taken at once: one of a colour picture is 16 times as large as the picture."""
STANDS_OUT = 2.0
"""A wave of a class does, that is so many times as strong as what is around it. At 1.5 pictures
lose more of their own, at 3 more of the noise stays (examples/benchmarks/tried.md)."""
NEIGHBOURS = 4
"""How many waves to each side those are."""


class Projection(Attack):
    """Train a linear classifier on raw pixels, and take out all that it looks at.

    Its K weight vectors span what tells the classes apart linearly, which noise that is the same
    for a whole class is. Each picture loses its part in that span.

    Differs from its source in three ways, each to the stranger's gain. Measured on 1,000 drawn
    pictures of 10 classes, 32 x 32, with a pattern of +-8 levels per class:

    - Weights start at 0, not at random. A random start hides what few steps learn: 92 % of the
      pattern stays, against 32 %.
    - Small sets are trained for as many steps as CIFAR-10, not for 20 epochs: 23 % stays, and
      pictures change by 9 levels (root mean square), not by 23.
    - Pictures are projected about their mean, so that what all share, which is not noise, is kept.
      About 0, half of all values leave [0, 255] and are clipped.
    """

    name = "projection"
    source = "orthogonal projection, github.com/psandovalsegura/learn-from-unlearnable"

    def fit(self, train: PixelCache, classes: int, draws: torch.Generator) -> None:
        """Train the linear classifier: softmax, no bias, pixels in [0, 1], plain SGD.

        Args:
            train: The training pictures.
            classes: K, at least 2.
            draws: Of the order, anew in each epoch.
        """
        batch = min(BATCH, len(train))
        size = train.batch(torch.zeros(1, dtype=torch.int64)).numel()
        weights = torch.zeros(classes, size, requires_grad=True)
        optimiser = torch.optim.SGD([weights], lr=LEARNING_RATE)
        epochs = max(FEWEST_EPOCHS, math.ceil(FEWEST_STEPS / math.ceil(len(train) / batch)))
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [epochs // 2, epochs * 3 // 4])
        for _ in range(epochs):
            for index in torch.split(torch.randperm(len(train), generator=draws), batch):
                pixels = train.batch(index).flatten(1).float() / 255
                loss = F.cross_entropy(pixels @ weights.T, train.labels[index])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            schedule.step()
        # The gradients of a softmax sum to 0 over the classes, and so do weights that start at 0:
        # the last vector is in the span of the others.
        self.basis = torch.linalg.qr(weights.detach()[:-1].T.double()).Q
        self.mean = _class_means(train, classes)[1].flatten()

    def edit(self, pixels: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Take out of each picture its part in the span, about the mean picture.

        Args:
            pixels: (B, 3, H, W), uint8, any device; float64 is computed on the CPU, so that no
                value depends on the batch it is in.
            labels: Not looked at.

        Returns:
            The same shape, type and device, rounded and clipped.
        """
        part = (pixels.flatten(1).cpu().double() - self.mean) @ self.basis @ self.basis.T
        return _subtract(pixels, part.view(pixels.shape))


class ClassMean(Attack):
    """Subtract from each picture how the mean of its class differs from the mean of all."""

    name = "class-mean"
    source = "class-mean recovery, README of github.com/psandovalsegura/learn-from-unlearnable"

    def fit(self, train: PixelCache, classes: int, draws: torch.Generator) -> None:  # noqa: ARG002
        """Average the pictures of each class.

        Args:
            train: The training pictures.
            classes: K.
            draws: Not used.
        """
        means, mean = _class_means(train, classes)
        self.offsets = means - mean

    def edit(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Subtract the offset of each picture's class.

        Args:
            pixels: (B, 3, H, W), uint8, any device.
            labels: (B,), int64, classes that `fit` has seen.

        Returns:
            The same shape, type and device, rounded and clipped.
        """
        return _subtract(pixels, self.offsets[labels.cpu()])


class Spectrum(Attack):
    """Weaken the waves by which the pictures of a class stand out, to what is around them.

    Textures that repeat are a few waves, and where in a picture they begin changes none of their
    strengths: the mean spectrum of a class shows them as peaks. Waves that half of all classes have
    pass for the pictures' own.
    """

    name = "spectrum"
    source = "peaks of class spectra, from knowing this tool (examples/benchmarks/tried.md)"

    def fit(self, train: PixelCache, classes: int, draws: torch.Generator) -> None:  # noqa: ARG002
        """Find the peaks of each class's mean spectrum, beside the other classes'.

        Args:
            train: The training pictures.
            classes: K.
            draws: Not used.
        """
        size = train.batch(torch.zeros(1, dtype=torch.int64)).shape[-2:]
        power = torch.zeros(classes, *size, dtype=torch.float64)
        for index in torch.split(torch.arange(len(train)), SPECTRA):
            waves = torch.fft.fft2(train.batch(index).double())
            power.index_add_(0, train.labels[index], waves.abs().square().mean(dim=1))
        counts = torch.bincount(train.labels, minlength=classes)
        rounding = size.numel() / 12  # power of a wave in pictures of whole levels, at the least
        strength = (power / counts[:, None, None] + rounding).sqrt()
        beside = strength / strength.nanmedian(dim=0).values
        around = torch.stack([_local_median(each) for each in beside])
        kept = torch.where(beside > STANDS_OUT * around, around / beside, 1.0)
        kept[:, 0, 0] = 1.0  # how bright a picture is
        self.removed = 1 - kept[..., : kept.shape[-1] // 2 + 1]

    def edit(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Weaken the waves of each picture's class.

        Args:
            pixels: (B, 3, H, W), uint8, any device.
            labels: (B,), int64, classes that `fit` has seen.

        Returns:
            The same shape, type and device, rounded and clipped.
        """
        edited = []
        parts = torch.split(pixels, SPECTRA), torch.split(labels.cpu(), SPECTRA)
        for part, k in zip(*parts, strict=True):
            waves = torch.fft.rfft2(part.cpu().double()) * self.removed[k][:, None]
            edited.append(_subtract(part, torch.fft.irfft2(waves, s=part.shape[-2:])))
        return torch.cat(edited)


def _local_median(spectrum: Tensor) -> Tensor:
    """Return the median around each wave of a whole spectrum (H, W), which goes on at its edges."""
    reach = min(NEIGHBOURS, *(side - 1 for side in spectrum.shape))
    padded = F.pad(spectrum[None, None], (reach,) * 4, mode="circular")
    around = F.unfold(padded, 2 * reach + 1).median(dim=1).values
    return around.view(spectrum.shape)


def _class_means(train: PixelCache, classes: int) -> tuple[Tensor, Tensor]:
    """Return the mean picture of each class (K, 3, H, W) and of all (3, H, W), float64, 0 to 255.

    The mean of a class without pictures is not a number.
    """
    sums = torch.zeros(classes, *train.batch(torch.zeros(1, dtype=torch.int64)).shape[1:])
    sums = sums.double()
    for index in torch.split(torch.arange(len(train)), BATCH):
        sums.index_add_(0, train.labels[index], train.batch(index).double())
    counts = torch.bincount(train.labels, minlength=classes)
    return sums / counts[:, None, None, None], sums.sum(dim=0) / len(train)


def _subtract(pixels: Tensor, part: Tensor) -> Tensor:
    """Return `pixels` less `part` (B, 3, H, W), float64 on the CPU, as whole levels again."""
    less = pixels.cpu().double() - part
    return less.round().clamp(0, 255).to(torch.uint8).to(pixels.device)
