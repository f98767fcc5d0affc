"""The bi-level loop of BAIT (method sections 1 and 3).

Inner level: the surrogate learns pictures with the noise of their TRUE class, under their true
label. Outer level: on a surrogate that has looked one such step ahead, the noise of an INCORRECT
class is moved until any picture that carries it is taken for that class: noise beats picture. In
feature space every other outer step asks the question from the other side: the noise of the true
classes is moved until a head fitted to it takes CLEAN pictures for incorrect classes. Some of these
heads belong to a stranger who trains the network, some to one who keeps it as it came.

Tensors in, tensors out: no file, path or screen here.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from protect.bait.binding import centroid_logits, miss_loss, refitted_logits
from protect.bait.choice import Misled
from protect.bait.harden import View, plain, views_of
from protect.bait.looks import Batch, Pictures, Round, Stranger
from protect.bait.patterns import ClassPatterns
from protect.bait.targets import POLICIES, stage_at, taken_for
from protect.budget import publish
from protect.config.choices import Binding, Harden, Targets
from protect.config.settings import Effort
from protect.data.augment import random_crop_flip
from protect.errors import MachineError
from protect.system.device import generator, global_draws, moved
from protect.system.shards import (
    as_one_batch,
    average_gradients,
    averaged,
    own,
    own_rows,
    whole,
)

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
GRADIENT_CLIP = 5.0
"""Of the surrogate's real step, as in the authors' code (method section 3)."""
BARE_SHARE = 0.15
"""Of pictures that are bound to the anchor class without any noise."""
LAST_RATE = 0.05
"""Of the outer rate, which a cosine takes down round by round."""


class Engine:
    """Alternates inner and outer steps; `advance` does one round.

    Every draw derives from (seed, round), so a restored engine goes on exactly as if it had never
    stopped.

    Args:
        surrogate: Takes (B, 3, H, W) in [0, 1] to features (B, D) and logits (B, K), fresh, as a
            stranger would start with it; its weights are changed.
        patterns: The noise; its weights are what is wanted.
        pictures: The training pictures.
        effort: Counts and rates.
        targets: Policy that picks incorrect classes.
        binding: By what a picture counts as bound.
        harden: Changes that the noise is to survive; every round goes through none or one of them.
        seed: Of every draw.
        device: Where `surrogate` and `patterns` are.
    """

    def __init__(
        self,
        surrogate: nn.Module,
        patterns: ClassPatterns,
        pictures: Pictures,
        *,
        effort: Effort,
        targets: Targets,
        binding: Binding,
        harden: Sequence[Harden] = (),
        seed: int,
        device: torch.device,
    ) -> None:
        self.surrogate = surrogate
        self.patterns = patterns
        self.pictures = pictures
        self.effort = effort
        self.policy = targets
        self.binding = binding
        self.views = views_of(harden)
        self.view: View = plain
        self.seed = seed
        self.device = device
        self.start = {name: value.clone() for name, value in surrogate.state_dict().items()}
        self.round = 0
        self.bound: list[float] = []
        classes = patterns.weight.shape[0]
        self.target_counts = torch.zeros(
            len(POLICIES[targets]), classes, classes, dtype=torch.int64, device=device
        )
        self.searched_counts = torch.zeros_like(self.target_counts[0])
        self.inner_optimiser = torch.optim.SGD(
            surrogate.parameters(),
            lr=effort.inner_lr,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
        )
        self.outer_optimiser = torch.optim.Adam(patterns.parameters(), lr=effort.outer_lr)

    def plan(self, rounds: int | None = None, batch_size: int | None = None) -> None:
        """Set what was planned by measuring, where it is given; the rest stays as it is.

        Args:
            rounds: How many there are; what the first one does is the same for any number.
            batch_size: Pictures a step.
        """
        planned = {"rounds": rounds, "batch_size": batch_size}
        changed = {name: value for name, value in planned.items() if value is not None}
        self.effort = self.effort.model_copy(update=changed)

    @property
    def finished(self) -> bool:
        """Whether every round has been done."""
        return self.round >= self.effort.rounds

    def advance(self) -> Round:
        """Do one round: look ahead, bind the noise to incorrect targets, take the real step.

        Raises:
            MachineError: If a loss or the noise is no longer finite.
        """
        draws = generator(self.seed, "round", self.round)
        stage = stage_at(self.policy, self.round, self.effort.rounds)
        self.view = self.views[self.round % len(self.views)]
        inner = self._draw(draws)

        ahead = self.look_ahead(inner, draws)
        strangers = self._strangers(ahead, draws)
        self._set_outer_rate()
        outer_losses, hits = [], []
        for step in range(self.effort.outer_steps):
            batch = self._draw(draws)
            if strangers and step % 2 == 0:
                stranger = strangers[step // 2 % len(strangers)]
                loss, hit = self.mislead(stranger, batch, stage, draws)
            else:
                loss, hit = self.bind(ahead, batch, stage, draws)
            outer_losses.append(loss)
            hits.append(hit)
        inner_loss = self.learn(inner, draws)

        done = Round(
            index=self.round,
            stage=stage,
            inner_loss=inner_loss.item(),
            outer_loss=torch.stack(outer_losses).mean().item(),
            bound=torch.stack(hits).mean().item(),
        )
        self._require_finite(done)
        self.bound.append(done.bound)
        self.round += 1
        return done

    def note(self, searched: Misled) -> None:
        """Record which incorrect classes a search bound the classes to, before the first round."""
        y, targets = searched.y.to(self.device), searched.targets.to(self.device)
        _count(self.searched_counts, y, targets)
        self.bound.append(searched.share)

    def look_ahead(self, batch: Batch, draws: torch.Generator) -> dict[str, Tensor]:
        """Return the surrogate's parameters and buffers after one plain SGD step.

        The step is on (x + noise of the true class, true class). The result is detached: the
        authors' code passes no gradient through it either (method section 3).
        """
        parameters = dict(self.surrogate.named_parameters())
        buffers = {name: buffer.clone() for name, buffer in self.surrogate.named_buffers()}
        loss = self.inner_loss({**parameters, **buffers}, batch, draws)
        slopes = averaged(torch.autograd.grad(loss, list(parameters.values()), allow_unused=True))
        rate = self.effort.inner_lr
        stepped = {
            name: (value if slope is None else value - rate * slope).detach()
            for (name, value), slope in zip(parameters.items(), slopes, strict=True)
        }
        return {**stepped, **buffers}

    def bind(
        self, ahead: Mapping[str, Tensor], batch: Batch, stage: int, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Move the noise of incorrect classes so that pictures that carry it are taken for them.

        Returns:
            The loss, and the share of pictures taken for their target; scalars, detached.
        """
        targets = self.choose_targets(ahead, batch, stage, draws)
        bare = torch.zeros_like(targets, dtype=torch.bool)
        if self.patterns.anchor is not None:
            drawn = torch.rand(len(targets), generator=draws).to(self.device) < BARE_SHARE
            bare = drawn & (batch.y != self.patterns.anchor)
            targets = targets.masked_fill(bare, self.patterns.anchor)
        loss, hit = self.outer_loss(ahead, batch, targets, draws, bare)
        self._step_outwards(loss)
        _count(self.target_counts[stage], batch.y, targets)
        return loss.detach(), hit

    def mislead(
        self, stranger: Stranger, batch: Batch, stage: int, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Move the noise so that heads fitted to published pictures take clean ones for others.

        Returns:
            The loss, and the share of clean pictures taken for an incorrect class; scalars,
            detached.
        """
        published = self._with_noise_of(batch.y, batch, draws)
        features, _ = self._see(
            stranger.weights, published, len(batch.y), draws, training=stranger.training
        )
        classes = self.patterns.weight.shape[0]
        logits = refitted_logits(features, batch.y, stranger.clean, classes)
        loss = miss_loss(logits, stranger.y)
        self._step_outwards(loss)
        answers = logits.detach().mean(dim=0)
        _count(self.target_counts[stage], stranger.y, taken_for(answers, stranger.y))
        return loss.detach(), (answers.argmax(dim=1) != stranger.y).float().mean()

    def learn(self, batch: Batch, draws: torch.Generator) -> Tensor:
        """Take the surrogate's real step on (x + noise of the true class, true class)."""
        loss = self.inner_loss(None, batch, draws)
        self.inner_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.surrogate.parameters())
        nn.utils.clip_grad_norm_(self.surrogate.parameters(), GRADIENT_CLIP)
        self.inner_optimiser.step()
        return loss.detach()

    def choose_targets(
        self, ahead: Mapping[str, Tensor], batch: Batch, stage: int, draws: torch.Generator
    ) -> Tensor:
        """Pick an incorrect class for each picture: (B,), int64, never the true one.

        Rules that rank classes read the looked-ahead surrogate on the CLEAN picture.
        """
        rule = POLICIES[self.policy][stage]
        classes = self.patterns.weight.shape[0]
        if rule.reads_logits:
            with torch.no_grad():
                _, logits = self._see(ahead, batch.x, len(batch.y), draws)
        else:
            logits = batch.x.new_zeros(len(batch.y), classes)
        return rule.rule(logits, batch.y, draws)

    def inner_loss(
        self, weights: Mapping[str, Tensor] | None, batch: Batch, draws: torch.Generator
    ) -> Tensor:
        """Cross-entropy of pictures with the noise of their true class, to their true class."""
        with torch.no_grad():
            published = self._with_noise_of(batch.y, batch, draws)
        _, logits = self._see(weights, published, len(batch.y), draws)
        return F.cross_entropy(logits, batch.y)

    def outer_loss(
        self,
        weights: Mapping[str, Tensor] | None,
        batch: Batch,
        targets: Tensor,
        draws: torch.Generator,
        bare: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of pictures with the noise of their target class, to their target class.

        Pictures marked in `bare` (B,) carry no noise.

        The logits are those of the surrogate's head, as published, or of the nearest centroid in
        feature space (see `binding`).

        Returns:
            The loss, and the share of pictures that were taken for their target; scalars.
        """
        published = self._with_noise_of(targets, batch, draws)
        if bare is not None:
            published = torch.where(own(bare)[:, None, None, None], batch.x, published)
        features, logits = self._see(weights, published, len(batch.y), draws)
        compared = torch.ones_like(targets, dtype=torch.bool)
        if self.binding is Binding.FEATURES:
            logits, compared = centroid_logits(features, targets, logits.shape[1])
        losses = F.cross_entropy(logits, targets, reduction="none")
        # Without company a picture has no centroid to be near to; a mean over none would be nan.
        loss = losses.where(compared, 0).sum() / compared.sum().clamp(min=1)
        return loss, (logits.argmax(dim=1) == targets).float().mean()

    def _with_noise_of(self, classes: Tensor, batch: Batch, draws: torch.Generator) -> Tensor:
        height, width = batch.x.shape[-2:]
        return publish(batch.x, self.patterns(classes, batch.grey, height, width, draws))

    def _see(
        self,
        weights: Mapping[str, Tensor] | None,
        pixels: Tensor,
        count: int,
        draws: torch.Generator,
        *,
        training: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Show pixels in [0, 255] to the surrogate as a stranger's training would, or his test.

        Each process shows its own rows of a batch of `count`; features and logits are of all.
        """
        seen = self.view(pixels, draws)
        view = random_crop_flip(seen, draws, own_rows(count), count) / 255
        self.surrogate.train(training)
        autocast = torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"
        )
        with autocast, as_one_batch(), global_draws(draws, self.device):
            if weights is None:
                features, logits = self.surrogate(view)
            else:
                features, logits = functional_call(self.surrogate, dict(weights), (view,))
        return whole(features.float(), count), whole(logits.float(), count)

    def _strangers(self, ahead: Mapping[str, Tensor], draws: torch.Generator) -> list[Stranger]:
        """Return who fits heads to published pictures: who never trains the network, or who does.

        One step in three is given to the first, a linear probe. Empty where binding is by the
        surrogate's own head.
        """
        if self.binding is Binding.HEAD:
            return []
        probe = self._stranger(self.start, draws, training=False)
        trained = self._stranger(ahead, draws, training=True)
        return [probe, trained, trained]

    @torch.no_grad()
    def _stranger(
        self, weights: Mapping[str, Tensor], draws: torch.Generator, *, training: bool
    ) -> Stranger:
        """Let a stranger look at twice a batch of clean pictures, for all outer steps of a round.

        He looks as at test time: batch normalisation goes by what it saw in training.
        """
        seen = [self._draw(draws) for _ in range(2)]
        clean = [
            self._see(weights, batch.x, len(batch.y), draws, training=False)[0] for batch in seen
        ]
        return Stranger(
            weights=weights,
            training=training,
            clean=torch.cat(clean),
            y=torch.cat([batch.y for batch in seen]),
        )

    def _set_outer_rate(self) -> None:
        fade = 0.5 * (1 + math.cos(math.pi * self.round / self.effort.rounds))
        for group in self.outer_optimiser.param_groups:
            group["lr"] = self.effort.outer_lr * (LAST_RATE + (1 - LAST_RATE) * fade)

    def _step_outwards(self, loss: Tensor) -> None:
        self.outer_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.patterns.parameters())
        self.outer_optimiser.step()

    def _draw(self, draws: torch.Generator) -> Batch:
        index = torch.randint(len(self.pictures), (self.effort.batch_size,), generator=draws)
        return Batch(
            x=moved(self.pictures.batch(own(index)), self.device).float(),
            y=self.pictures.labels[index].to(self.device),
            grey=self.pictures.grey[own(index)].to(self.device),
        )

    def _require_finite(self, done: Round) -> None:
        figures = torch.tensor([done.inner_loss, done.outer_loss])
        if not (figures.isfinite().all() and self.patterns.weight.isfinite().all()):
            raise MachineError(
                f"the optimisation left the finite numbers in round {done.index} "
                f"(inner loss {done.inner_loss}, outer loss {done.outer_loss})",
                "try another --surrogate, another --seed, or --device cpu",
            )


def _count(counts: Tensor, y: Tensor, targets: Tensor) -> None:
    """Add samples of true classes `y` (B,) with targets (B,) to counts (K, K), in place."""
    counts.index_put_((y, targets), torch.ones_like(y), accumulate=True)
