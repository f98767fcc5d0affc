import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from protect.config.choices import Rights
from protect.output.encode import encode_png

SIZES = st.integers(1, 20)


def profile_bytes() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def chunks(data: bytes) -> list[bytes]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    names, position = [], 8
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        names.append(data[position + 4 : position + 8])
        position += 12 + length
    return names


@given(
    height=SIZES,
    width=SIZES,
    channels=st.sampled_from([1, 3]),
    with_alpha=st.booleans(),
    with_profile=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_mode_comes_back_exactly(
    height: int, width: int, channels: int, with_alpha: bool, with_profile: bool, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (height, width, channels), dtype=np.uint8)
    alpha = draw.integers(0, 2, (height, width), dtype=np.uint8) * 255 if with_alpha else None
    icc = profile_bytes() if with_profile else None
    data = encode_png(pixels, alpha, icc)

    image = decoded(data)
    assert image.mode == ("L" if channels == 1 else "RGB") + ("A" if with_alpha else "")
    assert image.size == (width, height)
    bands = np.asarray(image).reshape(height, width, -1)
    # Colours survive where alpha is 0, too.
    np.testing.assert_array_equal(bands[:, :, :channels], pixels)
    if alpha is not None:
        np.testing.assert_array_equal(bands[:, :, channels], alpha)
    assert image.info.get("icc_profile") == icc


def test_colours_below_full_transparency_survive() -> None:
    pixels = np.full((2, 3, 3), (10, 20, 30), np.uint8)
    image = decoded(encode_png(pixels, np.zeros((2, 3), np.uint8), None))
    assert image.getpixel((2, 1)) == (10, 20, 30, 0)


def test_nothing_but_pixels_and_profile_is_in_the_file() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert set(chunks(encode_png(pixels, None, None))) == {b"IHDR", b"IDAT", b"IEND"}
    with_profile = encode_png(pixels, None, profile_bytes())
    assert set(chunks(with_profile)) == {b"IHDR", b"iCCP", b"IDAT", b"IEND"}
    assert not decoded(with_profile).getexif()
    stated = encode_png(pixels, None, profile_bytes(), Rights.NOAI)
    assert set(chunks(stated)) == {b"IHDR", b"iCCP", b"iTXt", b"IDAT", b"IEND"}
    assert chunks(stated).index(b"iTXt") < chunks(stated).index(b"IDAT")
    assert set(chunks(encode_png(pixels, None, None))) == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("icc", [None, b"any bytes at all"])
def test_two_encodings_are_equal(icc: bytes | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    alpha = pixels[:, :, 0].copy()
    assert encode_png(pixels, alpha, icc) == encode_png(pixels.copy(), alpha, icc)


def test_strided_views_are_encoded_as_they_look() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    view = pixels[::-1, ::2]
    np.testing.assert_array_equal(np.asarray(decoded(encode_png(view, None, None))), view)
    grey = view[:, :, 1:2]
    np.testing.assert_array_equal(np.asarray(decoded(encode_png(grey, None, None))), grey[:, :, 0])


@pytest.mark.parametrize(
    ("pixels", "alpha"),
    [
        (np.zeros((4, 4), np.uint8), None),
        (np.zeros((4, 4, 2), np.uint8), None),
        (np.zeros((4, 4, 4), np.uint8), None),
        (np.zeros((1, 4, 4, 3), np.uint8), None),
        (np.zeros((4, 4, 3), np.float32), None),
        (np.zeros((0, 4, 3), np.uint8), None),
        (np.zeros((4, 0, 3), np.uint8), None),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 1), np.uint8)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)),
    ],
)
def test_other_arrays_are_refused(pixels: Any, alpha: Any) -> None:
    with pytest.raises(ValueError, match=r"must be uint8|cannot be empty"):
        encode_png(pixels, alpha, None)
