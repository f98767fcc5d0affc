"""Who attacks and how, in the terms of `protect verify`, whose judgement this is.

A victim is a network and how it is trained. An attack is one of `protect verify --attack`, or one
of its training modes where that changes how a victim is fine-tuned.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

from protect.config.choices import Mode
from protect.errors import ConfigError
from protect.evaluation.attacks.registry import ATTACKS, make_attack
from protect.evaluation.plan import PLAIN, plan
from protect.models.names import resolve

OWN_WAYS = (Mode.LOW_LR, Mode.HIGH_LR, Mode.PUBLISHED, Mode.CLEAN_MIX, Mode.FROZEN_STAGES)
"""Training modes that are attacks on a victim who fine-tunes: slower, faster, longer, with 5 % of
clean pictures, with the first half frozen."""


@dataclass(frozen=True, slots=True)
class Victim:
    """Who trains on the protected pictures.

    Attributes:
        backbone: The network, as `protect verify --backbone` takes it.
        mode: How it is trained.
    """

    backbone: str
    mode: Mode = Mode.FULL

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name of `VICTIMS`, or "BACKBONE" or "BACKBONE@MODE".

        Raises:
            ConfigError: If there is no such network or mode.
        """
        if text in VICTIMS:
            return cls(VICTIMS[text].backbone, VICTIMS[text].mode)
        backbone, at, mode = text.partition("@")
        if at and mode not in list(Mode):
            raise ConfigError(
                f"there is no training mode {mode!r}", f"choose from {', '.join(Mode)}"
            )
        return cls(str(resolve(backbone)), Mode(mode) if at else Mode.FULL)


LITE0 = "timm:tf_efficientnet_lite0"
VICTIMS: Mapping[str, Victim] = {
    "lite0": Victim(LITE0),
    "lite1": Victim("timm:tf_efficientnet_lite1"),
    "lite2": Victim("timm:tf_efficientnet_lite2"),
    "lite0-probe": Victim(LITE0, Mode.LINEAR_PROBE),
    "resnet18-scratch": Victim("torchvision:resnet18", Mode.SCRATCH),
}
"""The surrogate of most methods, two that are nobody's, a linear layer, and one from scratch."""
USUAL_ATTACKS = (
    PLAIN,
    "jpeg10",
    "jpeg50",
    "jpeg90",
    "grey",
    "blur",
    "downup",
    "rrc",
    "cutmix",
    "projection",
    "class-mean",
    "spectrum",
    Mode.LOW_LR.value,
    Mode.PUBLISHED.value,
    Mode.CLEAN_MIX.value,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `protect verify`: each backbone under each attack, in one mode.

    Attributes:
        victims: Names of the victims, one a backbone.
        backbones: Networks.
        mode: How they are trained.
        attacks: What they do about the noise, in the terms of `protect verify --attack`.
        names: The same in the terms of the table, where a mode may be an attack.
        seeds: How many times each cell is trained.
    """

    victims: tuple[str, ...]
    backbones: tuple[str, ...]
    mode: Mode
    attacks: tuple[str, ...]
    names: tuple[str, ...]
    seeds: int

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Victim and attack of each cell of the report, in its order."""
        return list(product(self.victims, self.names))

    def __str__(self) -> str:
        return f"{', '.join(self.victims)} under {', '.join(self.names)}"


def victims_of(names: Iterable[str]) -> dict[str, Victim]:
    """Return victims by name, each of them once, under the first of its names.

    Raises:
        ConfigError: If there is no such network or mode.
    """
    first: dict[Victim, str] = {}
    for name in names:
        first.setdefault(Victim.parse(name), name)
    return {name: victim for victim, name in first.items()}


def require_attack(name: str) -> None:
    """Make sure that there is such an attack.

    Raises:
        ConfigError: If there is none.
    """
    if name not in list(OWN_WAYS):
        make_attack(name)


def calls(
    victims: Mapping[str, Victim], attacks: Sequence[str], seeds: int
) -> tuple[list[Call], list[str]]:
    """Put cells together to as few calls as possible.

    Args:
        victims: Name -> who.
        attacks: Names; see the top of this file.
        seeds: How many times the cells without an attack are trained; others once.

    Returns:
        The calls, and for each pair that cannot be run a line that says why.
    """
    wanted: dict[tuple[str, Mode, int], dict[str, str]] = defaultdict(dict)
    left_out = []
    for name, victim in victims.items():
        for attack in attacks:
            mode, applied = (victim.mode, attack) if attack in ATTACKS else (Mode(attack), PLAIN)
            reason = _impossible(victim, mode, applied)
            if reason:
                left_out.append(f"{name}, {attack}: {reason}")
            else:
                wanted[name, mode, seeds if attack == PLAIN else 1][attack] = applied
    together: dict[tuple[Mode, int, tuple[tuple[str, str], ...]], list[str]] = defaultdict(list)
    for (name, mode, times), own in wanted.items():
        together[mode, times, tuple(own.items())].append(name)
    return [
        Call(
            victims=tuple(names),
            backbones=tuple(victims[name].backbone for name in names),
            mode=mode,
            attacks=tuple(applied for _, applied in own),
            names=tuple(attack for attack, _ in own),
            seeds=times,
        )
        for (mode, times, own), names in together.items()
    ], left_out


def _impossible(victim: Victim, mode: Mode, attack: str) -> str:
    """Say why a victim cannot do this; empty if it can."""
    if mode is not victim.mode and victim.mode is not Mode.FULL:
        return "a way to fine-tune, and this victim does not"
    try:
        plan([victim.backbone], None, [mode], [attack])
    except ConfigError as error:
        return error.message.partition(":")[0]
    return ""
