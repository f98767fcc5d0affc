"""What a user chooses among, by name; and what is taken where nothing is named.

Must not import torch: `--help` and bad flags are answered in no time.
"""

from enum import StrEnum
from pathlib import Path

DEFAULT_BACKBONE = "timm:tf_efficientnet_lite0"
DEFAULT_OUTPUT = Path("protected")
DEFAULT_MAX_PIXELS = 178_956_970
"""Pillow's own error limit, about 179 megapixels; more is likely a decompression bomb."""


class Preset(StrEnum):
    """How much work goes into the noise."""

    QUICK = "quick"
    STANDARD = "standard"
    STRONG = "strong"


class Targets(StrEnum):
    """Which incorrect class each sample is bound to.

    CURRICULUM is the paper's: from the hardest over random to the least likely class.
    """

    CURRICULUM = "curriculum"
    CYCLIC = "cyclic"
    RANDOM = "random"
    DISSIMILAR = "dissimilar"


class Binding(StrEnum):
    """By what a picture counts as bound to a class in the outer step.

    FEATURES asks feature space, where any head will find it: noise is bound to its class, and clean
    pictures to incorrect ones. HEAD is the surrogate's own head, as published.
    """

    FEATURES = "features"
    HEAD = "head"


class NoiseMode(StrEnum):
    """Whether the pictures of a class share their noise.

    With CLASS all carry the same pattern. With SAMPLE each carries its class's texture from a place
    of its own, so that no subtraction takes the noise off all of them.
    """

    CLASS = "class"
    SAMPLE = "sample"


class Harden(StrEnum):
    """What a stranger may do to the pictures that the noise is optimised to survive."""

    JPEG = "jpeg"
    GREY = "grey"
    BLUR = "blur"
    RESIZE = "resize"


class Mode(StrEnum):
    """How a stranger trains on the protected pictures.

    FULL fine-tunes every parameter; PUBLISHED does so exactly as the paper evaluates, gently for 60
    epochs, LOW_LR slowly and long, HIGH_LR at ten times the rate.
    LINEAR_PROBE trains a linear layer on frozen features, FROZEN_STAGES the second half of the
    network. SCRATCH starts from random weights. REFIT fits the last layer anew on a few clean
    pictures, CLEAN_MIX has them among the training pictures.
    """

    FULL = "full"
    PUBLISHED = "published"
    LOW_LR = "low-lr"
    HIGH_LR = "high-lr"
    LINEAR_PROBE = "linear-probe"
    FROZEN_STAGES = "frozen-stages"
    SCRATCH = "scratch"
    REFIT = "refit"
    CLEAN_MIX = "clean-mix"


class Tier(StrEnum):
    """How much a verification tries: about a minute, for every commit, before a release."""

    QUICK = "quick"
    CI = "ci"
    RELEASE = "release"


class Rights(StrEnum):
    """What the owner may state on data mining; each forbids the training of any network.

    NOAI forbids training only. SEARCH_ONLY forbids all data mining but that of public search
    engines, NOMINING all of it.
    """

    NOAI = "noai"
    SEARCH_ONLY = "search-only"
    NOMINING = "nomining"


class OnError(StrEnum):
    """What to do about pictures that cannot be protected."""

    STOP = "stop"
    SKIP = "skip"


class Existing(StrEnum):
    """What to do about an output folder that is not empty."""

    REFUSE = "refuse"
    RESUME = "resume"
    EXTEND = "extend"
    OVERWRITE = "overwrite"
