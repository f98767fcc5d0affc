"""Pictures for a report: original, protected, and what lies between them, made visible."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AMPLIFICATION = 16
"""Times that the difference is enlarged: 8 levels of noise then fill the range around grey."""
SMALLEST_SIDE = 128
"""A tiny picture is enlarged by whole pixels until its shorter side has this many."""
LARGEST_SIDE = 384
"""Of a large picture the middle is shown, unscaled: to shrink it would average noise away."""


@dataclass(frozen=True, slots=True)
class Example:
    """One picture before and after.

    Attributes:
        name: Its path below the folder.
        original: PNG.
        protected: PNG.
        difference: PNG of grey plus the amplified difference.
        amplification: How many times the difference was enlarged.
        linf_levels: Largest change of any channel of any pixel, in 8-bit levels.
        psnr: Peak signal-to-noise ratio in dB; None where not one pixel changed.
        ssim: Structural similarity; None where a side is below its window.
        view: How the three PNGs show the picture, such as "64 x 64 px, 2 times enlarged".
    """

    name: str
    original: bytes
    protected: bytes
    difference: bytes
    amplification: int
    linf_levels: int
    psnr: float | None
    ssim: float | None
    view: str


def make_example(
    name: str,
    original: NDArray[np.uint8],
    protected: NDArray[np.uint8],
    *,
    psnr: float | None,
    ssim: float | None,
) -> Example:
    """Draw a picture before and after.

    Args:
        name: Its path below the folder.
        original: Pixels (H, W, 3), uint8.
        protected: Pixels of the same shape.
        psnr: As measured on the whole picture.
        ssim: As measured on the whole picture.

    Raises:
        ValueError: If the shapes differ or are not (H, W, 3).
    """
    if original.shape != protected.shape or original.ndim != 3 or original.shape[2] != 3:
        raise ValueError(
            f"{name}: cannot compare pixels of shapes {original.shape} and {protected.shape}"
        )
    before, after = shown(original), shown(protected)
    return Example(
        name=name,
        original=_png(before),
        protected=_png(after),
        difference=_png(amplified(before, after)),
        amplification=AMPLIFICATION,
        linf_levels=int(np.abs(protected.astype(np.int16) - original).max()),
        psnr=psnr,
        ssim=ssim,
        view=view_of(*original.shape[:2]),
    )


def shown(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut the middle out of a large picture, and enlarge a tiny one: (H, W, 3) to (h, w, 3)."""
    height, width = pixels.shape[:2]
    top, left = max(0, height - LARGEST_SIDE) // 2, max(0, width - LARGEST_SIDE) // 2
    middle = pixels[top : top + LARGEST_SIDE, left : left + LARGEST_SIDE]
    times = _enlargement(height, width)
    return middle.repeat(times, 0).repeat(times, 1)


def amplified(original: NDArray[np.uint8], protected: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return grey plus the enlarged difference of two pictures of one shape, uint8."""
    delta = protected.astype(np.int16) - original
    grey: NDArray[np.uint8] = np.clip(128 + AMPLIFICATION * delta, 0, 255).astype(np.uint8)
    return grey


def _enlargement(height: int, width: int) -> int:
    shorter, longer = sorted((height, width))
    return max(1, min(-(-SMALLEST_SIDE // shorter), LARGEST_SIDE // longer))


def view_of(height: int, width: int) -> str:
    """Say how a picture of that size is shown."""
    size = f"{width} x {height} px"
    if max(height, width) > LARGEST_SIDE:
        shown = f"{min(width, LARGEST_SIDE)} x {min(height, LARGEST_SIDE)} px"
        return f"the middle {shown} of {size}"
    times = _enlargement(height, width)
    return size if times == 1 else f"{size}, {times} times enlarged"


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()
