"""Which attacks there are: those that can be run by name, and those that never are."""

from collections.abc import Mapping
from difflib import get_close_matches

from protect.errors import ConfigError
from protect.evaluation.attacks.adversarial import Adversarial
from protect.evaluation.attacks.base import Attack
from protect.evaluation.attacks.mixing import CutMix, Cutout, MixUp
from protect.evaluation.attacks.policies import RandAugment, ResizedCrop
from protect.evaluation.attacks.removal import ClassMean, Projection, Spectrum
from protect.evaluation.attacks.transforms import (
    Blur,
    DownUp,
    FewBits,
    Grey,
    Jpeg10,
    Jpeg30,
    Jpeg50,
    Jpeg75,
    Jpeg90,
    ShiftedJpeg10,
)
from protect.evaluation.attacks.ueraser import UEraser, UEraserLite

_CLASSES: tuple[type[Attack], ...] = (
    Attack,
    Jpeg10,
    ShiftedJpeg10,
    Jpeg30,
    Jpeg50,
    Jpeg75,
    Jpeg90,
    Grey,
    FewBits,
    Blur,
    DownUp,
    ResizedCrop,
    Cutout,
    CutMix,
    MixUp,
    RandAugment,
    UEraserLite,
    UEraser,
    Adversarial,
    Projection,
    ClassMean,
    Spectrum,
)
ATTACKS: Mapping[str, type[Attack]] = {attack.name: attack for attack in _CLASSES}
"""Name -> attack, in the order in which they are listed."""

RESEARCH_TIER: Mapping[str, str] = {
    "separability": "a linear probe on the noise itself, which only the owner has",
    "d-vae": "a two-stage variational autoencoder that learns to split the noise off",
    "avatar, diffpure": "purification by a diffusion model trained on clean pictures",
    "le-jcdp": "purification by a joint-conditional diffusion model",
    "progressive": "staged training with low rates on shallow layers when trapped",
    "self-supervised": "SimCLR or MoCo on the pictures first, then a probe",
    "other labels": "coarser or finer classes than the owner's",
    "lightshed": "a detector and remover trained on this very tool's output",
}
"""Name -> what it is: known ways to defeat the noise that are never run here."""


def make_attack(name: str) -> Attack:
    """Return a fresh attack, which has not been fitted.

    Args:
        name: One of `ATTACKS`.

    Raises:
        ConfigError: If there is none of that name; the hint names the most similar ones.
    """
    if name in ATTACKS:
        return ATTACKS[name]()
    similar = get_close_matches(name.lower(), ATTACKS, n=5)
    raise ConfigError(
        f"there is no attack {name!r}",
        f"did you mean {' or '.join(similar)}?" if similar else f"choose from {', '.join(ATTACKS)}",
    )
