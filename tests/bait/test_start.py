"""The search chooses the textures by which clean pictures are misled most, and changes nothing."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from bait.test_engine import Net, Table
from torch import Tensor, nn

from protect.bait import start
from protect.bait.alphabet import (
    FEWEST_TEXTURES,
    SATURATION,
    TRIED_SIDE,
    broad_start,
    dealt_start,
    new_alphabet,
)
from protect.bait.choice import Classes, Shown, choose, misled, taken_for_themselves
from protect.bait.harden import QUALITY, at_most, plain, views_of
from protect.bait.patterns import BEND, ClassPatterns
from protect.bait.start import (
    FEWEST,
    SMALLEST_BATCH,
    Search,
    clean_of_each,
    draw_pictures,
    pictures_of_each,
)
from protect.bait.textures import BROAD_TILE, TILE, kept_by_jpeg
from protect.config.choices import Harden
from protect.config.settings import RunConfig
from protect.errors import ConfigError
from protect.generation import pictures_to_search, searched_pictures
from protect.system.processes import Place

CLASSES, SIDE, EACH, BUDGET = 3, 32, 12, 8


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def patterns() -> ClassPatterns:
    return ClassPatterns(dealt_start(CLASSES, 3, draws()), SIDE, SIDE, BUDGET, shifts=TILE)


def pictures() -> Table:
    """Pictures whose colour is their class, on uneven ground."""
    y = torch.arange(CLASSES).repeat(2 * EACH)
    pixels = torch.randint(90, 160, (len(y), 3, SIDE, SIDE), generator=draws(1))
    pixels[torch.arange(len(y)), y] += 20
    return Table(pixels.to(torch.uint8), y)


def search(surrogate: nn.Module | None = None, each: int = EACH, **changes) -> Search:
    torch.manual_seed(0)
    settings = {"views": [plain], "seed": 0, "batch_size": 128} | changes
    return Search(
        surrogate or Net(),
        settings.get("patterns") or patterns(),
        pictures(),
        settings["views"],
        sizes=settings.get("sizes", ()),
        each=each,
        batch_size=settings["batch_size"],
        seed=settings["seed"],
    )


def shown_of(strength: Tensor, seed: int = 0) -> tuple[Shown, Classes]:
    """Return features in which texture m is seen `strength[m]` times as well as the class is."""
    textures, each = len(strength), 10
    y = torch.arange(CLASSES).repeat_interleave(each)
    own = nn.functional.one_hot(y, CLASSES).float()
    marks = strength[:, None, None] * torch.eye(textures)[:, None].expand(-1, len(y), -1)
    noise = 0.1 * torch.randn(textures, len(y), CLASSES + textures, generator=draws(seed))
    carrying = torch.cat([own.expand(textures, -1, -1), marks], dim=2) + noise
    clean = torch.cat([own, torch.zeros(len(y), textures)], dim=1)
    return Shown(carrying.half(), clean), Classes(y, y, CLASSES)


def test_textures_that_a_head_sees_are_chosen():
    strength = torch.zeros(20)
    strength[[4, 11, 17]] = 30.0
    shown, classes = shown_of(strength)
    choice = choose([shown], classes, draws())
    assert len({4, 11, 17} & set(choice.tolist())) >= 2  # the third may be an anchor
    dull = torch.tensor([0, 1, 2])
    assert taken_for_themselves([shown], classes, choice) < 0.6
    assert taken_for_themselves([shown], classes, dull) > 0.9


def test_every_view_counts():
    """A texture that is seen in one view only loses to one that is seen in both."""
    one, both = torch.zeros(12), torch.zeros(12)
    one[[1, 2, 3, 7, 8, 9]] = 30.0
    both[[7, 8, 9]] = 30.0
    (first, classes), (second, _) = shown_of(one), shown_of(both, seed=1)
    choice = choose([first, second], classes, draws())
    assert len({7, 8, 9} & set(choice.tolist())) >= 2


@pytest.mark.parametrize("seed", range(3))
def test_no_two_classes_share_a_texture(seed):
    shown, classes = shown_of(torch.rand(5, generator=draws(seed)), seed)
    choice = choose([shown], classes, draws(seed))
    assert len(set(choice.tolist())) == CLASSES
    again = choose([shown], classes, draws(seed))
    assert torch.equal(choice, again)


@pytest.mark.parametrize("texture", range(8))
def test_a_texture_that_is_always_to_be_chosen_is(texture):
    """Whichever, where three of eight are chosen."""
    shown, classes = shown_of(torch.linspace(0, 30, 8))
    choice = choose([shown], classes, draws(), required=texture)
    assert texture in choice
    assert len(set(choice.tolist())) == CLASSES
    assert torch.equal(choice, choose([shown], classes, draws(), required=texture))


def broad_patterns(budget: int = BUDGET) -> ClassPatterns:
    start = broad_start(CLASSES, 3, draws())
    return ClassPatterns(start, BROAD_TILE, BROAD_TILE, budget, shifts=BROAD_TILE)


def test_with_two_sizes_pictures_are_shown_at_the_first_as_they_are_and_at_the_last_in_every_view(
    monkeypatch,
):
    shown, sizes = [], []

    @contextmanager
    def seen_at(network: nn.Module, size: int | None) -> Iterator[None]:
        sizes.append(size)
        yield

    class Watched(Search):
        def show(self, network, view, chosen, tell):
            shown.append((view, sizes[-1], network is self.surrogate))
            return super().show(network, view, chosen, tell)

    monkeypatch.setattr(start, "seen_at", seen_at)
    table, views, told = broad_patterns(), views_of([Harden.BLUR]), []
    found = Watched(
        Net(), table, pictures(), views, sizes=(224, 96), each=EACH, batch_size=128, seed=0
    )
    found.run(lambda: told.append(1))
    looks = [(plain, 224), *((view, 96) for view in views)]
    assert shown == [(*look, kept) for look in looks for kept in (True, False)]
    assert len(told) == found.steps == 2 * len(looks) * FEWEST_TEXTURES
    assert table.anchor is not None


@pytest.mark.parametrize("budget", [1, 4, 8, 16, 32])
def test_the_anchor_among_broad_textures_is_one_level_of_the_broadest_wave(budget):
    """Others have the whole budget; so every picture is changed, by rounding to whole levels."""
    table = broad_patterns(budget)
    alphabet = search(patterns=table, sizes=(224, 96)).alphabet
    assert len(alphabet.weight) == FEWEST_TEXTURES
    assert alphabet.anchor == FEWEST_TEXTURES - 1
    levels = alphabet.table().detach()[:, 0]
    assert levels[-1].round().unique().tolist() == [-1, 1]
    assert levels[:-1].abs().round().unique().tolist() == [round(budget * math.tanh(SATURATION))]


@pytest.mark.parametrize("sizes", [(), (224, 96)])
@pytest.mark.parametrize(("shifts", "bend"), [(1, 0.0), (TILE, 0.0), (TILE, BEND)])
def test_textures_are_tried_as_pictures_will_carry_them(sizes, shifts, bend):
    """From places of their own or the same in all; bent ones are at one size, not at two."""
    tiles = dealt_start(CLASSES, 3, draws())
    table = ClassPatterns(tiles, SIDE, SIDE, BUDGET, shifts=shifts, bend=bend)
    alphabet = search(patterns=table, sizes=sizes).alphabet
    worn = alphabet(torch.zeros(2).long(), torch.zeros(2).bool(), SIDE, SIDE, draws())
    tile = alphabet.table().detach()[0, 0]
    places = [(row, column) for row in range(shifts) for column in range(shifts)]

    def is_straight(noise: Tensor) -> bool:
        cuts = (tile[row : row + SIDE, column : column + SIDE] for row, column in places)
        return any(torch.equal(noise[0], cut) for cut in cuts)

    assert [is_straight(noise.detach()) for noise in worn] == [bool(sizes) or not bend] * 2
    assert torch.equal(worn[0], worn[1]) == (shifts == 1)


def test_a_search_takes_one_texture_of_its_alphabet_for_each_class():
    table = patterns()
    found = search(patterns=table)
    told = []
    found.run(lambda: told.append(1))
    assert len(told) == found.steps == 2 * FEWEST_TEXTURES
    for k, weight in enumerate(table.weight):
        same = [m for m, other in enumerate(found.alphabet.weight) if torch.equal(weight, other)]
        assert len(same) == 1
        assert (same[0] == FEWEST_TEXTURES - 1) == (table.anchor == k)


def test_the_alphabet_is_what_jpeg_leaves_most_of_and_the_faint_one_the_least():
    found = search()
    assert found.textures == len(found.alphabet.weight) == FEWEST_TEXTURES
    tiles = BUDGET * torch.tanh(found.alphabet.weight.detach()[:, :1])
    pixels = pictures().pixels.float()
    kept = kept_by_jpeg(tiles, pixels, QUALITY)
    others = kept_by_jpeg(BUDGET * torch.tanh(dealt_start(100, 1, draws(9))), pixels, QUALITY)
    assert kept.mean() > others.mean() + 0.05
    assert found.alphabet.anchor == FEWEST_TEXTURES - 1
    assert kept[:20].mean() > kept[-20:].mean() + 0.1


@pytest.mark.parametrize("side", [100, 101])
def test_of_large_pictures_the_middle_is_tried(side: int):
    """So the trial takes no longer than of small ones, and says the same."""
    table = pictures()
    rim = (side - TRIED_SIDE) // 2
    drawn = torch.randint(60, 200, (len(table), 3, side, side), generator=draws(2))
    bright = torch.full_like(drawn, 255)  # where half of any noise is clamped away
    bright[:, :, rim : rim + TRIED_SIDE, rim : rim + TRIED_SIDE] = drawn[
        :, :, rim : rim + TRIED_SIDE, rim : rim + TRIED_SIDE
    ]

    def alphabet(pixels: Tensor) -> Tensor:
        shown = Table(pixels.to(torch.uint8), table.labels)
        return new_alphabet(patterns(), shown, draws()).weight

    assert torch.equal(alphabet(drawn), alphabet(bright))
    assert not torch.equal(alphabet(drawn), alphabet(torch.full_like(drawn, 255)))


def test_a_search_misleads_more_than_what_was_dealt():
    found = search(each=2 * EACH)
    classes = found.labels
    shown = [found.show(n, plain, range(found.textures), lambda: None) for n in found.networks]
    best = choose(shown, classes, draws())
    dealt = [taken_for_themselves(shown, classes, torch.randperm(95)[:CLASSES]) for _ in range(9)]
    assert taken_for_themselves(shown, classes, best) < min(dealt)


def test_the_surrogate_stays_as_it_came():
    surrogate = Net()
    before = {name: value.clone() for name, value in surrogate.state_dict().items()}
    search(surrogate, views=views_of([Harden.JPEG])).run(lambda: None)
    after = surrogate.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert surrogate.norm.momentum == 0.1


def test_who_adapts_sees_published_pictures_normalised():
    found = search()
    kept, adapted = found.networks
    shown = found.show(adapted, plain, range(4), lambda: None)
    assert adapted.norm.running_mean.abs().max() > 0
    assert not adapted.norm.training
    assert torch.equal(kept.norm.running_mean, torch.zeros(6))
    assert shown.carrying.shape == (4, len(found.carrying), 6)
    assert shown.carrying.float().mean() < 1  # as after a ReLU of what has mean 0


def test_a_network_without_batch_normalisation_is_shown_everything_once():
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.flatten(1)[:, :5], x.flatten(1)[:, :CLASSES]

    found = search(Plain(), views=views_of([Harden.JPEG]))
    assert found.steps == 3 * FEWEST_TEXTURES


def test_seeds_decide():
    tables = [patterns() for _ in range(3)]
    for table, seed in zip(tables, (5, 5, 6), strict=True):
        search(patterns=table, seed=seed).run(lambda: None)
    assert torch.equal(tables[0].weight, tables[1].weight)
    assert not torch.equal(tables[0].weight, tables[2].weight)


def test_it_tells_which_incorrect_classes_the_heads_take_clean_pictures_for():
    strength = torch.zeros(20)
    strength[[4, 11, 17]] = 30.0
    shown, classes = shown_of(strength)
    found = misled([shown, shown], classes, torch.tensor([4, 11, 17]))
    assert found.y.tolist() == 2 * classes.clean.tolist()
    assert found.targets.shape == found.y.shape
    assert (found.targets != found.y).all()
    assert found.share > 0.3
    dull = misled([shown], classes, torch.tensor([0, 1, 2]))
    assert (dull.targets != dull.y).all()
    assert dull.share == 0  # each is taken for what it is


def test_what_it_tells_is_of_the_textures_it_took():
    table = patterns()
    found = search(patterns=table)
    told = found.run(lambda: None)
    assert len(told.y) == len(found.networks) * len(found.clean)
    assert told.y.unique().tolist() == told.targets.unique().tolist() == list(range(CLASSES))
    assert (told.targets != told.y).all()


def test_its_time_is_foretold():
    found = search()
    foretold = found.cost().seconds
    before = time.perf_counter()
    found.run(lambda: None)
    took = time.perf_counter() - before
    assert took / 5 < foretold < took * 20  # the choice may end after one sweep


def test_its_memory_is_foretold():
    found = search(views=[plain, plain])
    shown = [
        found.show(network, plain, range(found.textures), lambda: None)
        for network in found.networks
        for _ in found.looks
    ]
    assert found.cost().n_bytes == sum(looks.carrying.nbytes for looks in shown)


@pytest.mark.parametrize("size", [16, 40, 128])
def test_the_network_is_shown_no_larger_batches_than_asked_for(size):
    net, seen = Net(), []
    net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    found = search(net, batch_size=size)
    found.run(lambda: None)
    # What is left over may join the batch before.
    assert min(size, len(found.carrying)) <= max(seen) < size + SMALLEST_BATCH


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(5, [5]), (128, [128]), (129, [129]), (143, [143]), (144, [128, 16]), (300, [128, 128, 44])],
)
def test_no_batch_is_too_small_for_statistics(count, sizes):
    parts = start._batches(count, 128)
    assert [len(part) for part in parts] == sizes
    assert torch.equal(torch.cat(parts), torch.arange(count))


@pytest.mark.parametrize(("shown", "each"), [(15360, 16), (6000, 6), (5760, 6)])
def test_how_many_pictures_are_shown(shown, each):
    """Of 10 classes with 96 textures."""
    assert pictures_of_each(shown, 10) == each


@pytest.mark.parametrize(
    ("shown", "classes", "most"), [(5759, 10, 9), (15360, 27, 26), (15360, 1000, 26), (0, 5, 0)]
)
def test_too_many_classes_are_refused_and_it_is_said_how_many_there_is_time_for(
    shown, classes, most
):
    with pytest.raises(ConfigError, match=f"time for {most} classes of {classes}"):
        pictures_of_each(shown, classes)
    if most:
        assert pictures_of_each(shown, most) >= FEWEST


def test_fewer_pictures_than_processes_are_refused(monkeypatch):
    many = Place(rank=0, count=CLASSES * EACH + 1, local_rank=0, local_count=1)
    monkeypatch.setattr(start, "place", lambda: many)
    with pytest.raises(ConfigError, match="36 pictures to show, and 37 processes"):
        search()


def test_pictures_are_drawn_class_by_class():
    labels = torch.tensor([0] * 30 + [1] * 5 + [2] * 2)
    carrying, clean = draw_pictures(labels, 3, 4, 20, draws())
    assert labels[carrying].tolist() == [0] * 4 + [1] * 4 + [2] * 2
    assert labels[clean].tolist() == [0] * 20 + [1] * 4 + [2] * 2
    assert not set(carrying[:4].tolist()) & set(clean[:20].tolist())
    assert len(set(clean.tolist())) == len(clean)
    assert sorted(carrying[-2:].tolist()) == sorted(clean[-2:].tolist()) == [35, 36]


@pytest.mark.parametrize("members", [1, 4, 5, 7, 8, 9, 27, 28, 40])
def test_clean_pictures_carry_no_texture_where_there_are_others(members):
    """So many as are asked for, and never fewer than carry one."""
    carrying, clean = draw_pictures(torch.zeros(members).long(), 1, 4, 20, draws())
    both = set(carrying.tolist()) & set(clean.tolist())
    assert len(carrying) == min(members, 4)
    assert len(clean) == min(members, max(members - 4, 4), 20)
    assert len(both) == max(len(carrying) + len(clean) - members, 0)


def test_heads_are_asked_about_many_more_pictures_than_they_are_fitted_to():
    """As they carry no texture: each is shown once to each network in each view."""
    found = search(each=FEWEST)
    assert len(found.carrying) == CLASSES * FEWEST
    assert len(found.clean) == len(pictures()) - len(found.carrying) > 2 * len(found.carrying)
    assert not set(found.clean.tolist()) & set(found.carrying.tolist())
    shown = found.show(found.surrogate, plain, [0], lambda: None)
    assert len(shown.clean) == len(found.labels.clean) == len(found.clean)


def test_at_two_sizes_as_many_are_asked_about_as_carry_and_blurs_are_drawn():
    """More of both misled less there."""
    views = views_of([Harden.BLUR])
    one = search(each=FEWEST, views=views)
    two = search(each=FEWEST, views=views, sizes=(224, 96), patterns=broad_patterns())
    assert len(two.clean) == len(two.carrying) < len(one.clean)
    assert [view for view, _ in two.looks] == [plain, *views]
    assert [view for view, _ in one.looks] == [at_most(view) for view in views] != views
    assert {size for _, size in one.looks} == {None}


@pytest.mark.parametrize("classes", [2, 7, 10, 26])
def test_a_dry_run_keeps_as_many_pictures_as_a_search_draws(classes):
    config = RunConfig(source="x", harden="jpeg")
    labels = torch.arange(classes).repeat(2000)
    each = searched_pictures(config, classes)
    drawn = draw_pictures(labels, classes, each, clean_of_each(each, classes), draws())
    assert len(torch.cat(drawn).unique()) == pictures_to_search(config, classes)


def test_a_class_is_asked_about_by_its_share_of_what_there_is_time_for(monkeypatch):
    monkeypatch.setattr(start, "ASKED", CLASSES * 9 + 2)
    found = search(each=FEWEST)
    assert found.pictures.labels[found.clean].bincount().tolist() == [9] * CLASSES
