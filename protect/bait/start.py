"""Which texture each class starts from: the outer question of BAIT, asked of a finite choice.

Heads are fitted to pictures that carry the textures of their classes, as in `Engine.mislead`, and
asked about clean ones; textures are exchanged for as long as fewer of these are then taken for what
they are. The network stays as it came, so every picture is shown to it once with every texture, and
thousands of choices are compared by what it made of them.
"""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from protect.bait.binding import refitted_logits
from protect.bait.harden import View
from protect.bait.looks import Pictures
from protect.bait.patterns import ClassPatterns
from protect.bait.textures import textures
from protect.budget import publish
from protect.system.device import generator, moved
from protect.system.processes import from_first
from protect.system.shards import as_one_batch, own, whole

FEWEST_TEXTURES = 96
SPARE_TEXTURES = 1.5
"""To choose from: at least so many, and so many for each class."""
SATURATION = 1.8
"""Weight of a texture: tanh makes 95 % of the budget of it, which rounds to all of 8 levels."""
ROUNDS_WORTH = 10
"""A search shows the network, in each view, as many pictures as so many rounds of the loop do."""
FEWEST = 6
"""Pictures of each class that a head is fitted to; where there is no time for them, the textures
stay as they were dealt."""
BATCH = 128
PASSES = 3
"""Over the pictures, for batch normalisation to take in what published ones look like."""
RANDOM_CHOICES = 200
"""Compared before the best of them is improved."""
SWEEPS = 3
"""Times that each class is offered every other texture."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one frozen network made of pictures in one view.

    Attributes:
        carrying: (M, P, D), float16: features of each picture with each texture.
        clean: (Q, D), float32, features of clean pictures.
    """

    carrying: Tensor
    clean: Tensor


@dataclass(frozen=True, slots=True)
class Classes:
    """The true classes of the pictures: of those that carry textures, (P,), and of the clean, (Q,).

    Attributes:
        carrying: Of the former.
        clean: Of the latter.
        count: K.
    """

    carrying: Tensor
    clean: Tensor
    count: int


def dealt_start(classes: int, channels: int, draws: torch.Generator) -> Tensor:
    """Return weights of different textures, (K, C, 16, 16), whichever come first."""
    return SATURATION * textures(classes, draws).expand(-1, channels, -1, -1)


def new_alphabet(patterns: ClassPatterns, draws: torch.Generator) -> ClassPatterns:
    """Return a table of textures to choose from, otherwise like `patterns`; the last is faint."""
    classes, channels = patterns.weight.shape[:2]
    count = max(FEWEST_TEXTURES, round(SPARE_TEXTURES * classes))
    return ClassPatterns(
        dealt_start(count, channels, draws),
        patterns.height,
        patterns.width,
        patterns.budget,
        square=patterns.square,
        anchor=count - 1,
    ).to(patterns.weight.device)


def pictures_of_each(rounds_pictures: int, textures: int, classes: int) -> int:
    """Say how many pictures of each class there is time to show with every texture; 0 for none.

    Args:
        rounds_pictures: That a round of the loop shows.
        textures: M.
        classes: K.
    """
    count = ROUNDS_WORTH * rounds_pictures // (textures * classes)
    return count if count >= FEWEST else 0


def draw_pictures(labels: Tensor, classes: int, count: int, draws: torch.Generator) -> list[Tensor]:
    """Draw `count` pictures of each class to carry textures, and as many to stay clean.

    Returns:
        Two lists of numbers of pictures, sorted by class; of a class with few the same are in both.
    """
    carrying, clean = [], []
    for k in range(classes):
        members = (labels == k).nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=draws)]
        carrying.append(members[:count])
        clean.append(members[-count:])
    return [torch.cat(carrying), torch.cat(clean)]


class Search:
    """A search for the textures that a table of patterns begins with.

    Args:
        surrogate: Takes (B, 3, H, W) in [0, 1] to features (B, D) and logits; it is not changed.
        patterns: The table.
        pictures: The training pictures.
        views: What is done to pictures before the network sees them.
        rounds_pictures: Pictures that a round of the loop shows, by which the search is made short
            or long.
        seed: Of every draw.

    Attributes:
        steps: How often `run` tells of progress; 0 where there is no time for a search.
    """

    def __init__(
        self,
        surrogate: nn.Module,
        patterns: ClassPatterns,
        pictures: Pictures,
        views: Sequence[View],
        *,
        rounds_pictures: int,
        seed: int,
    ) -> None:
        self.surrogate = surrogate
        self.patterns = patterns
        self.pictures = pictures
        self.views = views
        self.device = patterns.weight.device
        self.draws = generator(seed, "textures")
        self.alphabet = new_alphabet(patterns, self.draws)
        self.textures, self.classes = len(self.alphabet.weight), len(patterns.weight)
        count = pictures_of_each(rounds_pictures, self.textures, self.classes)
        self.networks = _networks(surrogate) if count else []
        self.steps = len(views) * len(self.networks) * self.textures
        self.carrying, self.clean = draw_pictures(pictures.labels, self.classes, count, self.draws)

    def run(self, tell: Callable[[], None]) -> None:
        """Choose the textures and begin with them; `tell` is called after each of `steps`."""
        if not self.steps:
            return
        shown = [
            self.show(network, view, range(self.textures), tell)
            for view in self.views
            for network in self.networks
        ]
        labels = self.pictures.labels
        classes = Classes(labels[self.carrying], labels[self.clean], self.classes)
        choice = from_first(lambda: choose(shown, classes, self.draws))
        self.patterns.take(self.alphabet, choice.to(self.device))

    def seconds(self) -> float:
        """Return about how long `run` would take, by showing one texture in every view."""
        before = time.perf_counter()
        for view in self.views:
            for network in self.networks:
                self.show(network, view, [0], lambda: None)
        return (time.perf_counter() - before) * self.textures / (1 + PASSES)

    @torch.no_grad()
    def show(
        self, network: nn.Module, view: View, chosen: Iterable[int], tell: Callable[[], None]
    ) -> Shown:
        """Show pictures with each chosen texture to a frozen network, and clean ones.

        A network that adapts takes in before what published pictures look like.
        """
        if network is not self.surrogate:
            for norm in _norms(network):
                norm.reset_running_stats()
                norm.train()
            for _ in range(PASSES):
                mixed = torch.randint(self.textures, (len(self.carrying),), generator=self.draws)
                order = torch.randperm(len(mixed), generator=self.draws)
                self._features(network, view, self.carrying[order], mixed)
        network.eval()
        by_texture = []
        for texture in chosen:
            worn = torch.full((len(self.carrying),), texture)
            by_texture.append(self._features(network, view, self.carrying, worn).half())
            tell()
        clean = self._features(network, view, self.clean, None)
        return Shown(torch.stack(by_texture), clean)

    def _features(
        self, network: nn.Module, view: View, index: Tensor, worn: Tensor | None
    ) -> Tensor:
        """Return features (B, D) of the pictures at `index` (B,), with textures `worn` (B,)."""
        rows = []
        for part in torch.split(torch.arange(len(index)), BATCH):
            numbers = index[part]
            x = moved(self.pictures.batch(own(numbers)), self.device).float()
            if worn is not None:
                grey = self.pictures.grey[own(numbers)].to(self.device)
                textures = worn[part].to(self.device)
                x = publish(x, self.alphabet(textures, grey, *x.shape[-2:], self.draws))
            with as_one_batch():
                seen = network(view(x, self.draws) / 255)[0].float()
            rows.append(whole(seen, len(part)).cpu())
        return torch.cat(rows)


def choose(shown: Sequence[Shown], classes: Classes, draws: torch.Generator) -> Tensor:
    """Return a texture for each class, (K,), int64, no two the same.

    The best of some random choices, improved class by class: a texture that is free replaces the
    class's own, one that is not is exchanged with it, if that misleads more.
    """
    textures = len(shown[0].carrying)

    def loss(choice: Tensor) -> float:
        return taken_for_themselves(shown, classes, choice)

    choices = [
        torch.randperm(textures, generator=draws)[: classes.count] for _ in range(RANDOM_CHOICES)
    ]
    best = min(choices, key=loss)
    least = loss(best)
    for _ in range(SWEEPS):
        before = least
        for k in torch.randperm(classes.count, generator=draws).tolist():
            for texture in range(textures):
                other = best.clone()
                other[best == texture] = best[k]
                other[k] = texture
                now = loss(other)
                if now < least:
                    least, best = now, other
        if least == before:
            break
    return best


def taken_for_themselves(shown: Sequence[Shown], classes: Classes, choice: Tensor) -> float:
    """Return the mean probability that heads give to the true classes of clean pictures, in [0, 1].

    Args:
        shown: By network and view.
        classes: Of the pictures.
        choice: (K,), the texture of each class.
    """
    pictures = torch.arange(len(classes.carrying))
    shares = []
    for looks in shown:
        published = looks.carrying[choice[classes.carrying], pictures].float()
        logits = refitted_logits(published, classes.carrying, looks.clean, classes.count)
        asked = classes.clean.expand(len(logits), -1)[..., None]
        shares.append(logits.softmax(dim=-1).gather(-1, asked).mean())
    return torch.stack(shares).mean().item()


def _networks(surrogate: nn.Module) -> list[nn.Module]:
    """Return who keeps the network as it came, and who adapts a copy, where that can differ.

    The second has the same weights, and batch normalisation that goes by published pictures, as
    after the first steps of a training.
    """
    surrogate.eval()
    adapted = copy.deepcopy(surrogate)
    for norm in _norms(adapted):
        norm.momentum = None  # a plain average over all batches
    return [surrogate, adapted] if _norms(adapted) else [surrogate]


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
