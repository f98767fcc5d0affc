"""BAIT by `protect run` itself: as it is shipped, and with the published binding and targets."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from protect.config.choices import Binding, NoiseMode, Preset, Targets
from protect.config.settings import RunConfig
from protect.config.values import HardenSetting

DEFAULTS = RunConfig.model_fields


@dataclass(frozen=True)
class ProtectRun:
    """A call of `protect run`; what is not said here is its default.

    Attributes:
        title: In a table.
        source: Where it comes from, and what is different here.
        binding: By what the outer step binds.
        targets: Policy that picks incorrect classes.
        mode: Whether the pictures of a class share their noise.
        harden: Changes of the pictures that the noise is to survive.
        preset: Effort, where the counts below do not say otherwise.
        rounds: Of the loop; None for the preset's.
        batch_size: Pictures a step; None for the preset's.
    """

    title: str
    source: str
    binding: Binding = DEFAULTS["binding"].default
    targets: Targets = DEFAULTS["targets"].default
    mode: NoiseMode = DEFAULTS["mode"].default
    harden: HardenSetting = DEFAULTS["harden"].default
    preset: Preset = DEFAULTS["preset"].default
    rounds: int | None = None
    batch_size: int | None = None

    built_on: ClassVar[tuple[str, ...]] = (
        "bait/*.py",
        "budget.py",
        "config/*.py",
        "data/*.py",
        "generation.py",
        "models/*.py",
        "noise.py",
        "output/*.py",
        "run.py",
        "system/device.py",
        "system/shards.py",
    )

    def least(self) -> Self:
        """Return the same call with so little effort that its noise is worth nothing."""
        return replace(self, rounds=1, batch_size=8)
