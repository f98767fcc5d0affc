"""The settings of each command: parsed, validated and frozen before anything is computed.

Must not import torch.
"""

import secrets
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_serializer, model_validator

from protect.config.choices import (
    DEFAULT_BACKBONE,
    DEFAULT_MAX_PIXELS,
    DEFAULT_OUTPUT,
    Binding,
    Existing,
    Harden,
    Mode,
    NoiseMode,
    OnError,
    Preset,
    Rights,
    Targets,
    Tier,
)
from protect.config.values import (
    AUTO,
    LARGEST_BATCH,
    BatchSetting,
    Eps,
    EpsSetting,
    Frozen,
    HardenSetting,
    PathSetting,
    ShardSetting,
    TimeBudgetSetting,
)
from protect.errors import ConfigError

Config = TypeVar("Config", bound=BaseModel)

LARGEST_RATE = 1e30
"""Any training diverges below it; ten times as much still is a number to SGD in 32 bits."""


class _Machine(Frozen):
    """Settings that say where and with what to compute.

    The kind of device decides the size at which pictures are shown, where none is given; weights
    decide what is computed. The others change nothing of it.
    """

    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    workers: int | None = Field(None, ge=1, le=256)
    offline: bool = False
    weights: dict[str, PathSetting] = Field(default_factory=dict)
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, ge=1)

    @field_serializer("weights")
    def _names_only(self, weights: dict[str, Path]) -> dict[str, str]:
        """Keep folders of this machine out of whatever is published."""
        return {name: path.name for name, path in weights.items()}


class Effort(Frozen):
    """Counts and rates of the bi-level loop (method section 3).

    Attributes:
        rounds: Rounds of the loop; the curriculum splits them into three stages. 0 where the
            noise is chosen by a search.
        outer_steps: Outer updates of the noise in each round.
        batch_size: Images in each inner and outer step.
        inner_lr: Rate of the surrogate's SGD step.
        outer_lr: Rate of Adam on the noise at the start; a cosine takes it down.
    """

    rounds: int = Field(ge=0)
    outer_steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    inner_lr: float = Field(0.02, gt=0)
    outer_lr: float = Field(0.2, gt=0)


SEARCHED_THROUGH = (Harden.JPEG, Harden.BLUR, Harden.RESIZE)
"""What the noise survives best of all that was measured, where nobody says anything."""
TEXTURES_RATE = 0.05
"""Of the outer steps after a search for textures, where somebody asks for any."""
EFFORTS: dict[Preset, Effort] = {
    Preset.QUICK: Effort(rounds=54, outer_steps=12, batch_size=64),
    Preset.STANDARD: Effort(rounds=60, outer_steps=12, batch_size=128),
    Preset.STRONG: Effort(rounds=180, outer_steps=12, batch_size=128),
}


SEED_BITS = 63
"""Of a run's seed: more than anybody can try. Each of its streams has 32, see `generator`."""
GUESSED_BELOW = 2**32
"""Seeds that somebody may try one by one, or that are a date or a number that comes to mind."""


class RunConfig(_Machine):
    """Settings of `protect run`.

    Attributes:
        source: Folder of pictures.
        output: Folder to write; its sibling `<output>.state` holds the private state.
        labels: CSV of `file_name,label`; None for class folders or a metadata file in the source.
        manifest: File to write the manifest to; None for `manifest.json` beside the pictures.
        eps: Budget.
        surrogate: Backbone the noise is optimised against.
        preset: Effort, where `rounds`, `outer_steps` and `batch_size` do not say otherwise.
        batch_size: Pictures a step of all processes; "auto" tries what memory holds; None for the
            preset's.
        targets: Policy that picks the incorrect class of each sample.
        binding: By what the outer step binds.
        mode: Whether the pictures of a class share their noise.
        harden: Changes of the pictures that the noise is to survive. "auto" stands for
            `SEARCHED_THROUGH` where there is time for that, and for none elsewhere.
        time_budget: Wall-clock time that the rounds are planned for instead; None for none.
        size: Side in pixels at which the surrogate sees the pictures; None picks it from them, and
            lets a search show them at a second size where they have room for it.
        seed: Every random draw derives from it. Who knows it can compute where the noise of each
            picture lies; so it is drawn if not given, and is not published. A run that is resumed
            goes on with its own.
        rights: What every published picture states on data mining; None for nothing.
        on_error: What to do about pictures that cannot be protected.
        existing: What to do about an output folder that is not empty.
        device: "auto", "cpu", "mps", "cuda" or "cuda:N".
        workers: Threads that decode and encode; None for one per core, at most 8.
        offline: Never download weights.
        weights: Weight file of a backbone, by the backbone's name.
        max_pixels: Pictures of more pixels are refused as decompression bombs.
    """

    source: PathSetting
    output: PathSetting = DEFAULT_OUTPUT
    labels: PathSetting | None = None
    manifest: PathSetting | None = None
    eps: EpsSetting = Eps.parse("8/255")
    surrogate: str = DEFAULT_BACKBONE
    preset: Preset = Preset.STANDARD
    targets: Targets = Targets.RANDOM
    binding: Binding = Binding.FEATURES
    mode: NoiseMode = NoiseMode.SAMPLE
    harden: HardenSetting = AUTO
    rounds: int | None = Field(None, ge=1)
    outer_steps: int | None = Field(None, ge=1)
    batch_size: BatchSetting | None = None
    time_budget: TimeBudgetSetting | None = None
    size: int | None = Field(None, ge=32, le=1024)
    seed: int = Field(default_factory=lambda: secrets.randbits(SEED_BITS), ge=0, lt=2**SEED_BITS)
    rights: Rights | None = None
    on_error: OnError = OnError.STOP
    existing: Existing = Existing.REFUSE

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if self.time_budget is not None and self.rounds is not None:
            raise ConfigError("--rounds and --time-budget exclude each other", "give one of them")
        if self.time_budget is not None and self.textured:
            raise ConfigError(
                "--time-budget plans rounds, and --harden jpeg searches in their place",
                "leave --time-budget out; --preset quick searches least, and --dry-run says how "
                "long it takes",
            )
        if self.textured and self.rounds is None and self.wants_rounds:
            raise ConfigError(
                "--targets and outer_steps belong to rounds, and --harden jpeg does none",
                "add --rounds N, which are done after its search, or leave one of them out",
            )
        return self

    @property
    def wants_rounds(self) -> bool:
        """Whether something is asked for that the bi-level loop does, and a search does not."""
        return (
            self.rounds is not None
            or self.outer_steps is not None
            or self.time_budget is not None
            or self.targets is not Targets.RANDOM
            or self.binding is not Binding.FEATURES
        )

    @property
    def hardened(self) -> tuple[Harden, ...]:
        """What the noise is to survive; nothing while that is left open."""
        return () if self.harden == AUTO else self.harden

    @property
    def textured(self) -> bool:
        """Whether the noise is a choice of textures that JPEG keeps, and not optimised tiles."""
        return Harden.JPEG in self.hardened and self.binding is Binding.FEATURES

    @property
    def searches_sizes(self) -> bool:
        """Whether that choice is made for every size that a stranger may use, if there is room."""
        return self.textured and self.size is None

    @property
    def effort(self) -> Effort:
        """The preset's counts with this config's own on top, but for what is found by trying.

        After a search no rounds are done, since they would lose much of what JPEG keeps, unless
        this config asks for some.
        """
        own = {
            "outer_lr": TEXTURES_RATE if self.textured else None,
            "rounds": 0 if self.textured and self.rounds is None else self.rounds,
            "outer_steps": self.outer_steps,
            "batch_size": None if self.batch_size == AUTO else self.batch_size,
        }
        changed = {name: value for name, value in own.items() if value is not None}
        return EFFORTS[self.preset].model_copy(update=changed)


PLACES = {"source", "output", "labels", "manifest", "existing"}
"""Settings of a run that tell of this machine: never published."""
SECRET = {"seed"}
"""Settings of a run by which its noise can be taken off: never published either."""
INDIFFERENT = {"on_error", "max_pixels", "workers", "offline"}
"""Settings of a run that change no published byte."""


class VerifyConfig(_Machine):
    """Settings of `protect verify`.

    Attributes:
        protected: Folder that `protect run` wrote, or any labelled folder if `clean` is given.
        backbones: Networks to train.
        tier: Which cells are run; None for "quick", or for the modes and attacks that are named.
        modes: Training modes to run instead of a tier.
        attacks: Attacks to run instead of a tier, by name.
        manifest: Manifest of the folder; None to look for it.
        clean: The originals; None for the folder that `protect run` recorded.
        test: Clean held-out pictures, in class folders or with a metadata file; None splits the
            originals.
        test_fraction: Share of the originals held out for testing where `test` is None.
        clean_fraction: Share of the originals that a stranger also has, in the modes "refit" and
            "clean-mix".
        epochs: Passes of full fine-tuning; None for the recipe's own. Other modes follow it.
        batch_size: Pictures a step; None for the recipe's own.
        lr: Learning rate of full fine-tuning; None for the recipe's own. Those of other modes keep
            their proportion to it; the published one takes it as it is.
        size: Side in pixels of the network's input; None for the size that `run` used, or the
            network's own where it accepts one only.
        max_retained: Largest share of the control's learning that still counts as protected.
        every_class: A cell passes only if each of its classes does too.
        seed: Of the split, the new heads, the batches and the augmentation.
        seeds: How many times each cell is trained, with seeds from `seed` on.
        cache: Keep finished trainings, and find them again.
        results: Folder that keeps them; None for the one beside `protected`. Verifications of
            several folders that share one train each control once.
        shard: Which part of the cells to run; None for all.
        merge: Train nothing; put the report together from what shards have kept.
        report: HTML file to write; None for none.
        junit: JUnit XML file to write; None for none.
    """

    protected: PathSetting
    backbones: tuple[str, ...] = (DEFAULT_BACKBONE,)
    tier: Tier | None = None
    modes: tuple[Mode, ...] = ()
    attacks: tuple[str, ...] = ()
    manifest: PathSetting | None = None
    clean: PathSetting | None = None
    test: PathSetting | None = None
    test_fraction: float = Field(0.25, gt=0, lt=1)
    clean_fraction: float = Field(0.05, gt=0, lt=1)
    epochs: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=2, le=LARGEST_BATCH)
    lr: float | None = Field(None, gt=0, le=LARGEST_RATE)
    size: int | None = Field(None, ge=32, le=1024)
    max_retained: float = Field(0.3, ge=0, le=1)
    every_class: bool = False
    seed: int = Field(0, ge=0, lt=2**31)
    seeds: int = Field(1, ge=1, le=100)
    cache: bool = True
    results: PathSetting | None = None
    shard: ShardSetting | None = None
    merge: bool = False
    report: PathSetting | None = None
    junit: PathSetting | None = None

    @model_validator(mode="after")
    def _has_backbones(self) -> Self:
        if not self.backbones:
            raise ValueError("at least one backbone is needed")
        return self

    @model_validator(mode="after")
    def _has_one_role(self) -> Self:
        if self.shard and self.merge:
            raise ConfigError("--shard and --merge exclude each other", "give one of them")
        if (self.shard or self.merge) and not self.cache:
            raise ConfigError(
                "shards meet in the results that are kept, and --no-cache keeps none",
                "leave --no-cache out",
            )
        if self.results and not self.cache:
            raise ConfigError(
                "--results names where to keep results, and --no-cache keeps none",
                "give one of them",
            )
        return self


class CheckConfig(Frozen):
    """Settings of `protect check`.

    Attributes:
        protected: Folder that `protect run` wrote.
        source: The originals; None for the folder that `protect run` recorded.
        manifest: Manifest of the folder; None to look for it.
        workers: Threads that decode and hash.
    """

    protected: PathSetting
    source: PathSetting | None = None
    manifest: PathSetting | None = None
    workers: int | None = Field(None, ge=1, le=256)


class PreviewConfig(Frozen):
    """Settings of `protect preview`.

    Attributes:
        protected: Folder that `protect run` wrote, or any labelled folder if `clean` is given.
        output: PNG file to write.
        manifest: Manifest of the folder; None to look for it.
        clean: The originals; None for the folder that `protect run` recorded.
        per_class: Pictures of each class.
        classes: Names of the classes to show; none for all.
        max_pixels: Larger pictures are refused, where no manifest says what its run allowed.
    """

    protected: PathSetting
    output: PathSetting
    manifest: PathSetting | None = None
    clean: PathSetting | None = None
    per_class: int = Field(2, ge=1, le=1000)
    classes: tuple[str, ...] = ()
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, ge=1)


def build(kind: type[Config], **settings: Any) -> Config:
    """Make a config of `kind`, reporting every impossible setting at once.

    Raises:
        ConfigError: One line per setting that is wrong.
    """
    try:
        return kind(**settings)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, item['loc'])) or kind.__name__}: "
            + item["msg"].removeprefix("Value error, ")
            for item in error.errors()
        ]
        raise ConfigError("some settings are impossible", "see --help", lines) from None
