"""Pixels to the bytes of a PNG file.

Owns what a published file contains: pixels, alpha, a colour profile, the owner's statement on data
mining if there is one, and nothing else. Does not touch the disk. Must not import torch.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from protect.config.choices import Rights
from protect.output.rights import PNG_KEYWORD, xmp_packet

COMPRESS_LEVEL = 4
"""zlib's effort. Measured on protected pictures (examples/benchmarks/speed.md): level 6, Pillow's
default, saves 0 to 3 % of the size at 1.3 to 2.3 times the time; 3 costs up to 13 % of the size."""


def encode_png(
    pixels: NDArray[np.uint8],
    alpha: NDArray[np.uint8] | None,
    icc_profile: bytes | None,
    rights: Rights | None = None,
) -> bytes:
    """Encode one picture without loss.

    The same arguments give the same bytes under one version of Pillow and its zlib.

    Args:
        pixels: Colours (H, W, 3) or greys (H, W, 1), uint8; kept where the picture is transparent.
        alpha: Opacity (H, W), uint8, or None for a picture without an alpha channel.
        icc_profile: The profile that the colours are in, or None for sRGB.
        rights: What the owner states on data mining, or None for nothing.

    Returns:
        A PNG file of mode L, LA, RGB or RGBA, without EXIF, times or any text but `rights`.

    Raises:
        ValueError: If an array has another shape or type, or the picture is empty.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"pixels must be uint8 (H, W, 1 or 3), not {pixels.dtype} {pixels.shape}")
    if not pixels.size:
        raise ValueError(f"a PNG cannot be empty, and these pixels are {pixels.shape}")
    if alpha is not None:
        if alpha.dtype != np.uint8 or alpha.shape != pixels.shape[:2]:
            raise ValueError(
                f"alpha must be uint8 {pixels.shape[:2]}, not {alpha.dtype} {alpha.shape}"
            )
        pixels = np.concatenate([pixels, alpha[:, :, np.newaxis]], axis=2)
    # Pillow takes the mode from the shape, and greys alone without their channel axis.
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    text = PngInfo()
    if rights is not None:
        text.add_itxt(PNG_KEYWORD, xmp_packet(rights))
    image.save(file, "PNG", icc_profile=icc_profile, pnginfo=text, compress_level=COMPRESS_LEVEL)
    return file.getvalue()
