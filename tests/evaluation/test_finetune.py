"""Fine-tuning learns what is there, and measures on clean pictures only."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import as_cache
from torch import Tensor, nn

from protect.data.cache import PixelCache
from protect.errors import MachineError
from protect.evaluation.attacks.base import Attack
from protect.evaluation.finetune import answers_to, fine_tune
from protect.evaluation.learned import Answers, Learned
from protect.evaluation.probe import embed
from protect.evaluation.recipes import Recipe

CPU = torch.device("cpu")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 5, padding=2)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))


def cache(labels: list[int], red: list[int], seed: int = 0) -> PixelCache:
    """Return noise pictures with the given mean of the red channel."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (len(labels), 12, 12, 3))
    pixels[..., 0] += np.array(red)[:, None, None]
    pictures = torch.from_numpy(pixels.astype(np.uint8)).permute(0, 3, 1, 2)
    return as_cache(pictures, torch.tensor(labels))


LABELS = [0, 1] * 30
RED = [0, 120] * 30


def train(
    train_set: PixelCache,
    test_set: PixelCache,
    seed: int = 0,
    attack: Attack | None = None,
    **changes,
) -> tuple:
    learned = learn(train_set, test_set, seed, attack, **changes)
    assert learned.diverged_in is None
    return learned.curve


def learn(
    train_set: PixelCache,
    test_set: PixelCache,
    seed: int = 0,
    attack: Attack | None = None,
    network: nn.Module | None = None,
    **changes,
) -> Learned:
    recipe = Recipe(**{"epochs": 6, "batch_size": 10, "lr": 0.05, "source": "test"} | changes)
    seen = []
    learned = fine_tune(
        network or Small(),
        train_set,
        test_set,
        recipe,
        classes=2,
        attack=attack or Attack(),
        seed=seed,
        device=CPU,
        on_epoch=seen.append,
    )
    sound = learned.curve if learned.diverged_in is None else learned.curve[:-1]
    assert seen == list(sound)
    return learned


def test_it_learns_a_signal_and_swapped_labels_turn_it_round():
    test = cache(LABELS, RED, seed=1)
    assert train(cache(LABELS, RED), test)[-1] == 1
    swapped = cache([1 - label for label in LABELS], RED)
    assert train(swapped, test)[-1] == 0


def test_it_learns_nothing_where_nothing_is():
    nothing = [0] * 200
    labels = [0, 1] * 100
    curve = train(cache(labels, nothing), cache(labels, nothing, seed=1))
    assert len(curve) == 6
    assert abs(curve[-1] - 0.5) < 0.15


def test_the_same_seed_gives_the_same_curve():
    sets = cache(LABELS, [0] * 60), cache(LABELS, [0] * 60, seed=1)
    assert train(*sets, seed=1) == train(*sets, seed=1)


def test_fewer_pictures_than_a_batch_still_train():
    few = cache([0, 1, 0, 1], [0, 120, 0, 120])
    curve = train(few, few, batch_size=64, epochs=30)
    assert curve[-1] >= 0.5


@pytest.mark.parametrize(
    ("asked", "used", "hint"),
    [(40, 40, "--batch-size 20"), (4096, 60, "--batch-size 30"), (2, 2, "--size")],
)
def test_memory_that_runs_out_names_the_batch_to_try(asked: int, used: int, hint: str):
    class Hungry(Small):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    sets = cache(LABELS, RED), cache(LABELS, RED, seed=1)
    with pytest.raises(MachineError, match=f"out of memory with {used} pictures a step") as caught:
        learn(*sets, network=Hungry(), batch_size=asked)
    assert hint in caught.value.hint


@pytest.mark.parametrize("clip", [0.01, None])
def test_clipping_bounds_how_far_a_step_goes(clip):
    network, lr, steps = Small(), 0.05, 36
    start = torch.cat([p.detach().flatten() for p in network.parameters()])
    fine_tune(
        network,
        cache(LABELS, RED),
        cache(LABELS, RED, seed=1),
        Recipe(6, 10, lr, "test", momentum=0.0, weight_decay=0.0, clip=clip),
        classes=2,
        attack=Attack(),
        seed=0,
        device=CPU,
        on_epoch=lambda accuracy: None,
    )
    moved = torch.cat([p.detach().flatten() for p in network.parameters()]) - start
    assert (moved.norm() <= lr * 0.01 * steps) == (clip is not None)


def test_adamw_moves_every_weight_by_its_rate_and_decays_apart_from_that():
    """Its first step has the size of the rate, however small a gradient is, as SGD's has not."""

    def moved(**changes) -> tuple[Tensor, Tensor]:
        network = Small()
        start = torch.cat([p.detach().flatten() for p in network.parameters()])
        few = cache(LABELS[:10], RED[:10])
        learn(few, few, network=network, epochs=1, **changes)
        return start, torch.cat([p.detach().flatten() for p in network.parameters()]) - start

    start, steps = moved(optimiser="adamw", lr=1e-3, weight_decay=0.0)
    assert 1e-3 * (1 + 1e-5) > steps.abs().quantile(0.1) > 0.9e-3
    _, decayed = moved(optimiser="adamw", lr=1e-3, weight_decay=0.5)
    assert torch.allclose(decayed - steps, -1e-3 * 0.5 * start, atol=1e-7)
    _, other = moved(optimiser="sgd", lr=1e-3, weight_decay=0.0)
    assert other.abs().quantile(0.1) < 0.1e-3


class Late(Small):
    """Breaks after some steps: in what it learns from, or only in evaluation mode."""

    def __init__(self, steps: int, while_training: bool) -> None:
        super().__init__()
        self.left, self.while_training = steps, while_training

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        broken = self.left < 0 and self.training is self.while_training
        return super().forward(x) * (torch.nan if broken else 1)


@pytest.mark.parametrize("while_training", [True, False])
def test_a_training_that_diverges_ends_there_and_is_marked(while_training):
    test = cache(LABELS, RED)
    learned = learn(cache(LABELS, RED), test, network=Late(14, while_training))
    assert learned.diverged_in == 3
    assert learned.curve[-1] == 0
    assert len(learned.curve) == 3


def test_a_loss_that_explodes_at_once_leaves_no_accuracy():
    exploded = learn(cache(LABELS, RED), cache(LABELS, RED), lr=1e38)
    assert exploded == Learned((Answers((30, 30), (0, 0), (0, 0)),), 1)
    assert exploded.curve == (0.0,)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_answers_that_are_no_numbers_are_no_accuracy(value):
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = torch.zeros(len(x), 2)
            logits[-1, 1] = value
            return logits

    assert answers_to(cache(LABELS, RED), Broken(), CPU, 8) is None


def test_answers_are_counted_by_class_in_evaluation_mode():
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            return F.one_hot((x.mean(dim=(1, 2, 3)) > 0.2).long(), 2).float()

    answers = answers_to(cache(LABELS, RED), Fixed(), CPU, 8)
    assert answers == Answers((30, 30), (30, 30), (30, 30))
    assert answers.accuracy == 1
    answers = answers_to(cache([1] * 60, RED), Fixed(), CPU, 8)
    assert answers == Answers((0, 60), (30, 30), (0, 30))
    assert answers.accuracy == 0.5


def test_an_attack_changes_each_batch_and_the_loss():
    class Blind(Attack):
        """Hides every picture."""

        def augment(self, view, targets, draws):
            assert view.min() >= 0
            assert view.max() <= 1
            assert targets.sum(dim=1).eq(1).all()
            return torch.zeros_like(view), targets

    class Swapped(Attack):
        """Learns the other class."""

        def loss(self, classify, view, targets, draws):
            return F.cross_entropy(classify(view), targets.flip(1))

    test = cache(LABELS, RED, seed=1)
    assert train(cache(LABELS, RED), test, attack=Blind())[-1] <= 0.6
    assert train(cache(LABELS, RED), test, attack=Swapped())[-1] == 0


class Dropping(Small):
    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.conv(x)))
        return self.head(F.dropout(features, 0.5, self.training).mean(dim=(2, 3)))


def test_what_layers_draw_depends_on_the_seed_alone():
    """Not on what was trained before in the same process, which a journal may have saved it."""

    def weights(seed: int, drawn_before: int) -> Tensor:
        network = Dropping()
        torch.rand(drawn_before)
        before = torch.get_rng_state()
        learn(cache(LABELS, RED), cache(LABELS, RED, 1), seed, network=network, epochs=1)
        assert torch.equal(torch.get_rng_state(), before)
        return network.head.weight.detach()

    assert torch.equal(weights(0, 0), weights(0, 5))
    assert not torch.equal(weights(0, 0), weights(1, 0))


@pytest.mark.parametrize(("batch_size", "most"), [(4, 8), (32, 60)])
def test_no_more_is_looked_at_at_once_than_there_is_memory_to_train(batch_size: int, most: int):
    """Looking takes less than half of it: nothing is kept for a gradient."""
    seen = []

    class Watching(Small):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return super().forward(x)

    pictures = cache(LABELS, RED)
    answers_to(pictures, Watching(), CPU, batch_size)
    assert (max(seen), sum(seen)) == (most, 60)
    seen.clear()
    embed(Watching(), pictures, CPU, batch_size)
    assert (max(seen), sum(seen)) == (most, 60)
