"""The manifest of a run, which lies beside the published pictures unless its owner keeps it."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError
from pydantic_core import to_json

from protect.config.choices import DEFAULT_MAX_PIXELS
from protect.config.values import Eps
from protect.documents.document import SCHEMA_VERSION, Document, Network, Tool
from protect.errors import ImageRefused, InputError
from protect.system.files import write_atomically

MANIFEST_NAME = "manifest.json"
_DAMAGED = (
    "restore it from a copy, or protect the originals again; a folder of another tool is verified "
    "with --clean ORIGINALS"
)

Status = Literal["protected", "unchanged"]


def status_of(linf_levels: int) -> Status:
    """Say what became of a picture whose largest change is so many levels."""
    return "protected" if linf_levels else "unchanged"


class Refused(Document):
    """A picture that was left out.

    Attributes:
        source: Its path below the source folder.
        reason: Why, in words for its owner.
    """

    source: str
    reason: str

    @classmethod
    def of(cls, source: str, refusal: ImageRefused) -> Self:
        """Record that a picture cannot be protected, and what could be done about it."""
        reason = f"{refusal.message}; {refusal.hint}" if refusal.hint else refusal.message
        return cls(source=source, reason=reason)

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class FinalTarget(Document):
    """The incorrect class that a class was bound to most often in the last stage."""

    target: str
    share: float


class TargetMapping(Document):
    """Which incorrect classes each class was bound to (method section 2).

    Attributes:
        policy: Name of the target policy of the rounds; "search" where there were none, since the
            textures are then chosen that mislead most, to whatever incorrect class.
        stages: Names of the stages, in order: "search" before those of the policy.
        counts: stage -> true class -> incorrect class -> how many samples (pictures with its noise
            that were bound to it, and clean ones taken for it); zeros are left out.
        final: true class -> its most frequent target in the last stage.
        anchor: The class with faint noise, to which pictures without noise fall; None for none.
    """

    policy: str
    stages: tuple[str, ...]
    counts: dict[str, dict[str, dict[str, int]]]
    final: dict[str, FinalTarget]
    anchor: str | None = None


class PatternDigest(Document):
    """Fingerprint of the private noise pattern of one class, of no use without the run's seed.

    Attributes:
        sha256: HMAC-SHA256 of its float32 values in levels; the key is the seed's decimal digits.
        height: Rows of the pattern before it is resized to a picture.
        width: Its columns.
        linf_levels: Largest absolute value, in 8-bit levels.
    """

    sha256: str
    height: int
    width: int
    linf_levels: float


class ImageRecord(Document):
    """One published picture.

    Attributes:
        source: Path of the original below the source folder.
        output: Path of the published PNG below the output folder.
        label: Class name.
        source_sha256: Digest of the original file.
        output_sha256: Digest of the published file.
        width: Columns, upright.
        height: Rows, upright.
        linf_levels: Largest change of any channel of any pixel, measured on the file re-read.
        psnr: Peak signal-to-noise ratio in dB; None where not one pixel changed.
        ssim: Structural similarity in [-1, 1]; None where a side is below its 11-pixel window.
        status: "protected", or "unchanged" where the noise left no trace (such as 1x1 pixel).
        notes: What the owner should know about this picture.
    """

    source: str
    output: str
    label: str
    source_sha256: str
    output_sha256: str
    width: int
    height: int
    linf_levels: int
    psnr: float | None
    ssim: float | None
    status: Status
    notes: tuple[str, ...] = ()


class Labels(Document):
    """Where the labels came from.

    Attributes:
        kind: "folders" (first-level folders), "csv" (`--labels`) or "metadata" (Hugging Face).
        file: Name of the label file that lies in the output folder; None for folders.
        column: Its label column; None for folders.
    """

    kind: Literal["folders", "csv", "metadata"]
    file: str | None = None
    column: str | None = None


class Timing(Document):
    """Wall-clock seconds of the stages of a run."""

    read: float
    optimise: float
    write: float


class Extension(Document):
    """What came and went with one `--extend`, compared with the manifest before it.

    Attributes:
        tool: What wrote it.
        kept: Pictures that stayed as they were published.
        added: New pictures, published with the noise of the run.
        changed: Pictures of which the original, the class or the published name is another now,
            published anew.
        restored: Published copies that were missing or damaged, written again.
        removed: Pictures that are no longer published, as their originals are gone or unreadable.
    """

    tool: Tool
    kept: int
    added: int
    changed: int
    restored: int
    removed: int

    @property
    def is_any(self) -> bool:
        """Whether anything came or went at all."""
        return bool(self.added or self.changed or self.restored or self.removed)


class Manifest(Document):
    """Facts of a run: enough to check every published file and to run again.

    Attributes:
        schema_version: Version of this layout.
        tool: What computed it.
        config: Settings of the run, without this machine's paths, and without its seed.
        eps: The budget as typed, as a number and in whole levels.
        classes: Class name -> index, in the order of the sorted names.
        labels: Where the labels came from.
        surrogate: Network that the noise was optimised against.
        target_mapping: Which incorrect classes each class was bound to.
        patterns: Class name -> fingerprint of its noise.
        bound: Share of pictures that the outer steps found taken for their target, by round; where
            textures were searched, the share of clean pictures that heads took for others is first.
        images: One record per published picture, sorted by source.
        refused: Pictures left out, with the reason.
        ignored: Kind of file (a suffix, or hidden, where a folder with all in it counts as one) ->
            how many were passed over.
        notes: Further warnings of the run.
        timing: Seconds by stage of the run, without extensions.
        processes: How many shared the work; another number gives the same noise up to rounding.
        extended: What came and went after the run, in order.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Tool
    config: dict[str, Any]
    eps: Eps
    classes: dict[str, int]
    labels: Labels
    surrogate: Network
    target_mapping: TargetMapping
    patterns: dict[str, PatternDigest]
    bound: tuple[float, ...]
    images: tuple[ImageRecord, ...]
    refused: tuple[Refused, ...] = ()
    ignored: dict[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    timing: Timing
    processes: int = 1
    extended: tuple[Extension, ...] = ()

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest picture that the run would read."""
        recorded = self.config.get("max_pixels")
        return recorded if isinstance(recorded, int) else DEFAULT_MAX_PIXELS

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        # Bytes at once: as text, tens of megabytes would exist several times.
        write_atomically(path, to_json(self, indent=1) + b"\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest.

        Raises:
            InputError: If there is none, or it is not one of a version this tool reads.
        """
        try:
            data = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise InputError(
                f"{path} does not exist",
                "name the folder that `protect run` wrote, or run it first; a manifest that lies "
                "elsewhere is named with --manifest",
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} cannot be read: {error}", _DAMAGED) from None
        version = data.get("schema_version") if isinstance(data, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise InputError(
                f"{path} has schema version {version}; this version of protect reads "
                f"{SCHEMA_VERSION}",
                "install a newer bait-protect",
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]]
            raise InputError(f"{path} is not a manifest of this tool", _DAMAGED, lines) from None
