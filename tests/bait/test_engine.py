"""The mathematics of the bi-level loop, on surrogates small enough to compute by hand."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from protect.bait import engine as engine_module
from protect.bait.binding import centroid_logits, miss_loss, refitted_logits
from protect.bait.engine import Engine
from protect.bait.looks import Batch, Stranger
from protect.bait.patterns import ClassPatterns, random_start
from protect.bait.state import pack, unpack
from protect.config.choices import Binding, Targets
from protect.config.settings import Effort
from protect.errors import MachineError

CLASSES, SIDE, LEVELS = 3, 8, 8


class Table:
    """Pictures in memory, as the engine wants them."""

    def __init__(self, pixels: Tensor, labels: Tensor, grey: Tensor | None = None) -> None:
        self.pixels, self.labels = pixels, labels
        self.grey = torch.zeros(len(labels), dtype=torch.bool) if grey is None else grey

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor) -> Tensor:
        return self.pixels[index]


class Net(nn.Module):
    """A convolution, a batch norm (for buffers) and a head."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.norm(self.conv(x))).mean(dim=(2, 3))
        return features, self.head(features)


def make_engine(surrogate: nn.Module | None = None, **changes) -> Engine:
    torch.manual_seed(0)
    settings = {
        "classes": CLASSES,
        "targets": Targets.CURRICULUM,
        "effort": Effort(rounds=6, outer_steps=2, batch_size=8, inner_lr=0.1, outer_lr=0.1),
        "pixels": torch.randint(0, 256, (30, 3, SIDE, SIDE), dtype=torch.uint8),
        "levels": LEVELS,
        "seed": 3,
        "grey": None,
        "channels": 3,
        "binding": Binding.FEATURES,
        "anchor": None,
        "shifts": 1,
        "harden": (),
    } | changes
    labels = torch.arange(len(settings["pixels"])) % settings["classes"]
    draws = torch.Generator().manual_seed(settings["seed"])
    patterns = ClassPatterns(
        random_start(settings["classes"], settings["channels"], draws),
        SIDE,
        SIDE,
        settings["levels"],
        shifts=settings["shifts"],
        anchor=settings["anchor"],
    )
    return Engine(
        surrogate or Net(settings["classes"]),
        patterns,
        Table(settings["pixels"], labels, settings["grey"]),
        effort=settings["effort"],
        targets=settings["targets"],
        binding=settings["binding"],
        harden=settings["harden"],
        seed=settings["seed"],
        device=torch.device("cpu"),
    )


@pytest.fixture
def plain_view(monkeypatch):
    """Take flip and crop out, so that losses can be written down by hand."""
    monkeypatch.setattr(engine_module, "random_crop_flip", lambda pixels, draws, *_: pixels)


def a_batch() -> Batch:
    generator = torch.Generator().manual_seed(5)
    return Batch(
        x=torch.randint(0, 256, (6, 3, SIDE, SIDE), generator=generator).float(),
        y=torch.tensor([0, 1, 2, 0, 1, 2]),
        grey=torch.zeros(6, dtype=torch.bool),
    )


def by_hand(surrogate: nn.Module, x: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
    published = (x + noise).clamp(0, 255).round() / 255
    return F.cross_entropy(surrogate(published)[1], labels)


@pytest.mark.usefixtures("plain_view")
class TestLosses:
    def test_the_inner_loss_is_of_true_labels_under_the_true_class_noise(self):
        engine, batch, draws = make_engine(), a_batch(), torch.Generator()
        table = engine.patterns.table()
        expected = by_hand(engine.surrogate, batch.x, table[batch.y], batch.y)
        assert torch.allclose(engine.inner_loss(None, batch, draws), expected)
        wrong_noise = by_hand(engine.surrogate, batch.x, table[(batch.y + 1) % 3], batch.y)
        wrong_label = by_hand(engine.surrogate, batch.x, table[batch.y], (batch.y + 1) % 3)
        wrong_sign = by_hand(engine.surrogate, batch.x, -table[batch.y], batch.y)
        for wrong in (wrong_noise, wrong_label, wrong_sign):
            assert not torch.allclose(expected, wrong)

    @pytest.mark.parametrize("binding", list(Binding))
    def test_the_outer_loss_is_of_target_labels_under_the_target_class_noise(self, binding):
        engine, batch, draws = make_engine(binding=binding), a_batch(), torch.Generator()
        targets = torch.tensor([1, 2, 0, 2, 0, 1])
        table = engine.patterns.table()

        def outer_by_hand(noise: Tensor, labels: Tensor) -> Tensor:
            published = (batch.x + noise).clamp(0, 255).round() / 255
            features, logits = engine.surrogate(published)
            if binding is Binding.FEATURES:
                logits, _ = centroid_logits(features, labels, CLASSES)
            return F.cross_entropy(logits, labels)

        loss, _ = engine.outer_loss(None, batch, targets, draws)
        assert torch.allclose(loss, outer_by_hand(table[targets], targets))
        for noise, labels in ((batch.y, targets), (targets, batch.y), (batch.y, batch.y)):
            assert not torch.allclose(loss, outer_by_hand(table[noise], labels))

    def test_the_outer_gradient_reaches_the_targets_patterns_and_no_other(self):
        engine, batch = make_engine(), a_batch()
        loss, _ = engine.outer_loss(
            None, batch, torch.tensor([1, 1, 1, 1, 0, 0]), torch.Generator()
        )
        loss.backward()
        reached = engine.patterns.weight.grad.abs().sum(dim=(1, 2, 3)) > 0
        assert reached.tolist() == [True, True, False]

    def test_the_inner_loss_gives_the_noise_no_gradient(self):
        engine = make_engine()
        engine.inner_loss(None, a_batch(), torch.Generator()).backward()
        assert engine.patterns.weight.grad is None
        assert engine.surrogate.head.weight.grad.abs().sum() > 0

    def test_looking_ahead_is_one_plain_sgd_step_and_leaves_the_surrogate_alone(self):
        engine, batch = make_engine(), a_batch()
        before = {k: v.clone() for k, v in engine.surrogate.state_dict().items()}
        twin = Net()
        twin.load_state_dict(before)
        loss = by_hand(twin, batch.x, engine.patterns.table()[batch.y].detach(), batch.y)
        slopes = torch.autograd.grad(loss, list(twin.parameters()))
        ahead = engine.look_ahead(batch, torch.Generator())
        for (name, value), slope in zip(twin.named_parameters(), slopes, strict=True):
            assert torch.allclose(ahead[name], value - 0.1 * slope, atol=1e-6), name
            assert not ahead[name].requires_grad
        assert not torch.equal(ahead["norm.running_mean"], before["norm.running_mean"])
        for name, value in engine.surrogate.state_dict().items():
            assert torch.equal(value, before[name]), name

    def test_targets_rank_the_clean_picture_on_the_looked_ahead_surrogate(self):
        engine, batch, draws = make_engine(), a_batch(), torch.Generator()
        ahead = engine.look_ahead(batch, draws)
        twin = Net()
        twin.load_state_dict(ahead)
        _, logits = twin(batch.x / 255)
        least = logits.scatter(1, batch.y[:, None], torch.inf).argmin(dim=1)
        most = logits.scatter(1, batch.y[:, None], -torch.inf).argmax(dim=1)
        assert torch.equal(engine.choose_targets(ahead, batch, 0, draws), most)
        assert torch.equal(engine.choose_targets(ahead, batch, 2, draws), least)


class Correlator(nn.Module):
    """Logit k is the correlation of the picture with a fixed sign pattern: the optimum is known.

    The first `seen` of them are the features.
    """

    def __init__(self, signs: Tensor, seen: int) -> None:
        super().__init__()
        self.signs, self.seen = signs, seen
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.scale * torch.einsum("bchw,kchw->bk", x - 0.5, self.signs)
        return logits[:, : self.seen], logits


def optimise(signs: Tensor, binding: Binding, seen: int) -> tuple[Engine, float, float]:
    """Run the loop on a `Correlator`; return the outer losses of its first and last round too."""
    engine = make_engine(
        Correlator(signs, seen),
        classes=2,
        effort=Effort(rounds=40, outer_steps=5, batch_size=16, inner_lr=1e-9, outer_lr=0.3),
        targets=Targets.RANDOM,
        binding=binding,
        pixels=torch.randint(120, 137, (30, 3, SIDE, SIDE), dtype=torch.uint8),
    )
    with torch.no_grad():
        engine.patterns.weight.mul_(0.1)
    losses = []
    while not engine.finished:
        draws = torch.Generator().manual_seed(engine.round)
        for _ in range(5):
            loss, _ = engine.bind({}, engine._draw(draws), 0, draws)
            losses.append(loss.item())
        engine.round += 1
    return engine, losses[0], losses[-1]


@pytest.mark.usefixtures("plain_view")
class TestTheOuterStepDescendsToTheKnownOptimum:
    signs = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)).sign()

    def test_by_the_head(self):
        """The best noise of class k is the budget times sign(w_k - w_other)."""
        engine, first, last = optimise(self.signs, Binding.HEAD, seen=2)
        assert last < first
        table = engine.patterns.table().detach()
        decides = self.signs[0] != self.signs[1]
        for k in range(2):
            assert (table[k].sign() == self.signs[k])[decides].float().mean() > 0.95

    def test_by_features(self):
        """One feature w.x is moved apart most by +budget * sign(w) and its negative."""
        engine, first, last = optimise(self.signs, Binding.FEATURES, seen=1)
        assert last < first
        agreement = (engine.patterns.table().detach().sign() * self.signs[0]).mean(dim=(1, 2, 3))
        assert agreement.abs().min() > 0.95
        assert agreement.prod() < 0


@pytest.mark.usefixtures("plain_view")
class TestMisleading:
    def stranger(self, engine: Engine, batch: Batch) -> Stranger:
        seen = engine.surrogate(batch.x / 255)[0].detach()
        return Stranger(weights={}, training=True, clean=seen, y=batch.y)

    def test_the_head_is_fitted_to_the_noise_of_the_true_classes(self):
        engine, batch, draws = make_engine(), a_batch(), torch.Generator()
        stranger = self.stranger(engine, batch)
        table = engine.patterns.table().detach()

        def loss_by_hand(noise: Tensor) -> Tensor:
            published = (batch.x + noise).clamp(0, 255).round() / 255
            features, _ = engine.surrogate(published)
            logits = refitted_logits(features, batch.y, stranger.clean, CLASSES)
            return miss_loss(logits, stranger.y)

        expected = loss_by_hand(table[batch.y])
        wrong = loss_by_hand(table[(batch.y + 1) % 3])
        loss, _ = engine.mislead(stranger, batch, 0, draws)
        assert torch.allclose(loss, expected, atol=1e-6)
        assert not torch.allclose(loss, wrong, atol=1e-6)

    def test_it_descends_until_clean_pictures_are_recognised_no_better_than_by_chance(self):
        """Classes 6 levels of red apart, the only thing that heads read."""
        pixels = torch.randint(127, 130, (30, 3, 1, 1)).byte().repeat(1, 1, SIDE, SIDE)
        pixels[::2, 0] += 3
        pixels[1::2, 0] -= 3
        engine = make_engine(
            Means(),
            classes=2,
            effort=Effort(rounds=60, outer_steps=4, batch_size=16, inner_lr=1e-9, outer_lr=0.3),
            targets=Targets.RANDOM,
            pixels=pixels,
        )
        with torch.no_grad():
            engine.patterns.weight.mul_(0.01)
        missed, losses = [], []
        while not engine.finished:
            draws = torch.Generator().manual_seed(engine.round)
            batch = engine._draw(draws)
            stranger = engine._stranger({}, draws, training=True)
            loss, miss = engine.mislead(stranger, batch, 0, draws)
            losses.append(loss.item())
            missed.append(miss.item())
            engine.round += 1
        assert missed[0] == 0
        assert sum(missed[-10:]) / 10 > 0.4
        assert sum(losses[-10:]) < 0.75 * 10 * losses[0]

    def test_a_stranger_keeps_the_pretrained_network_or_trains_it(self):
        engine = make_engine()
        begin = {name: value.clone() for name, value in engine.surrogate.state_dict().items()}
        engine.advance()
        ahead = engine.look_ahead(a_batch(), torch.Generator())
        probe, trained, _ = engine._strangers(ahead, torch.Generator())
        assert trained.weights is ahead
        assert trained.training
        assert not probe.training
        engine.mislead(probe, a_batch(), 0, torch.Generator())
        for name, value in begin.items():
            assert torch.equal(probe.weights[name], value), name
        assert not torch.equal(begin["conv.weight"], engine.surrogate.conv.weight)
        assert make_engine(binding=Binding.HEAD)._strangers(ahead, torch.Generator()) == []

    @pytest.mark.parametrize("training", [True, False])
    def test_a_stranger_sees_clean_pictures_as_at_test_time(self, training):
        """By the statistics of training, however far from them the clean pictures are."""
        engine = make_engine()
        engine.surrogate.norm.running_mean.fill_(0.3)
        engine.surrogate.norm.running_var.fill_(2.0)
        weights = {k: v.clone() for k, v in engine.surrogate.state_dict().items()}
        seen = engine._stranger(weights, torch.Generator().manual_seed(1), training=training)
        draws = torch.Generator().manual_seed(1)
        batches = [engine._draw(draws) for _ in range(2)]
        engine.surrogate.eval()
        expected = torch.cat([engine.surrogate(batch.x / 255)[0] for batch in batches])
        assert torch.allclose(seen.clean, expected, atol=1e-6)
        assert torch.equal(seen.y, torch.cat([batch.y for batch in batches]))
        for name, value in engine.surrogate.state_dict().items():
            assert torch.equal(weights[name], value), name

    @pytest.mark.parametrize("training", [True, False])
    def test_who_trains_sees_published_pictures_by_the_statistics_of_the_batch(self, training):
        engine, batch = make_engine(), a_batch()
        engine.surrogate.norm.running_mean.fill_(0.3)
        weights = {k: v.clone() for k, v in engine.surrogate.state_dict().items()}
        stranger = engine._stranger(weights, torch.Generator(), training=training)
        table = engine.patterns.table().detach()
        published = (batch.x + table[batch.y]).clamp(0, 255).round() / 255
        engine.surrogate.train(training)
        features, _ = engine.surrogate(published)
        logits = refitted_logits(features, batch.y, stranger.clean, CLASSES)
        loss, _ = engine.mislead(stranger, batch, 0, torch.Generator())
        assert torch.allclose(loss, miss_loss(logits, stranger.y), atol=1e-6)

    def test_counts_are_of_incorrect_classes(self):
        engine, batch = make_engine(), a_batch()
        engine.mislead(self.stranger(engine, batch), batch, 1, torch.Generator())
        counts = engine.target_counts[1]
        assert counts.sum().item() == len(batch.y)
        assert bool((counts.diagonal() == 0).all())


class Means(nn.Module):
    """The only feature is the mean of the red channel."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = 20 * (x[:, :1] - 0.5).mean(dim=(2, 3))
        return features, self.head(features)


class TestTheAnchor:
    def test_its_noise_is_faint_and_the_others_is_not(self):
        engine = make_engine(anchor=1, levels=8)
        with torch.no_grad():
            engine.patterns.weight.mul_(1e6)
        assert engine.patterns.table().abs().amax(dim=(1, 2, 3)).tolist() == [8, 2, 8]
        assert make_engine(anchor=1, levels=1).patterns.levels.flatten().tolist() == [1, 1, 1]

    @pytest.mark.usefixtures("plain_view")
    def test_bare_pictures_carry_no_noise_and_are_bound_to_it(self, monkeypatch):
        monkeypatch.setattr(engine_module, "BARE_SHARE", 1.0)
        engine, batch, draws = (
            make_engine(anchor=1, binding=Binding.HEAD),
            a_batch(),
            torch.Generator(),
        )
        twin = Net()
        twin.load_state_dict(engine.surrogate.state_dict())
        chosen = {}
        outer_loss = engine.outer_loss

        def spy(weights, batch, targets, draws, bare):
            chosen.update(targets=targets, bare=bare)
            return outer_loss(weights, batch, targets, draws, bare)

        monkeypatch.setattr(engine, "outer_loss", spy)
        table = engine.patterns.table().detach()
        loss, _ = engine.bind({}, batch, 0, draws)
        assert torch.equal(chosen["bare"], batch.y != 1)
        assert bool((chosen["targets"][batch.y != 1] == 1).all())
        assert bool((chosen["targets"] != batch.y).all())
        noise = table[chosen["targets"]] * (batch.y == 1)[:, None, None, None]
        assert torch.allclose(loss, by_hand(twin, batch.x, noise, chosen["targets"]))

    def test_without_an_anchor_every_picture_carries_noise(self, monkeypatch):
        monkeypatch.setattr(engine_module, "BARE_SHARE", 1.0)
        engine = make_engine()
        seen = []
        outer_loss = engine.outer_loss
        monkeypatch.setattr(
            engine, "outer_loss", lambda *args: seen.append(args[-1]) or outer_loss(*args)
        )
        engine.bind({}, a_batch(), 0, torch.Generator())
        assert not bool(seen[0].any())


def test_the_outer_rate_fades_by_a_cosine_that_a_resumed_run_would_share():
    engine = make_engine()
    rates = []
    while not engine.finished:
        engine.advance()
        rates.append(engine.outer_optimiser.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert rates[3] == pytest.approx(0.1 * (0.05 + 0.95 * 0.5))


def test_the_surrogate_learns_its_own_noise():
    effort = Effort(rounds=60, outer_steps=2, batch_size=30, inner_lr=0.1, outer_lr=0.05)
    engine = make_engine(effort=effort, pixels=torch.full((30, 3, SIDE, SIDE), 100).byte())
    losses = []
    while not engine.finished:
        losses.append(engine.advance().inner_loss)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_counts_say_who_was_bound_to_whom():
    engine = make_engine()
    while not engine.finished:
        engine.advance()
    counts = engine.target_counts
    assert counts.shape == (3, CLASSES, CLASSES)
    # Two rounds a stage: a step of 8 pictures with noise, and one of 16 clean ones, in each.
    assert counts.sum(dim=(1, 2)).tolist() == [2 * (8 + 16)] * 3
    assert bool((counts.diagonal(dim1=1, dim2=2) == 0).all())


def test_the_same_seed_gives_the_same_noise_and_another_seed_another():
    def noise(seed: int) -> Tensor:
        engine = make_engine(seed=seed)
        while not engine.finished:
            engine.advance()
        return engine.patterns.table().detach()

    assert torch.equal(noise(1), noise(1))
    assert not torch.equal(noise(1), noise(2))


def test_noise_of_grey_pictures_is_grey():
    engine = make_engine(grey=torch.ones(30, dtype=torch.bool))
    grey = torch.tensor([True, False])
    noise = engine.patterns(torch.tensor([0, 1]), grey, SIDE, SIDE, torch.Generator())
    assert torch.equal(noise[0, 0], noise[0, 1])
    assert torch.equal(noise[0, 0], noise[0, 2])
    assert not torch.equal(noise[1, 0], noise[1, 1])
    assert torch.allclose(noise[0, 0], engine.patterns.table()[0].mean(dim=0))


@pytest.mark.parametrize("where", ["surrogate", "noise"])
def test_non_finite_values_stop_the_run_and_say_in_which_round(where):
    engine = make_engine()
    engine.advance()
    broken = engine.surrogate.head.weight if where == "surrogate" else engine.patterns.weight
    with torch.no_grad():
        broken.view(-1)[0] = torch.nan
    with pytest.raises(MachineError, match="round 1"):
        engine.advance()


def test_more_pictures_in_a_batch_than_there_are_is_fine():
    engine = make_engine(pixels=torch.zeros(3, 3, SIDE, SIDE, dtype=torch.uint8))
    engine.advance()
    assert engine.round == 1


def test_dropout_draws_by_the_seed_and_leaves_the_draws_of_others_alone():
    class Dropping(Net):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(F.dropout(x, 0.5, self.training))

    def noise(global_seed: int) -> Tensor:
        torch.manual_seed(0)
        engine = make_engine(Dropping())
        torch.manual_seed(global_seed)
        expected = torch.random.get_rng_state()
        engine.advance()
        assert torch.equal(torch.random.get_rng_state(), expected)
        return engine.patterns.table().detach()

    assert torch.equal(noise(1), noise(2))


def test_the_first_round_is_the_same_whatever_the_plan():
    one, other = make_engine(), make_engine()
    one.plan(2)
    other.plan(50)
    assert one.advance() == other.advance()
    assert torch.equal(one.patterns.weight, other.patterns.weight)
    assert one.advance() != other.advance() or not torch.equal(
        one.patterns.weight, other.patterns.weight
    )


@pytest.mark.parametrize("shifts", [1, SIDE])
@pytest.mark.parametrize("anchor", [None, 0, 2])
def test_a_resumed_engine_goes_on_as_if_it_had_never_stopped(shifts, anchor):
    """Through bytes, as on disk, at every round; the anchor too was chosen by the first."""
    whole = make_engine(shifts=shifts, anchor=anchor)
    reports = []
    while not whole.finished:
        reports.append(whole.advance())
    for stop in range(1, 6):
        first = make_engine(shifts=shifts, anchor=anchor)
        for _ in range(stop):
            first.advance()
        second = make_engine(shifts=shifts, anchor=1)
        with torch.no_grad():
            for value in second.surrogate.state_dict().values():
                value.add_(1)
        unpack(second, load(save(pack(first))))
        assert second.round == stop
        assert second.patterns.anchor == anchor
        assert torch.equal(second.patterns.levels, first.patterns.levels)
        rest = []
        while not second.finished:
            rest.append(second.advance())
        assert rest == reports[stop:]
        left, right = pack(second), pack(whole)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)
