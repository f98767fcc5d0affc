"""What all documents share: strictness, a version, who computed them, and which networks.

Paths in documents are relative and POSIX; nothing of the machine or of the pictures' own metadata
is in them. Must not import torch.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict

TOOL_NAME = "bait-protect"
SCHEMA_VERSION: Final = 1


class Document(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tool(Document):
    """What computed the document, and on what."""

    name: str = TOOL_NAME
    version: str
    python: str
    platform: str
    device: str
    packages: dict[str, str]


class Weights(Document):
    """Where the weights of a network came from.

    Attributes:
        origin: "file", "package", "cache", "download", "local-dir" or "none" (fresh, from scratch).
        file: File name, without its folder.
        sha256: Digest of that file; empty for fresh weights.
        tag: The library's name for them, such as "IMAGENET1K_V1" or "in1k"; may be empty.
    """

    origin: str
    file: str
    sha256: str
    tag: str = ""


class Network(Document):
    """A backbone as it was used.

    Attributes:
        name: Qualified name, such as "torchvision:vit_b_16".
        architecture: Digest of the file that describes it, of a network that no library has; else
            empty.
        weights: Where its weights came from.
        input_size: Side in pixels of the square input it was given.
        mean: Per-channel mean that its normalisation subtracts, on the scale 0 to 1.
        std: Per-channel deviation that its normalisation divides by.
    """

    name: str
    architecture: str = ""
    weights: Weights
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
