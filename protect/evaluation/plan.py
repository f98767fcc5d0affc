"""Which cells a verification runs: every backbone in every mode, and under every attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protect.config.choices import Mode, Tier
from protect.errors import ConfigError
from protect.evaluation.attacks.base import Attack
from protect.evaluation.attacks.registry import ATTACKS, RESEARCH_TIER, make_attack

PLAIN = Attack.name


@dataclass(frozen=True, slots=True)
class Spec:
    """One cell before it is run."""

    backbone: str
    mode: Mode
    attack: str

    def __str__(self) -> str:
        name = f"{self.backbone}, {self.mode}"
        return name if self.attack == PLAIN else f"{name}, {self.attack}"


_MODES: dict[Tier, tuple[Mode, ...]] = {
    Tier.QUICK: (Mode.FULL, Mode.LINEAR_PROBE),
    Tier.CI: (Mode.FULL, Mode.LINEAR_PROBE, Mode.LOW_LR, Mode.HIGH_LR),
    Tier.RELEASE: tuple(Mode),
}
_ATTACKS: dict[Tier, tuple[str, ...]] = {
    Tier.QUICK: (),
    Tier.CI: (
        "jpeg10",
        "jpeg75",
        "grey",
        "blur",
        "downup",
        "projection",
        "class-mean",
        "spectrum",
    ),
    Tier.RELEASE: tuple(name for name in ATTACKS if name != PLAIN),
}
"""Tiers; attacks go with full fine-tuning."""


def plan(
    backbones: Sequence[str], tier: Tier | None, modes: Sequence[Mode], attacks: Sequence[str]
) -> tuple[Spec, ...]:
    """List the cells, plain full fine-tuning first.

    Args:
        backbones: Names of networks.
        tier: Which cells, where no modes or attacks are named; None for the quick tier.
        modes: Own training modes; with `attacks` every pair of both.
        attacks: Own attacks; without `modes` they go with full fine-tuning.

    Raises:
        ConfigError: If there is no such attack, or it cannot act in one of the modes, or a tier is
            given besides.
    """
    if tier is not None and (modes or attacks):
        raise ConfigError(
            f"--tier {tier} names all cells, and --mode or --attack names others",
            "give either; a second verification finds the finished trainings of the first again",
        )
    if modes or attacks:
        pairs = [(mode, attack) for mode in modes or (Mode.FULL,) for attack in attacks or (PLAIN,)]
    else:
        tier = tier or Tier.QUICK
        pairs = [(mode, PLAIN) for mode in _MODES[tier]]
        pairs += [(Mode.FULL, attack) for attack in _ATTACKS[tier]]
    impossible = [f"{mode} with {attack}" for mode, attack in pairs if not _possible(mode, attack)]
    if impossible:
        raise ConfigError(
            "a linear probe sees no training pictures, so these attacks on them do nothing there: "
            + ", ".join(impossible),
            "run these attacks with --mode full",
        )
    return tuple(
        Spec(backbone, mode, attack)
        for backbone in backbones
        for mode, attack in dict.fromkeys(pairs)
    )


def _possible(mode: Mode, attack: str) -> bool:
    """Say whether an attack can act: a linear probe trains on features, computed once."""
    made = make_attack(attack)
    acts_on_batches = made.overrides("augment") or made.overrides("loss")
    return not acts_on_batches or mode is not Mode.LINEAR_PROBE


def seen_smaller(sizes: Mapping[str, int], wanted: int, room: int) -> list[str]:
    """Say which networks see pictures smaller than a stranger would, such as "a at 96 px".

    Those whose input has one size only are not among them.

    Args:
        sizes: Name of a network -> side of its input in pixels.
        wanted: The side that was asked for.
        room: Side of the input that a stranger with a GPU would use.
    """
    return [f"{name} at {size} px" for name, size in sizes.items() if size == wanted < room]


def not_run(specs: Sequence[Spec], sizes: Mapping[str, int], room: int) -> tuple[str, ...]:
    """Say which modes, attacks and sizes these cells leave out, and what is never run here.

    Args:
        specs: The cells.
        sizes: Name of a network -> side of its input in pixels.
        room: Side of the input that a stranger with a GPU would use.
    """
    tried = {spec.mode for spec in specs}, {spec.attack for spec in specs}
    modes = [mode.value for mode in _MODES[Tier.RELEASE] if mode not in tried[0]]
    attacks = [name for name in _ATTACKS[Tier.RELEASE] if name not in tried[1]]
    lines = []
    if not any(spec.mode is Mode.FULL and spec.attack == PLAIN for spec in specs):
        lines.append("full fine-tuning without an attack")
    if modes:
        lines.append(f"training modes: {', '.join(modes)}")
    if attacks:
        lines.append(f"attacks: {', '.join(attacks)}")
    for network, size in sizes.items():
        more = f"; these pictures have room for {room}" if room > size else ""
        lines.append(f"sizes: {network} at any but {size} px{more}")
    return (*lines, *(f"{name}: {what}" for name, what in RESEARCH_TIER.items()))
