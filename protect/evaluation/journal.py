"""Finished trainings on disk, found again by what went into them.

An interrupted verification goes on where it was, and a repeated one is instant.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from protect.errors import OutputError
from protect.evaluation.learned import Learned
from protect.system.files import (
    remove_stale_temporaries,
    require_writable,
    write_atomically,
)

PACKAGE = Path(__file__).parents[1]
CODE = (
    "evaluation/attacks/*.py",
    "evaluation/bench.py",
    "evaluation/finetune.py",
    "evaluation/freeze.py",
    "evaluation/learned.py",
    "evaluation/pictures.py",
    "evaluation/probe.py",
    "evaluation/split.py",
    "data/augment.py",
    "data/cache.py",
    "data/decode.py",
    "models/backbones.py",
    "models/features.py",
    "models/weights.py",
    "system/device.py",
)
"""What decides a training's figures beside its identity; a change of it makes old ones worthless.

Recipes are part of the identity, value by value; what is planned and how figures are judged decides
no figure.
"""

ABANDONED_SECONDS = 3600.0
"""A result is written in a moment; what is unfinished for so long is of a killed process."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished training.

    Attributes:
        learned: What it gave.
        seconds: That it took.
    """

    learned: Learned
    seconds: float


_AS_KEPT = TypeAdapter(Result)


class Journal:
    """Results in a folder, one file each; without a folder nothing is kept.

    Args:
        folder: Made when the first result is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def require_writable(self) -> None:
        """Find out before hours of training whether their results can be kept.

        Raises:
            MachineError: If they cannot.
        """
        if self.folder is not None:
            require_writable(
                self.folder,
                "allow yourself to write there, or keep no results with --no-cache, which goes "
                "without --shard",
            )

    def remove_abandoned(self) -> None:
        """Remove what killed processes left half-written; others may be writing here right now.

        Raises:
            MachineError: If that is not allowed.
        """
        if self.folder is not None:
            remove_stale_temporaries(self.folder, ABANDONED_SECONDS)

    def find(self, identity: Mapping[str, Any]) -> Result | None:
        """Return the result of a training of this identity, if there is a sound one.

        Raises:
            OutputError: If a folder is in its place, where no result could be kept.
        """
        if self.folder is None:
            return None
        try:
            found = json.loads(_path(self.folder, identity).read_bytes())
            result = _AS_KEPT.validate_python(found["result"])
            return result if result.learned.epochs else None
        except IsADirectoryError as error:
            raise OutputError(
                f"{error.filename} is a folder where protect keeps a result",
                "move it elsewhere, or keep no results with --no-cache",
            ) from None
        except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
            return None

    def keep(self, identity: Mapping[str, Any], result: Result) -> None:
        """Write a result, whole or not at all."""
        if self.folder is None:
            return
        content = {"identity": identity, "result": asdict(result)}
        path = _path(self.folder, identity)
        write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")


def _path(folder: Path, identity: Mapping[str, Any]) -> Path:
    text = json.dumps({**identity, "code": code_digest()}, sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


@cache
def code_digest() -> str:
    """Fingerprint the code that trains."""
    digest = hashlib.sha256()
    for pattern in CODE:
        for path in sorted(PACKAGE.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()
