"""The changes inside the loop do what they say, and a whole round goes through one of them."""

import numpy as np
import pytest
import torch
from bait.test_engine import Net, make_engine
from PIL import Image, ImageFilter
from torch import Tensor

from protect.bait.harden import (
    VIEWS,
    at_most,
    blurred,
    coarser,
    compressed,
    displaced,
    grey,
    most_blurred,
    plain,
    views_of,
)
from protect.bait.jpeg import jpeg
from protect.config.choices import Harden
from protect.config.settings import RunConfig
from protect.errors import ConfigError

SIDE = 32
ALL = [most_blurred, *(view for views in VIEWS.values() for view in views)]


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (2, 3, SIDE, SIDE), generator=draws(seed)).float()


def energy(noise: Tensor) -> float:
    return float(noise.pow(2).mean())


@pytest.mark.parametrize("view", ALL)
def test_every_change_keeps_shape_and_range_and_lets_gradients_through(view):
    pixels = pictures().requires_grad_()
    seen = view(pixels, draws())
    assert seen.shape == pixels.shape
    assert -1e-3 <= seen.min() <= seen.max() <= 255 + 1e-3
    assert not torch.equal(seen, pixels)
    (seen**2).sum().backward()
    assert pixels.grad.abs().sum() > 0


@pytest.mark.parametrize("view", ALL)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 1)])
def test_pictures_of_a_few_pixels_go_through(view, size):
    seen = view(torch.full((1, 3, *size), 90.0), draws())
    assert seen.shape == (1, 3, *size)
    assert (seen - 90).abs().max() <= 2


@pytest.mark.parametrize("view", ALL)
def test_draws_decide(view):
    once, again = (view(pictures(), draws(3)) for _ in range(2))
    assert torch.equal(once, again)


def test_grey_is_pillows():
    pixels = pictures()[:1]
    theirs = Image.fromarray(pixels[0].permute(1, 2, 0).numpy().astype(np.uint8)).convert("L")
    ours = grey(pixels, draws())
    assert torch.equal(ours[0, 0], ours[0, 2])
    assert np.abs(ours[0, 0].numpy() - np.asarray(theirs)).max() <= 1


def test_the_blur_is_pillows():
    pixels = pictures()[:1]
    picture = Image.fromarray(pixels[0].permute(1, 2, 0).numpy().astype(np.uint8))
    theirs = np.asarray(picture.filter(ImageFilter.GaussianBlur(1.5)), np.float32)
    ours = most_blurred(pixels, draws())[0].permute(1, 2, 0).numpy()
    inside = np.s_[5:-5, 5:-5]  # theirs goes by repeated averages, and has another edge
    assert np.abs(ours - theirs)[inside].max() < 4
    assert np.abs(np.asarray(picture, np.float32) - theirs)[inside].max() > 60


def test_at_most_a_blur_is_as_wide_as_the_widest_that_is_drawn():
    pixels = pictures()
    widest = most_blurred(pixels, draws())
    assert at_most(blurred) is most_blurred
    assert all(at_most(view) is view for view in ALL if view is not blurred)
    drawn = [blurred(pixels, draws(seed)) for seed in range(30)]
    assert min(energy(each - each.mean()) for each in drawn) >= energy(widest - widest.mean())
    assert min(energy(each - widest) for each in drawn) < 0.05 * energy(pixels - widest)
    assert max(energy(each - widest) for each in drawn) > 0.5 * energy(pixels - widest)


@pytest.mark.parametrize("view", [blurred, most_blurred, coarser])
def test_fine_checks_are_washed_out_and_slow_waves_stay(view):
    place = torch.arange(float(SIDE))
    checks = ((place[:, None] + place[None]) % 2 * 2 - 1).expand(1, 3, -1, -1)
    wave = torch.sin(2 * torch.pi * place / SIDE).expand(1, 3, SIDE, -1)
    flat = torch.full((1, 3, SIDE, SIDE), 128.0)
    kept = [
        np.mean([energy(view(flat + 8 * noise, draws(s)) - 128) for s in range(9)])
        / energy(8 * noise)
        for noise in (checks, wave)
    ]
    assert kept[0] < 0.5 < 0.9 < kept[1]


def test_jpeg_is_of_quality_10():
    assert torch.equal(compressed(pictures(), draws()), jpeg(pictures(), 10))


def test_blocks_lie_elsewhere_by_what_is_drawn():
    places = {
        jpeg(pictures().roll((down, across), (2, 3)), 10).roll((-down, -across), (2, 3)): (
            down,
            across,
        )
        for down in range(8)
        for across in range(8)
    }
    drawn = set()
    for seed in range(100):
        seen = displaced(pictures(), draws(seed))
        drawn |= {place for made, place in places.items() if torch.equal(made, seen)}
    assert len(drawn) > 40


def test_rounds_take_turns_and_begin_plain():
    names = (Harden.GREY, Harden.JPEG)
    assert set(VIEWS) == set(Harden)
    assert views_of(names) == [plain, grey, compressed, displaced]
    assert views_of(()) == [plain]
    engine, seen = make_engine(harden=names), []
    while not engine.finished:
        engine.advance()
        seen.append(engine.view)
    assert seen == ([plain, grey, compressed, displaced] * 2)[: len(seen)]


class Watch(Net):
    """Notes whether what it is shown is grey."""

    def __init__(self) -> None:
        super().__init__()
        self.grey: list[bool] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.grey.append(bool((x[:, 0] - x[:, 2]).abs().max() < 1e-6))
        return super().forward(x)


def test_all_looks_of_a_round_go_through_the_same_change():
    """Clean pictures too: a stranger who makes his pictures grey does so with all."""
    surrogate = Watch()
    engine = make_engine(surrogate, harden=(Harden.GREY,))
    rounds = []
    for _ in range(4):
        surrogate.grey.clear()
        engine.advance()
        rounds.append(list(surrogate.grey))
    assert all(len(looks) > 5 for looks in rounds)
    assert [set(looks) for looks in rounds] == [{False}, {True}, {False}, {True}]


def test_the_noise_is_moved_to_where_it_survives():
    """Through grey rounds alone, luma is all that the noise can be seen by."""

    def luma_share(harden: tuple[Harden, ...]) -> float:
        engine = make_engine(harden=harden)
        start = engine.patterns.weight.detach().clone()
        engine.round = 1
        engine.advance()
        moved = engine.patterns.weight.detach() - start
        weights = torch.tensor([0.299, 0.587, 0.114])
        across = moved - (moved * weights[:, None, None]).sum(1, keepdim=True)
        return 1 - energy(across - across.mean(1, keepdim=True)) / energy(moved)

    assert luma_share((Harden.GREY,)) > luma_share(())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("none", ()),
        ("jpeg", (Harden.JPEG,)),
        ("grey, jpeg,grey", (Harden.GREY, Harden.JPEG)),
        (("blur",), (Harden.BLUR,)),
        ("auto", "auto"),
    ],
)
def test_the_list_is_read(tmp_path, text, names):
    assert RunConfig(source=tmp_path, harden=text).harden == names


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("jpg", "or none"),
        ("none,jpeg", "or none"),
        ("auto,jpeg", "or auto"),
        ("projection", "--mode sample"),
    ],
)
def test_an_unknown_change_is_a_usage_error(tmp_path, text, hint):
    with pytest.raises(ConfigError, match=text.split(",")[0]) as caught:
        RunConfig(source=tmp_path, harden=text)
    assert hint in caught.value.hint
