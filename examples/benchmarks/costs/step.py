"""One round of the generation against the passes through the network that it cannot do without.

What a round of the defaults needs, counted on paper from `protect/bait/engine.py`, for the T outer
steps of a round (12 in the presets `standard` and `strong`) and one batch each:

| step of the method | passes | how often |
|---|---|---|
| look one inner step ahead | forward, backward to the parameters | 1 |
| strangers look at clean pictures: two of them, two batches each, as at test time | forward | 4 |
| mislead a stranger's head: every other outer step | forward, backward to the pixels | T / 2 |
| bind the noise to incorrect targets: the other outer steps | the same | T / 2 |
| the surrogate's real step | forward, backward to the parameters | 1 |

One misled stranger in three is a linear probe, whose batch normalisation stands still. Targets are
drawn at random in the defaults; the curriculum and `dissimilar` ask the surrogate for them, one
forward more in each step that binds. For T = 12 that makes 2 + 12 times forward and backward, and 4
times forward. Not needed by the method, and so overhead: the noise and its gradient, crop and flip,
rounding, the heads fitted in closed form, both optimisers, the copies of the parameters.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from costs.clock import in_turns
from costs.figures import Comparison
from protect.bait.engine import Engine
from protect.bait.patterns import ClassPatterns, random_start
from protect.config.choices import DEFAULT_BACKBONE, Binding, Preset, Targets
from protect.config.settings import EFFORTS, Effort
from protect.config.values import Eps
from protect.data.cache import PixelCache
from protect.models.backbones import Backbone, load_backbone
from protect.models.features import WithFeatures
from protect.system.device import generator, make_deterministic

PART = "step"
GOAL = 1.25
CLASSES = 10
PICTURES = 1024
PROBE_EVERY = 3
"""Of the strangers that are misled, one in so many is a linear probe."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How often a batch goes through the network in a round.

    Attributes:
        to_parameters: Forward, and backward to the parameters.
        to_pixels: Forward, and backward to the pixels, with batch normalisation as in training.
        to_pixels_frozen: The same with batch normalisation as at test time.
        forward: Forward only, as at test time.
    """

    to_parameters: int
    to_pixels: int
    to_pixels_frozen: int
    forward: int

    @classmethod
    def of_round(cls, outer_steps: int) -> "Passes":
        """Count those of a round of the defaults; see the table above."""
        misled = math.ceil(outer_steps / 2)
        probes = math.ceil(misled / PROBE_EVERY)
        return cls(
            to_parameters=2,
            to_pixels=outer_steps - probes,
            to_pixels_frozen=probes,
            forward=4,
        )


class BarePasses:
    """Passes through the surrogate as a few lines of PyTorch write them.

    Args:
        size: Side of the pictures in pixels.
        batch_size: Pictures in a pass.
        device: Where to compute.
    """

    def __init__(self, size: int, batch_size: int, device: torch.device) -> None:
        self.network = load_surrogate(size).to(device)
        draws = generator(0, "bare passes")
        self.x = torch.rand(batch_size, 3, size, size, generator=draws).to(device)
        self.y = torch.randint(CLASSES, (batch_size,), generator=draws).to(device)

    def run(self, passes: Passes) -> None:
        """Do so many passes of each kind, and wait for the last."""
        for _ in range(passes.to_parameters):
            self.to_parameters()
        for _ in range(passes.to_pixels):
            self.to_pixels()
        for _ in range(passes.to_pixels_frozen):
            self.to_pixels(training=False)
        for _ in range(passes.forward):
            self.forward()

    def to_parameters(self) -> None:
        """Forward, and backward to the parameters."""
        self.network.train().requires_grad_(True)
        self.network.zero_grad(set_to_none=True)
        self._backward(self.x)

    def to_pixels(self, training: bool = True) -> None:
        """Forward, and backward to the pixels."""
        self.network.train(training).requires_grad_(False)
        self._backward(self.x.clone().requires_grad_())

    def forward(self) -> None:
        """Forward only."""
        self.network.eval()
        with torch.no_grad(), half(self.x.device):
            self.network(self.x).float().sum().item()

    def _backward(self, x: Tensor) -> None:
        with half(x.device):
            logits = self.network(x)
        loss = F.cross_entropy(logits.float(), self.y)
        loss.backward()  # type: ignore[no-untyped-call]
        loss.item()


def measure_step(device: torch.device, *, quick: bool) -> Iterator[Comparison]:
    """Compare whole rounds with the bare passes of as many rounds."""
    effort = EFFORTS[Preset.STANDARD]
    size, pairs = 64, 5
    if quick:
        effort = effort.model_copy(update={"outer_steps": 2, "batch_size": 4})
        size, pairs = 32, 2
    engine = make_engine(effort, size, device)
    bare = BarePasses(size, effort.batch_size, device)
    passes = Passes.of_round(effort.outer_steps)

    def bare_round() -> None:
        with _as_it_comes():
            bare.run(passes)

    make_deterministic()
    seconds = in_turns(engine.advance, bare_round, pairs)
    what = f"a round: {effort.batch_size} pictures of {size} px, {effort.outer_steps} outer steps"
    yield _row(f"{what}, on the clock", [(ours.wall, other.wall) for ours, other in seconds])
    if device.type == "cpu":
        yield _row(f"{what}, CPU", [(ours.cpu, other.cpu) for ours, other in seconds])


def make_engine(effort: Effort, size: int, device: torch.device) -> Engine:
    """Set up the loop on random pictures, as `protect run` does with its defaults."""
    patterns = ClassPatterns(
        random_start(CLASSES, 3, generator(0, "patterns")),
        size,
        size,
        Eps.parse("8/255").levels,
        anchor=0,
    )
    return Engine(
        WithFeatures(load_surrogate(size)).to(device),
        patterns.to(device),
        random_pictures(PICTURES, size, seed=0),
        effort=effort,
        targets=Targets.RANDOM,
        binding=Binding.FEATURES,
        seed=0,
        device=device,
    )


def random_pictures(count: int, size: int, seed: int) -> PixelCache:
    """Make square pictures of random pixels, with random labels."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = torch.from_numpy(rng.integers(0, CLASSES, count))
    return PixelCache(pixels, np.arange(count), labels, torch.zeros(count, dtype=torch.bool))


def load_surrogate(size: int) -> Backbone:
    """Load the default surrogate, from the package that brings its weights."""
    return load_backbone(
        DEFAULT_BACKBONE, classes=CLASSES, size=size, weights={}, offline=True, seed=0
    )


def _row(what: str, pairs: list[tuple[float, float]]) -> Comparison:
    return Comparison.of_pairs(PART, what, "s", pairs, "bare passes", GOAL)


def half(device: torch.device) -> torch.autocast:
    """Compute with 16 bits where the engine does."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


@contextmanager
def _as_it_comes() -> Iterator[None]:
    """Let PyTorch choose its algorithms, as it does where nobody asks for equal results."""
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        make_deterministic()
