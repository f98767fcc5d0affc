"""Which texture each class gets: the outer question of BAIT, asked of a finite choice.

Every picture of a sample is shown once with every texture, to a network that stays as it came; from
what it made of them `choice` finds the textures that mislead most.
"""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from protect.bait.alphabet import (
    FEWEST_TEXTURES,
    broad_alphabet,
    new_alphabet,
    size_of_alphabet,
)
from protect.bait.choice import (
    RANDOM_CHOICES,
    SWEEPS,
    Classes,
    Misled,
    Shown,
    choose,
    misled,
    taken_for_themselves,
)
from protect.bait.harden import View, at_most, plain
from protect.bait.looks import Pictures
from protect.bait.patterns import ClassPatterns
from protect.budget import publish
from protect.errors import ConfigError
from protect.models.features import seen_at
from protect.system.device import generator, moved
from protect.system.processes import from_first, place
from protect.system.shards import as_one_batch, own, whole

FEWEST = 6
"""Pictures of each class that a head is fitted to."""
ASKED = 1000
"""Clean pictures of all classes together that heads are asked about. They carry no texture, so that
they are shown but once; of few, the choice that misleads most misleads little beside them."""
SMALLEST_BATCH = 16
"""What is left of the pictures joins the batch before, if it is less: it has no statistics."""
PASSES = 3
"""Over the pictures, for batch normalisation to take in what published ones look like."""


def most_classes(shown: int) -> int:
    """Return how many classes a search has time for that shows so many pictures in all."""
    at_most = shown // (FEWEST * FEWEST_TEXTURES)
    return max(k for k in range(at_most + 1) if shown >= FEWEST * size_of_alphabet(k) * k)


def pictures_of_each(shown: int, classes: int) -> int:
    """Return how many pictures of each class are shown with every texture, if so many are in all.

    Raises:
        ConfigError: If that is too few for a head to be fitted to.
    """
    most = most_classes(shown)
    if classes > most:
        raise ConfigError(
            f"a search among textures that JPEG keeps has time for {most} classes of {classes}",
            "search longer with --preset strong, or leave --harden jpeg out",
        )
    return shown // (size_of_alphabet(classes) * classes)


def clean_of_each(each: int, classes: int) -> int:
    """Return how many clean pictures of each class heads are asked about, if so many carry one."""
    return max(each, ASKED // classes)


def draw_pictures(
    labels: Tensor, classes: int, count: int, asked: int, draws: torch.Generator
) -> list[Tensor]:
    """Draw `count` pictures of each class to carry textures, and up to `asked` to stay clean.

    Returns:
        Two lists of numbers of pictures, sorted by class; of a class with few the same are in both.
    """
    carrying, clean = [], []
    for k in range(classes):
        members = (labels == k).nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=draws)]
        carrying.append(members[:count])
        others = max(min(count, len(members) - count), 0)
        clean.append(members[others : others + asked])
    return [torch.cat(carrying), torch.cat(clean)]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a search takes.

    Attributes:
        seconds: About how long.
        n_bytes: Of main memory, for what the network made of the pictures.
    """

    seconds: float = 0.0
    n_bytes: int = 0


class Search:
    """A search for the textures that a table of patterns begins with.

    Args:
        surrogate: Takes (B, 3, H, W) in [0, 1] to features (B, D) and logits; it is not changed.
        patterns: The table.
        pictures: The training pictures.
        views: What is done to pictures before the network sees them.
        sizes: Two, in pixels, at which it sees them: at the first as they are, at the last in every
            view. The table is then one of `broad_start`. None for the size that it has.
        each: How many pictures of each class are shown with every texture; as many others are shown
            clean, and `clean_of_each` at one size.
        batch_size: Pictures that the network is shown at once.
        seed: Of every draw.

    Attributes:
        steps: How often `run` tells of progress.

    Raises:
        ConfigError: If each of several processes would not have a picture to show.
    """

    def __init__(
        self,
        surrogate: nn.Module,
        patterns: ClassPatterns,
        pictures: Pictures,
        views: Sequence[View],
        *,
        sizes: Sequence[int] = (),
        each: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self.surrogate = surrogate
        self.patterns = patterns
        self.pictures = pictures
        self.sizes = sizes
        self.classes = len(patterns.weight)
        self.looks: list[tuple[View, int | None]]
        if sizes:  # asking more, and through the whole blur, was no better there (tried.md)
            self.looks = [(plain, sizes[0]), *((view, sizes[-1]) for view in views)]
            asked = each
        else:
            self.looks = [(at_most(view), None) for view in views]
            asked = clean_of_each(each, self.classes)
        self.batch_size = batch_size
        self.device = patterns.weight.device
        self.draws = generator(seed, "textures")
        self.seed = seed
        self.textures = size_of_alphabet(self.classes)
        self.carrying, self.clean = draw_pictures(
            pictures.labels, self.classes, each, asked, self.draws
        )
        if len(self.carrying) < place().count:
            raise ConfigError(
                f"the search among textures has {len(self.carrying)} pictures to show, and "
                f"{place().count} processes",
                "start fewer processes",
            )
        labels = pictures.labels
        self.labels = Classes(labels[self.carrying], labels[self.clean], self.classes)
        self.networks = _networks(surrogate)
        self.steps = len(self.looks) * len(self.networks) * self.textures

    @cached_property
    def alphabet(self) -> ClassPatterns:
        """The textures to choose from."""
        draws = generator(self.seed, "alphabet")
        if self.sizes:
            return broad_alphabet(self.patterns, draws)
        return new_alphabet(self.patterns, self.pictures, draws)

    def run(self, tell: Callable[[], None]) -> Misled:
        """Choose the textures and take them; `tell` is called after each of `steps`.

        Returns:
            What the choice makes of clean pictures.
        """
        shown = self._show_all(range(self.textures), tell)
        # With two sizes few choices are good by both, and none but those with an anchor was.
        required = self.alphabet.anchor if self.sizes else None
        choice = from_first(lambda: choose(shown, self.labels, self.draws, required=required))
        self.patterns.take(self.alphabet, choice.to(self.device))
        return misled(shown, self.labels, choice)

    def cost(self) -> Cost:
        """Foretell what `run` would take, by showing one texture in every view."""
        before = time.perf_counter()
        _ = self.alphabet  # it is drawn when first asked for
        drawing = time.perf_counter() - before
        before = time.perf_counter()
        shown = self._show_all([0], lambda: None)
        showing = time.perf_counter() - before
        before = time.perf_counter()
        taken_for_themselves(shown, self.labels, torch.zeros(self.classes, dtype=torch.int64))
        choosing = time.perf_counter() - before
        compared = RANDOM_CHOICES + SWEEPS * self.classes * self.textures
        return Cost(
            drawing
            + showing * self._looked_at(self.textures) / self._looked_at(1)
            + choosing * compared,
            self.textures * sum(looks.carrying.nbytes for looks in shown),
        )

    def _looked_at(self, textures: int) -> int:
        """Return how many pictures a view shows, with so many textures and clean."""
        with_textures = len(self.networks) * textures + (len(self.networks) - 1) * PASSES
        return with_textures * len(self.carrying) + len(self.networks) * len(self.clean)

    def _show_all(self, chosen: Sequence[int], tell: Callable[[], None]) -> list[Shown]:
        shown = []
        for view, size in self.looks:
            for network in self.networks:
                with seen_at(network, size):
                    shown.append(self.show(network, view, chosen, tell))
        return shown

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
        for part in _batches(len(index), self.batch_size):
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


def _batches(count: int, size: int) -> list[Tensor]:
    """Split the numbers below `count` into batches, none of a few pictures beside others."""
    parts = list(torch.split(torch.arange(count), size))
    if len(parts) > 1 and len(parts[-1]) < SMALLEST_BATCH:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _networks(surrogate: nn.Module) -> list[nn.Module]:
    """Return who keeps the network as it came, and who adapts a copy, where that can differ.

    The second has the same weights, and batch normalisation that goes by published pictures, as
    after the first steps of a training.
    """
    surrogate.eval()
    if not _norms(surrogate):
        return [surrogate]
    adapted = copy.deepcopy(surrogate)
    for norm in _norms(adapted):
        norm.momentum = None  # a plain average over all batches
    return [surrogate, adapted]


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
