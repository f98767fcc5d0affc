"""The methods that are compared, each an own implementation from its description."""

from collections.abc import Mapping

from protect.config.choices import Binding, Harden, NoiseMode, Targets

from .bait import ProtectRun
from .base import Method
from .emn import ErrorMinimising
from .generator import PublishedBait
from .simple import NoNoise, RandomSigns, SeparablePatches
from .tap import TargetedAdversarial

METHODS: Mapping[str, Method | ProtectRun] = {
    "none": NoNoise("no noise"),
    "random-class": RandomSigns("random signs, one a class", per="class"),
    "random-picture": RandomSigns("random signs, one a picture", per="picture"),
    "emn-scratch": ErrorMinimising("EMN, scratch surrogate", pretrained=False, lr=0.1),
    "emn-pretrained": ErrorMinimising("EMN, pretrained surrogate", pretrained=True, lr=0.02),
    "tap": TargetedAdversarial("TAP"),
    "lsp": SeparablePatches("LSP"),
    "bait-published": PublishedBait("BAIT, published"),
    "bait-table": ProtectRun(
        title="BAIT, published binding",
        source="`protect run --binding head --targets curriculum --mode class`: the published loss "
        "and targets, with the pattern table in place of the generator",
        binding=Binding.HEAD,
        targets=Targets.CURRICULUM,
        mode=NoiseMode.CLASS,
    ),
    "bait": ProtectRun(title="BAIT, as shipped", source="`protect run`"),
    "bait-rounds": ProtectRun(
        title="BAIT, --harden none",
        source="`protect run --harden none`: by the bi-level loop",
        harden=(),
    ),
    "bait-class": ProtectRun(
        title="BAIT, --mode class",
        source="`protect run --mode class --harden none`",
        mode=NoiseMode.CLASS,
        harden=(),
    ),
    "bait-hardened": ProtectRun(
        title="BAIT, --harden jpeg",
        source="`protect run --harden jpeg`",
        harden=(Harden.JPEG,),
    ),
}
"""Name -> method with its usual settings, in the order in which they are listed."""

__all__ = ["METHODS", "Method", "ProtectRun"]
