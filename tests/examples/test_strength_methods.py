"""Each method of the benchmark of strength does what its paper says, within the budget.

On a network of three layers, so that this takes seconds.
"""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import as_cache
from methods import METHODS, Method, ProtectRun
from methods.base import Task, published
from methods.generator import ClassMeanGenerator, encoder_decoder
from quickstart import SHAPES, draw
from torch import Tensor, nn

from protect.bait.looks import Batch
from protect.config.choices import Binding, Harden, NoiseMode, Targets
from protect.config.settings import RunConfig
from protect.data.cache import PixelCache
from protect.documents.document import Network, Weights
from protect.models.backbones import Backbone
from protect.system.device import generator

LEVELS = 8
SIDE = 32
DESCRIPTION = Network(
    name="test:small",
    weights=Weights(origin="none", file="", sha256=""),
    input_size=SIDE,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
NOISES = [name for name, method in METHODS.items() if isinstance(method, Method)]


def drawn(per_class: int, grey: bool = False) -> PixelCache:
    rng = random.Random(5)
    pictures = [draw(shape, rng) for shape in SHAPES.values() for _ in range(per_class)]
    small = [picture.resize((SIDE, SIDE)).convert("L" if grey else "RGB") for picture in pictures]
    pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in small])
    labels = torch.arange(len(SHAPES)).repeat_interleave(per_class)
    cache = as_cache(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels)
    return PixelCache(cache.pixels, cache.rows, labels, torch.full((len(labels),), grey))


class Small(Task):
    """The task of an owner whose every network has three layers."""

    def load(self, name: str = "", *, pretrained: bool) -> Backbone:
        """Return a fresh network; one that knows the pictures where it is to be pretrained."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            network = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, 2, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(16 * (SIDE // 4) ** 2, self.classes),
            )
        backbone = Backbone(network, DESCRIPTION, head="5")
        if pretrained:
            x, y, _ = self.at(torch.arange(len(self.pictures)))
            optimiser = torch.optim.Adam(backbone.parameters(), lr=0.002)
            for _ in range(25):
                optimiser.zero_grad()
                F.cross_entropy(backbone(x / 255), y).backward()
                optimiser.step()
        return backbone


def task_of(pictures: PixelCache) -> Task:
    channels = 1 if bool(pictures.grey.all()) else 3
    return Small(
        pictures=pictures,
        classes=len(SHAPES),
        noise_shape=(channels, SIDE, SIDE),
        levels=LEVELS,
        size=SIDE,
        seed=3,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def task() -> Task:
    return task_of(drawn(per_class=4))


@pytest.fixture(scope="module")
def learned(task: Task) -> nn.Module:
    return task.load(pretrained=True)


def loss_on(network: nn.Module, task: Task, noise: Tensor, shift: int = 0) -> float:
    """Return how far pictures with that noise are from being taken for their class, or another."""
    x, y, grey = task.at(torch.arange(len(task.pictures)))
    with torch.no_grad():
        logits = network.eval()(published(x, noise, grey) / 255)
    return F.cross_entropy(logits, (y + shift) % task.classes).item()


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("grey", [False, True])
def test_noise_is_within_the_budget_and_the_same_each_time(name: str, grey: bool) -> None:
    task = task_of(drawn(per_class=3, grey=grey))
    state = torch.random.get_rng_state()
    noise = METHODS[name].least().noise(task)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(noise) in (task.classes, len(task.pictures))
    assert noise.shape[1:] == task.noise_shape
    assert noise.dtype == torch.float32
    assert not noise.requires_grad
    assert noise.abs().max() <= LEVELS
    assert (noise.abs().max() > 0) == (name != "none")
    assert torch.equal(METHODS[name].least().noise(task), noise)


def test_random_signs_use_the_whole_budget_and_favour_no_sign(task: Task) -> None:
    for name, count in (("random-class", task.classes), ("random-picture", len(task.pictures))):
        noise = METHODS[name].noise(task)
        assert len(noise) == count
        assert set(noise.unique().tolist()) == {-LEVELS, LEVELS}
        assert abs(noise.mean()) < 0.5


@pytest.mark.parametrize(("name", "right"), [("lsp", (1.0, 1.0)), ("random-picture", (0.0, 0.5))])
def test_only_patches_tell_a_linear_classifier_the_class(name: str, right: tuple) -> None:
    """Fitted to the noise of half the pictures, it is right about that of the others, or is not."""
    task = task_of(drawn(per_class=12))
    noise = METHODS[name].noise(task).flatten(1)
    y, half = task.pictures.labels, torch.arange(len(noise)) % 2 == 0
    inner = noise[half] @ noise[half].T + torch.eye(int(half.sum()))
    weights = torch.linalg.solve(inner, F.one_hot(y[half]).float() - 1 / task.classes)
    answers = (noise[~half] @ noise[half].T @ weights).argmax(dim=1)
    low, high = right
    assert low <= (answers == y[~half]).float().mean() <= high


def test_patches_are_flat_and_differ_between_pictures_of_a_class(task: Task) -> None:
    noise = METHODS["lsp"].noise(task)
    cell = SIDE // 4
    patches = noise.unfold(2, cell, cell).unfold(3, cell, cell)
    assert patches.flatten(-2).std(dim=-1).max() == 0
    assert not torch.equal(noise[0], noise[1])
    assert (noise.flatten(1).abs().amax(dim=1) == LEVELS).all()


@pytest.mark.parametrize("name", ["emn-scratch", "emn-pretrained"])
def test_error_minimising_noise_lowers_the_loss_of_its_surrogate(name: str, task: Task) -> None:
    """Of the network as it was before it saw any noise, and pictures with it lie below others."""
    noise = replace(METHODS[name], rounds=8, batch_size=8, share=1.0, lr=0.01).noise(task)
    own = noise[task.pictures.labels]
    network = task.load(pretrained=True)
    clean = loss_on(network, task, torch.zeros_like(own))
    assert loss_on(network, task, own) < clean < loss_on(network, task, -own)


def test_error_minimising_steps_move_the_noise_of_the_classes_that_are_seen(
    task: Task, learned: nn.Module
) -> None:
    method = METHODS["emn-pretrained"]
    noise = torch.zeros(task.classes, *task.noise_shape)
    seen = (task.pictures.labels < 2).nonzero()[:, 0]
    method.descend(learned, noise, seen, task)
    assert (noise[:2].abs().flatten(1).amax(dim=1) > 0).all()
    assert (noise[:2].abs() <= method.step).all()
    assert (noise[2:] == 0).all()


def test_adversarial_noise_raises_the_probability_of_the_next_class(
    task: Task, learned: nn.Module
) -> None:
    """Of the first class where the own one is the last."""
    method = replace(METHODS["tap"], steps=20)
    every = torch.arange(len(task.pictures))
    noise = method.attack(learned, every, task, generator(0, "test"))
    nothing = torch.zeros_like(noise)
    clean, moved = (loss_on(learned, task, it, shift=1) for it in (nothing, noise))
    assert moved < 0.9 * clean
    assert loss_on(learned, task, -noise, shift=1) > clean
    last = task.pictures.labels == task.classes - 1
    x, _, grey = task.at(every[last])
    before, after = (
        learned(published(x, it[last], grey) / 255).softmax(dim=1)[:, 0].mean()
        for it in (nothing, noise)
    )
    assert after > before


def test_the_generator_halves_a_picture_three_times_and_doubles_it_again() -> None:
    network = encoder_decoder(width=2, blocks=2, channels=1)
    strides = [layer.stride[0] for layer in network if isinstance(layer, nn.Conv2d)]
    assert strides == [1, 2, 1, 2, 1, 2]
    noise = network(torch.rand(2, 3, 40, 24))
    assert noise.shape == (2, 1, 40, 24)
    assert noise.abs().max() < 1
    wide = encoder_decoder(width=16, blocks=8, channels=3)
    sizes = [layer.out_channels for layer in wide if isinstance(layer, nn.Conv2d)]
    assert sizes == [16, 32, 64, 128, 256, 512]


def test_a_class_wears_the_mean_of_what_is_made_for_its_own_pictures() -> None:
    task = task_of(drawn(per_class=2))
    torch.manual_seed(0)
    network = encoder_decoder(width=2, blocks=1, channels=3)
    patterns = ClassMeanGenerator(task, network, per_class=3).eval()
    x, _, _ = task.at(torch.arange(len(task.pictures)))
    with torch.no_grad():
        first, second = network(x / 255).view(task.classes, 2, 3, SIDE, SIDE).unbind(dim=1)
        for _ in range(4):
            # Three pictures are drawn of two: their mean divides what lies between in thirds.
            share = (patterns.means(per_class=3) - first) / (second - first)
            thirds = share.flatten(1).median(dim=1).values * 3
            assert (thirds - thirds.round()).abs().max() < 0.01
            assert 0 <= thirds.round().min() <= thirds.round().max() <= 3


def test_the_inner_level_sees_the_noise_that_the_last_outer_step_left(task: Task) -> None:
    patterns = METHODS["bait-published"].least().patterns(task)
    with torch.no_grad():
        assert patterns.table().abs().max() == 0
    table = patterns.table()
    table.square().mean().backward()
    assert all(parameter.grad is not None for parameter in patterns.network.parameters())
    with torch.no_grad():
        stored = patterns.table()
        assert 0 < stored.abs().max() <= LEVELS
        assert torch.equal(patterns.table(), stored)


def test_the_engine_moves_the_generator_until_its_noise_binds(task: Task) -> None:
    """By the loss of its outer step, on one batch seen in one way."""
    method = replace(METHODS["bait-published"].least(), lr=0.01)
    engine = method.engine(task, method.patterns(task))
    batch = Batch(*task.at(torch.arange(len(task.pictures))))
    targets = (batch.y + 2) % task.classes
    losses = []
    for _ in range(20):
        loss, _ = engine.outer_loss(None, batch, targets, generator(0, "views"))
        engine.outer_optimiser.zero_grad()
        loss.backward()
        engine.outer_optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_the_shipped_row_is_protect_run_without_a_flag_and_the_table_row_names_the_paper() -> None:
    shipped, table = METHODS["bait"], METHODS["bait-table"]
    assert isinstance(shipped, ProtectRun)
    usual = RunConfig(source="x")
    for name in ("binding", "targets", "mode", "harden", "preset", "rounds", "batch_size"):
        assert getattr(shipped, name) == getattr(usual, name)
    published = (Binding.HEAD, Targets.CURRICULUM, NoiseMode.CLASS)
    assert (table.binding, table.targets, table.mode) == published
    assert METHODS["bait-rounds"].harden == ()
    assert METHODS["bait-class"] == replace(
        METHODS["bait-rounds"],
        title=METHODS["bait-class"].title,
        source=METHODS["bait-class"].source,
        mode=NoiseMode.CLASS,
    )
    assert METHODS["bait-hardened"].harden == (Harden.JPEG,)
