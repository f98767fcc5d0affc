"""Picture files of every kind, made on the spot."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

HAS_AVIF = features.check("avif")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]
CMYK_PROFILE = SRGB[:16] + b"CMYK" + SRGB[20:]
ORIENTATION = 274


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return random levels of a shape."""
    return np.random.default_rng((seed, len(shape))).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Return the file that Pillow makes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def picture(mode: str, size: tuple[int, int] = (17, 13), seed: int = 0) -> Image.Image:
    """Return a random picture of a mode."""
    channels = {"RGBA": 4, "LA": 2, "CMYK": 4}.get(mode, 3)
    planes = noise(size[1], size[0], channels, seed=seed)
    if mode in ("RGBA", "LA"):
        planes[: size[1] // 2, :, -1] = 0
        return Image.fromarray(planes, mode=mode)
    return Image.fromarray(planes, mode=mode if mode == "CMYK" else "RGB").convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """Return the start of a PNG file."""
    fields = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", fields)


def png(rows: bytes, depth: int, colour: int, *extra: bytes, width: int = 2) -> bytes:
    """Write a PNG by hand, of two rows that come with their filter bytes."""
    parts = [png_header(width, 2, depth, colour), *extra, chunk(b"IDAT", zlib.compress(rows))]
    return b"".join(parts) + chunk(b"IEND", b"")


def bomb(side: int = 20_000) -> bytes:
    """Return a small PNG file of very many pixels, one bit each."""
    rows = zlib.compress(bytes(side * (side // 8 + 1)), 9)
    return png_header(side, side, 1, 0) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def turned(orientation: int) -> Image.Exif:
    """Return an EXIF block that says how the picture lies."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif
