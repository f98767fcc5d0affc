"""A folder that `protect run` was called on, and what came of it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TINY, cli
from numpy.typing import NDArray
from PIL import Image, ImageOps
from typer.testing import Result

from protect.config.choices import Preset
from protect.config.settings import EFFORTS

LEAST = EFFORTS[Preset.QUICK].model_copy(update={"outer_steps": 2})
"""No case is about how good the noise is."""


@dataclass(frozen=True)
class Ran:
    """A folder, what `protect run` made of it, and what it said."""

    photos: Path
    out: Path
    result: Result

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.out / "manifest.json").read_text(encoding="utf-8"))

    @cached_property
    def images(self) -> dict[str, dict[str, Any]]:
        """Source name -> its record."""
        return {image["source"]: image for image in self.manifest["images"]}

    @cached_property
    def refused(self) -> dict[str, str]:
        """Source name -> the reason."""
        return {item["source"]: item["reason"] for item in self.manifest["refused"]}

    def published(self, source: str) -> Image.Image:
        with Image.open(self.out / self.images[source]["output"]) as image:
            image.load()
            return image

    def planes(self, source: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return original and published levels (H, W, C), upright, as Pillow alone sees them."""
        published = self.published(source)
        with Image.open(self.photos / source) as image:
            original = ImageOps.exif_transpose(image)
            if original.mode not in ("L", "LA", "RGB", "RGBA"):
                original = original.convert(published.mode)
        planes = [np.atleast_3d(np.asarray(one)).astype(int) for one in (original, published)]
        assert planes[0].shape == planes[1].shape
        return planes[0], planes[1]

    def change(self, source: str) -> NDArray[np.int64]:
        """Return the noise of a picture, without its alpha: (H, W, 1 or 3)."""
        before, after = self.planes(source)
        channels = 3 if before.shape[2] > 2 else 1
        return after[..., :channels] - before[..., :channels]

    def is_within_budget(self, source: str) -> bool:
        """Whether a picture was changed, by no more than it may be, and the manifest says so."""
        largest = abs(self.change(source)).max()
        return 0 < largest == self.images[source]["linf_levels"] <= 8


def run(photos: Path, out: Path, *words: object) -> Ran:
    """Run `protect run` with the least effort."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EFFORTS, Preset.QUICK, LEAST)
        return Ran(photos, out, cli("run", photos, "-o", out, *TINY, *words))
