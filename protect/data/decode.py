"""One picture file to its 8-bit pixels: upright, exact, and nothing else of the file.

Owns what can be read faithfully; all else is refused with a reason. Colours are not converted: the
numbers are those that a stranger's loader sees, and the ICC profile is kept beside them. EXIF, GPS,
XMP and embedded previews go no further than here. Safe to call from many threads.

`decode` opens files by Pillow's plugins rather than by `Image.open`, so that the limit on pixels is
its own and Pillow's decompression-bomb policy stays as the rest of the process has set it.
"""

import hashlib
import io
import os
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin

from protect.config.choices import DEFAULT_MAX_PIXELS
from protect.data.tiff_errors import tiff_errors
from protect.errors import ImageRefused

# Formats of photographs only: each further parser is a further door for hostile files, and one of
# Pillow's (EPS) starts another program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000", "DIB")
_HEAD_BYTES = 1 << 20
_BAND_PIXELS = 1 << 20
_PPM_MAXVAL = re.compile(rb"P[2356](?:(?:\s|#[^\r\n]*[\r\n])+\d+){2}(?:\s|#[^\r\n]*[\r\n])+(\d+)")
_JPEG2000_START = b"\xff\x4f\xff\x51"
_TIFF_BITS_PER_SAMPLE = 258
_EXIF_ORIENTATION = 274
_EXIF_PROBLEMS = (SyntaxError, struct.error, LookupError, TypeError, ValueError, EOFError)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_READABLE_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX"})
_DEEP_MODES = ("I;16", "I", "F")
_TO_8_BITS = "convert it to 8 bits per channel first, as the picture will be published in 8 bits"

_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_FILTER_LOCK = Lock()

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: (H, W, C) levels, upright; C is 1 for grey and 3 for red, green, blue.
        alpha: (H, W) opacity, 255 for opaque; None where the file has none.
        icc_profile: Colour profile that the levels refer to; None where the file has none.
        notes: What the owner should know about this picture.
        sha256: Digest of the file, of the very bytes that were decoded.
        n_bytes: Size of the file.
    """

    pixels: Pixels
    alpha: Pixels | None
    icc_profile: bytes | None
    notes: tuple[str, ...]
    sha256: str = ""
    n_bytes: int = 0

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def is_grey(self) -> bool:
        """Whether it has one channel."""
        return int(self.pixels.shape[2]) == 1


def decode(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Read one picture; its format is told by its content, not by its name.

    Args:
        path: The file.
        max_pixels: Pictures of more pixels are refused before any pixel is decoded.

    Raises:
        ImageRefused: If it cannot be read faithfully. The message is the reason, without the path.
    """
    _quieten_pillow()
    try:
        with path.open("rb") as file, tiff_errors() as errors:
            picture = _read(file, max_pixels)
    except ImageRefused:
        raise
    except FileNotFoundError:
        raise ImageRefused("does not exist", "was it moved after the folder was read?") from None
    except PermissionError:
        raise ImageRefused("may not be read by this user", "change its permissions") from None
    except MemoryError:
        raise ImageRefused("does not fit into memory", "make it smaller first") from None
    except Image.DecompressionBombError as error:
        # Some of Pillow's parsers (WebP, tiled TIFF) check its own limit before ours can be.
        raise ImageRefused(
            f"is larger than Pillow allows for its format: {error}",
            "if it is no decompression bomb, save it as PNG and use --max-pixels",
        ) from None
    # Pillow's parsers raise nearly anything on hostile bytes.
    except Exception as error:
        # The system's errors also name the path, which the manifest must not tell.
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        words = " ".join(reason.split()) or type(error).__name__
        raise ImageRefused(f"cannot be decoded: {words}", "replace it by an intact copy") from error
    if errors:
        raise ImageRefused(
            f"is damaged: libtiff says so in {errors[0]}", "replace it by an intact copy"
        )
    return picture


def as_rgb(pixels: Pixels) -> Pixels:
    """Repeat the grey channel three times; colours pass through.

    Args:
        pixels: (H, W, 1) or (H, W, 3) levels.

    Returns:
        (H, W, 3) levels.
    """
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def row_bands(height: int, width: int) -> Iterator[slice]:
    """Cut a picture into bands of about a megapixel, as what is made of a band is small."""
    step = max(1, _BAND_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def pixel_digest(picture: Picture) -> str:
    """Digest what a network is shown of a picture: its upright RGB levels at its own size.

    Two files of one picture have one digest, whatever their format, compression or metadata, and
    whether their grey is stored in one channel or in three.

    Returns:
        64 lower-case hexadecimal digits.
    """
    digest = hashlib.sha256(f"{picture.height}x{picture.width}".encode())
    digest.update(np.ascontiguousarray(as_rgb(picture.pixels)).data)
    return digest.hexdigest()


def same_opacity(one: Picture, other: Picture) -> bool:
    """Say whether two pictures of one size are equally opaque everywhere.

    A picture without an alpha channel is as one that is opaque throughout.
    """
    if one.alpha is not None and other.alpha is not None:
        return np.array_equal(one.alpha, other.alpha)
    return all(alpha is None or _unless_opaque(alpha) is None for alpha in (one.alpha, other.alpha))


def _quieten_pillow() -> None:
    """Keep Pillow's warnings about damaged metadata off the terminal.

    `warnings.catch_warnings` is not safe among threads; a filter that is put in front and left
    there is. It is put there again wherever someone has restored older filters meanwhile.
    """
    if warnings.filters[0] != _PILLOW_WARNINGS:
        with _FILTER_LOCK:
            warnings.filterwarnings("ignore", module=r"PIL\.")


def _read(stored: io.BufferedReader, max_pixels: int) -> Picture:
    head = stored.read(_HEAD_BYTES)
    # Of most files that is all, and they are read once; large ones stay where they are.
    file = io.BytesIO(head) if len(head) < _HEAD_BYTES else stored
    image = _open(file, head)
    _check_size(image, max_pixels)
    _check_depth(image, head)
    notes = _check_frames(image)
    image.load()

    upright: Image.Image = image
    try:
        turn = _UPRIGHT.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _EXIF_PROBLEMS:
        notes.append("its EXIF block is damaged, so it is taken the way up it is stored")
    else:
        if turn is not None:
            upright = image.transpose(turn)

    pixels, alpha = _planes(upright, _key_scale(image, head))
    profile = image.info.get("icc_profile") or None
    if profile is not None and not _fits(profile, channels=pixels.shape[2]):
        profile = None
        notes.append("its colour profile does not fit its pixels and is left out")
    elif profile is not None and len(profile) > PngImagePlugin.MAX_TEXT_CHUNK:
        profile = None
        notes.append("its colour profile is larger than a PNG may have it and is left out")
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Picture(pixels, alpha, profile, tuple(notes), digest, file.seek(0, os.SEEK_END))


def _open(file: IO[bytes], head: bytes) -> ImageFile.ImageFile:
    if not head:
        raise ImageRefused("is empty (0 bytes)", "replace it by an intact copy")
    Image.init()
    for name in _FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None or accept is None:
            continue
        try:
            # Of a file of a few bytes, this too can fail.
            if accept(head[:16]) is not True:
                continue
            file.seek(0)
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # Not of this format after all, or damaged beyond recognition.
    raise ImageRefused(
        "is no picture that this tool can read", "replace it by an intact JPEG or PNG"
    )


def _check_size(image: Image.Image, max_pixels: int) -> None:
    count = image.width * image.height
    if count == 0:
        raise ImageRefused("has no pixels", "replace it by an intact copy")
    if count > max_pixels:
        raise ImageRefused(
            f"has {count} pixels ({image.width}x{image.height}), above the limit of {max_pixels}",
            f"if it is no decompression bomb, use --max-pixels {count}",
        )


def _check_depth(image: Image.Image, head: bytes) -> None:
    bits = _bits_per_channel(image, head)
    if bits > 8 or image.mode.startswith(_DEEP_MODES):
        found = f"{bits} bits" if bits > 8 else "more than 8 bits"
        raise ImageRefused(f"has {found} per channel", _TO_8_BITS)
    if image.mode not in _READABLE_MODES:
        raise ImageRefused(
            f"is a {image.mode} picture, neither RGB nor grey",
            "convert it to RGB first, by its own colour profile",
        )


def _bits_per_channel(image: Image.Image, head: bytes) -> int:
    """Read the depth from the file, as Pillow reduces some 16-bit pictures to 8 without a word."""
    if image.format == "PNG":
        if head[12:16] != b"IHDR":
            raise ImageRefused("has a damaged PNG header", "replace it by an intact copy")
        return head[24]
    if image.format == "TIFF":
        bits: tuple[int, ...] = getattr(image, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE, (1,))
        return max(bits)
    if image.format == "PPM":
        maxval = _PPM_MAXVAL.match(head)
        return int(maxval[1]).bit_length() if maxval else 1
    if image.format == "JPEG2000":
        # Marker SIZ: the number of channels after 40 bytes, then three bytes for each.
        size = head[max(head.find(_JPEG2000_START), 0) :]
        depths = size[42 : 42 + 3 * int.from_bytes(size[40:42]) : 3]
        return max(((depth & 0x7F) + 1 for depth in depths), default=8)
    if image.format == "AVIF":
        # Box av1C: bit 6 of its third byte is set for 10 and 12 bits, bit 5 for 12.
        flags = head[(head.find(b"av1C") + 4) :][2:3] or b"\0"
        return (12 if flags[0] & 0x20 else 10) if flags[0] & 0x40 else 8
    return 8


def _check_frames(image: Image.Image) -> list[str]:
    """Refuse animations; return what to say about a phone's JPEG with an embedded picture."""
    frames: int = getattr(image, "n_frames", 1)
    if frames == 1:
        return []
    if image.format == "MPO":
        return ["it embeds a preview, gain map or second view, which is left out"]
    raise ImageRefused(
        f"has {frames} frames", "save the frames that you want to publish as single pictures"
    )


def _planes(image: Image.Image, key_scale: int) -> tuple[Pixels, Pixels | None]:
    """Split into (H, W, 1 or 3) levels and (H, W) opacity."""
    key = image.info.get("transparency")
    if image.mode in ("LA", "La"):
        return _split(image, "LA")
    if image.mode == "RGBA":
        return _split(image, "RGBA")
    if image.mode in ("P", "PA"):
        pixels, opacity = _split(image, "RGBA")
        if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(
            pixels[..., 0], pixels[..., 2]
        ):
            pixels = pixels[..., :1].copy()
        return pixels, opacity if image.mode == "PA" else _unless_opaque(opacity)
    pixels = np.empty((image.height, image.width, 1 if image.mode in ("1", "L") else 3), np.uint8)
    for rows, band in _bands(image, "L" if pixels.shape[2] == 1 else "RGB"):
        pixels[rows] = band
    if key is None:
        return pixels, None
    is_key = (pixels == np.array(key) * key_scale).all(axis=2)
    return pixels, _unless_opaque(np.where(is_key, 0, 255).astype(np.uint8))


def _split(image: Image.Image, mode: str) -> tuple[Pixels, Pixels]:
    """Return the colours and the opacity, where `mode` ends with an A."""
    pixels = np.empty((image.height, image.width, len(mode) - 1), np.uint8)
    alpha = np.empty((image.height, image.width), np.uint8)
    for rows, band in _bands(image, mode):
        pixels[rows], alpha[rows] = band[..., :-1], band[..., -1]
    return pixels, alpha


def _bands(image: Image.Image, mode: str) -> Iterator[tuple[slice, Pixels]]:
    """Convert some rows at a time: Pillow and NumPy both make copies, of bands small ones.

    Yields:
        Which rows, and their levels (h, W, C).
    """
    for rows in row_bands(image.height, image.width):
        is_all = rows == slice(0, image.height)
        band = image if is_all else image.crop((0, rows.start, image.width, rows.stop))
        yield rows, np.atleast_3d(np.asarray(band if band.mode == mode else band.convert(mode)))


def _unless_opaque(alpha: Pixels) -> Pixels | None:
    return None if (alpha == 255).all() else alpha


def _key_scale(image: Image.Image, head: bytes) -> int:
    """Return the factor from a PNG's transparent grey to levels: Pillow scales only the pixels."""
    is_shallow = image.format == "PNG" and image.mode == "L"
    return {2: 85, 4: 17}.get(head[24], 1) if is_shallow else 1


def _fits(profile: bytes, channels: int) -> bool:
    """Whether it is an ICC profile for that many channels."""
    return profile[36:40] == b"acsp" and profile[16:20] == (b"RGB " if channels == 3 else b"GRAY")
