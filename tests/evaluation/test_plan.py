"""Tiers name the cells; own modes and attacks take their place."""

import pytest

from protect.config.choices import Mode, Tier
from protect.errors import ConfigError
from protect.evaluation.attacks.registry import ATTACKS, RESEARCH_TIER, make_attack
from protect.evaluation.plan import not_run, plan, seen_smaller


def cells(tier=None, modes=(), attacks=(), backbones=("a",)):
    return [(s.backbone, s.mode.value, s.attack) for s in plan(backbones, tier, modes, attacks)]


def test_the_tiers_contain_each_other():
    quick, ci, release = (set(cells(tier)) for tier in Tier)
    assert quick < ci < release
    assert ("a", "full", "none") in quick


def test_the_ci_tier_is_the_one_of_the_threat_list_and_what_undid_the_noise():
    ci = set(cells(Tier.CI))
    for mode in ("full", "linear-probe", "low-lr", "high-lr"):
        assert ("a", mode, "none") in ci
    changes, removals = "jpeg10 jpeg75 grey blur downup", "projection class-mean spectrum"
    for attack in (*changes.split(), *removals.split()):
        assert ("a", "full", attack) in ci


def test_the_release_tier_has_every_mode():
    assert {mode for _, mode, _ in cells(Tier.RELEASE)} == set(Mode)


def test_every_planned_attack_exists_and_every_attack_is_planned():
    planned = {spec.attack for spec in plan(["a"], Tier.RELEASE, (), ())}
    assert planned == set(ATTACKS)
    for spec in plan(["a"], Tier.RELEASE, (), ()):
        assert make_attack(spec.attack).name == spec.attack


def test_named_modes_and_attacks_replace_the_tier():
    assert cells(modes=(Mode.SCRATCH,)) == [("a", "scratch", "none")]
    assert cells(attacks=("grey", "grey")) == [("a", "full", "grey")]
    pairs = cells(modes=(Mode.FULL, Mode.SCRATCH), attacks=("none", "grey"))
    assert len(pairs) == len(set(pairs)) == 4


def test_without_any_wish_the_tier_is_the_quick_one():
    assert cells() == cells(Tier.QUICK)


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("own", [{"modes": (Mode.FULL,)}, {"attacks": ("grey",)}])
def test_a_tier_beside_own_cells_is_not_dropped_in_silence(tier, own):
    with pytest.raises(ConfigError, match=f"--tier {tier}"):
        cells(tier, **own)


@pytest.mark.parametrize("attack", ["ueraser", "adversarial", "cutmix", "rrc", "randaugment"])
def test_attacks_that_cannot_act_on_features_are_refused_for_a_linear_probe(attack):
    with pytest.raises(ConfigError, match=attack):
        cells(modes=(Mode.LINEAR_PROBE,), attacks=(attack,))
    assert cells(modes=(Mode.LINEAR_PROBE,), attacks=("grey", "projection"))


def test_every_backbone_gets_every_cell():
    assert len(cells(Tier.CI, backbones=("a", "b"))) == 2 * len(cells(Tier.CI))


def test_what_is_left_out_is_named():
    left = " ".join(not_run(plan(["a"], Tier.QUICK, (), ()), {"a": 64}, 64))
    for word in ("scratch", "refit", "jpeg10", "projection", "adversarial"):
        assert word in left
    assert "full" not in left
    size, *left = not_run(plan(["a"], Tier.RELEASE, (), ()), {"a": 64}, 64)
    assert size == "sizes: a at any but 64 px"
    assert [line.partition(": ")[0] for line in left] == list(RESEARCH_TIER)


@pytest.mark.parametrize(
    ("modes", "attacks", "is_left_out"),
    [
        ((), (), False),
        ((Mode.FULL,), (), False),
        ((Mode.FULL,), ("none", "grey"), False),
        ((), ("grey",), True),
        ((Mode.LINEAR_PROBE,), (), True),
        ((Mode.FULL, Mode.LINEAR_PROBE), ("grey",), True),
        ((Mode.SCRATCH,), ("none",), True),
    ],
)
def test_plain_fine_tuning_is_named_where_it_is_left_out(modes, attacks, is_left_out):
    left = not_run(plan(["a"], None, modes, attacks), {"a": 64}, 64)
    assert ("full fine-tuning without an attack" in left) is is_left_out


@pytest.mark.parametrize(
    ("room", "told"), [(64, ""), (96, ""), (128, "; these pictures have room for 128")]
)
def test_sizes_that_a_stranger_could_train_at_are_named_for_each_network(room, told):
    left = not_run(plan(["a", "b"], Tier.RELEASE, (), ()), {"a": 96, "b": 224}, room)
    assert left[:2] == (f"sizes: a at any but 96 px{told}", "sizes: b at any but 224 px")


@pytest.mark.parametrize(
    ("sizes", "wanted", "smaller"),
    [
        ({"a": 96, "b": 224}, 96, ["a at 96 px"]),
        ({"a": 96, "b": 96}, 96, ["a at 96 px", "b at 96 px"]),
        ({"of one size": 70}, 96, []),
        ({"a": 224}, 224, []),
        ({"a": 256}, 256, []),
    ],
)
def test_networks_that_could_see_more_are_named_and_those_of_one_size_are_not(
    sizes, wanted, smaller
):
    assert seen_smaller(sizes, wanted, 224) == smaller
