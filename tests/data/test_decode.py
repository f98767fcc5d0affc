"""Every kind of picture file: exact pixels, or a refusal that says why."""

import errno
import io
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import CMYK_PROFILE, GREY_PROFILE, HAS_AVIF, SRGB, chunk, encoded, noise, png
from PIL import Image, ImageOps

from protect.data.decode import Picture, as_rgb, decode, pixel_digest
from protect.documents.manifest import Refused
from protect.errors import ImageRefused
from protect.output.encode import encode_png

Array = NDArray[np.uint8]
HEIGHT, WIDTH = 13, 17

LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("WEBP", {"lossless": True, "exact": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("PPM", {}),
    ("JPEG2000", {"irreversible": False}),
]
EXIF_FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("JPEG", {"quality": 100, "subsampling": 0}),
]
NEEDS_AVIF = pytest.mark.skipif(not HAS_AVIF, reason="Pillow without AVIF")


def read(folder: Path, data: bytes, name: str = "picture.bin", **options: int) -> Picture:
    path = folder / name
    path.write_bytes(data)
    return decode(path, **options)


def refusal(folder: Path, data: bytes, **options: int) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        read(folder, data, **options)
    assert caught.value.hint
    assert str(folder) not in caught.value.message
    return caught.value


@pytest.mark.parametrize(("format_name", "options"), LOSSLESS)
def test_colours_come_exactly_from_any_lossless_format_c34(
    tmp_path: Path, format_name: str, options: dict[str, Any]
) -> None:
    pixels = noise(HEIGHT, WIDTH, 3)
    picture = read(tmp_path, encoded(Image.fromarray(pixels), format_name, **options))
    assert np.array_equal(picture.pixels, pixels)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.writeable
    assert (picture.height, picture.width, picture.is_grey) == (HEIGHT, WIDTH, False)
    assert (picture.alpha, picture.icc_profile, picture.notes) == (None, None, ())


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP", "PPM", "JPEG2000", "GIF"])
def test_grey_stays_grey_c28(tmp_path: Path, format_name: str) -> None:
    pixels = noise(HEIGHT, WIDTH)
    picture = read(tmp_path, encoded(Image.fromarray(pixels), format_name))
    assert picture.is_grey
    assert np.array_equal(picture.pixels[..., 0], pixels)
    assert np.array_equal(as_rgb(picture.pixels), np.stack([pixels] * 3, axis=2))


def test_as_rgb_passes_colours_through() -> None:
    pixels = noise(HEIGHT, WIDTH, 3)
    assert as_rgb(pixels) is pixels


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_black_and_white_becomes_0_and_255_c28(tmp_path: Path, format_name: str) -> None:
    pixels = noise(HEIGHT, WIDTH) // 128 * np.uint8(255)
    bilevel = Image.fromarray(pixels).convert("1", dither=Image.Dither.NONE)
    picture = read(tmp_path, encoded(bilevel, format_name))
    assert np.array_equal(picture.pixels[..., 0], pixels)


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "TIFF", "JPEG2000"])
def test_alpha_and_the_colours_under_it_are_kept_c26(tmp_path: Path, format_name: str) -> None:
    planes = noise(HEIGHT, WIDTH, 4)
    planes[: HEIGHT // 2, :, 3] = 0
    options = {"WEBP": {"lossless": True, "exact": True}}.get(format_name, {})
    picture = read(tmp_path, encoded(Image.fromarray(planes), format_name, **options))
    assert picture.alpha is not None
    assert np.array_equal(picture.pixels, planes[..., :3])
    assert np.array_equal(picture.alpha, planes[..., 3])


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "JPEG2000"])
def test_grey_with_alpha_c28(tmp_path: Path, format_name: str) -> None:
    planes = noise(HEIGHT, WIDTH, 2)
    picture = read(tmp_path, encoded(Image.fromarray(planes, "LA"), format_name))
    assert picture.alpha is not None
    assert np.array_equal(picture.pixels, planes[..., :1])
    assert np.array_equal(picture.alpha, planes[..., 1])


def test_premultiplied_grey_is_divided_by_its_alpha(tmp_path: Path) -> None:
    data = bytearray(encoded(Image.new("LA", (2, 2), (100, 128)), "TIFF"))
    entry = data.index(struct.pack("<HHI", 338, 3, 1))  # ExtraSamples
    data[entry + 8] = 1  # associated, which means premultiplied
    picture = read(tmp_path, bytes(data))
    assert picture.is_grey
    assert picture.pixels[0, 0, 0] == 199


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("format_name", ["PNG", "GIF", "TIFF"])
def test_palettes_are_resolved_c28(
    tmp_path: Path, format_name: str, grey: bool, alpha: bool
) -> None:
    palette = noise(8, 3)
    palette[:, 1:] = palette[:, :1] if grey else palette[:, 1:]
    indices = noise(HEIGHT, WIDTH) % 8
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    options = {"transparency": 3} if alpha and format_name != "TIFF" else {}
    picture = read(tmp_path, encoded(image, format_name, **options))
    assert picture.is_grey == grey
    assert np.array_equal(as_rgb(picture.pixels), palette[indices])
    if options:
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, np.where(indices == 3, 0, 255))
    else:
        assert picture.alpha is None


def test_a_palette_with_an_alpha_of_its_own_c26(tmp_path: Path) -> None:
    palette, opacity, indices = noise(4, 3), bytes([0, 90, 200, 255]), noise(HEIGHT, WIDTH) % 4
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    picture = read(tmp_path, encoded(image, "PNG", transparency=opacity))
    assert picture.alpha is not None
    assert np.array_equal(picture.pixels, palette[indices])
    assert np.array_equal(picture.alpha, np.frombuffer(opacity, np.uint8)[indices])
    assert picture.alpha.flags.writeable


@pytest.mark.parametrize(
    ("depth", "colour", "rows", "key", "pixels", "alpha"),
    [
        (8, 2, b"\0\1\2\3\4\5\6\0\1\2\3\1\2\4", (1, 2, 3), [[1, 4], [1, 1]], [[0, 255], [0, 255]]),
        (8, 0, b"\0\7\x08\0\x08\7", (7,), [[7, 8], [8, 7]], [[0, 255], [255, 0]]),
        (4, 0, b"\0\x3f\0\xf3", (3,), [[51, 255], [255, 51]], [[0, 255], [255, 0]]),
        (2, 0, b"\0\xd0\0\x70", (1,), [[255, 85], [85, 255]], [[255, 0], [0, 255]]),
        (1, 0, b"\0\x80\0\x40", (1,), [[255, 0], [0, 255]], [[0, 255], [255, 0]]),
    ],
)
def test_a_transparent_colour_becomes_alpha_c26(
    tmp_path: Path,
    depth: int,
    colour: int,
    rows: bytes,
    key: tuple[int, ...],
    pixels: list[list[int]],
    alpha: list[list[int]],
) -> None:
    data = png(rows, depth, colour, chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))
    picture = read(tmp_path, data)
    assert picture.alpha is not None
    assert picture.pixels[..., 0].tolist() == pixels
    assert picture.alpha.tolist() == alpha


def test_a_transparent_colour_that_does_not_occur_is_no_alpha(tmp_path: Path) -> None:
    data = png(b"\0\7\x08\0\x08\7", 8, 0, chunk(b"tRNS", struct.pack(">H", 99)))
    assert read(tmp_path, data).alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("format_name", "options"), EXIF_FORMATS)
def test_pixels_are_upright_once_c29(
    tmp_path: Path, format_name: str, options: dict[str, Any], orientation: int
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(Image.fromarray(noise(HEIGHT, WIDTH, 3)), format_name, exif=exif, **options)
    picture = read(tmp_path, data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert (picture.width > picture.height) == (orientation <= 4)
    assert np.array_equal(picture.pixels, expected)


def test_alpha_turns_with_the_pixels_c29(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    planes = noise(HEIGHT, WIDTH, 4)
    picture = read(tmp_path, encoded(Image.fromarray(planes), "PNG", exif=exif))
    assert picture.alpha is not None
    assert np.array_equal(picture.pixels, np.rot90(planes[..., :3], -1))
    assert np.array_equal(picture.alpha, np.rot90(planes[..., 3], -1))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"x"])
def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path, exif: bytes) -> None:
    pixels = noise(HEIGHT, WIDTH, 3)
    data = encoded(Image.fromarray(pixels), "PNG", exif=exif)
    assert np.array_equal(read(tmp_path, data).pixels, pixels)


def test_location_and_other_metadata_stay_behind_c35(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010F] = "SECRETCAM"
    picture = read(tmp_path, encoded(Image.fromarray(noise(9, 9, 3)), "JPEG", exif=exif))
    of_the_file = {"sha256", "n_bytes"}
    assert set(Picture.__slots__) == {"pixels", "alpha", "icc_profile", "notes"} | of_the_file
    assert "SECRETCAM" not in repr(picture)


def test_jpeg_is_as_pillow_reads_it(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(noise(HEIGHT, WIDTH, 3)), "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(read(tmp_path, data).pixels, expected)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_colour_profile_is_kept_and_the_levels_too_c30(
    tmp_path: Path, format_name: str
) -> None:
    image = Image.fromarray(noise(HEIGHT, WIDTH, 3))
    data = encoded(image, format_name, icc_profile=SRGB)
    picture = read(tmp_path, data)
    assert picture.icc_profile == SRGB
    assert np.array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert picture.notes == ()


@pytest.mark.parametrize(
    ("shape", "profile", "kept"),
    [
        ((9, 9), GREY_PROFILE, True),
        ((9, 9), SRGB, False),
        ((9, 9, 3), GREY_PROFILE, False),
        ((9, 9, 3), CMYK_PROFILE, False),
        ((9, 9, 3), b"RGB " * 8, False),
    ],
)
def test_a_profile_for_other_channels_is_left_out_with_a_note_c27(
    tmp_path: Path, shape: tuple[int, ...], profile: bytes, kept: bool
) -> None:
    data = encoded(Image.fromarray(noise(*shape)), "PNG", icc_profile=profile)
    picture = read(tmp_path, data)
    assert picture.icc_profile == (profile if kept else None)
    assert len(picture.notes) == (0 if kept else 1)


@pytest.mark.parametrize("format_name", ["JPEG", "WEBP", "TIFF"])
def test_a_profile_that_no_png_can_hold_is_left_out_with_a_note(
    tmp_path: Path, format_name: str
) -> None:
    """Pillow reads text and profiles of a PNG up to a mebibyte."""
    image = Image.fromarray(noise(HEIGHT, WIDTH, 3))
    for size, kept in ((1 << 20, True), ((1 << 20) + 1, False)):
        profile = SRGB + bytes(size - len(SRGB))
        picture = read(tmp_path, encoded(image, format_name, icc_profile=profile))
        assert (picture.icc_profile == profile) == kept
        assert len(picture.notes) == (0 if kept else 1)
        published = encode_png(picture.pixels, None, picture.icc_profile, None)
        assert np.array_equal(read(tmp_path, published).pixels, picture.pixels)


def test_the_content_counts_not_the_name_c18(tmp_path: Path) -> None:
    pixels = noise(HEIGHT, WIDTH, 3)
    picture = read(tmp_path, encoded(Image.fromarray(pixels), "PNG"), "photo.jpg")
    assert np.array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_are_refused_c27(tmp_path: Path, mode: str) -> None:
    error = refusal(tmp_path, encoded(Image.new(mode, (4, 4)), "TIFF"))
    assert error.message == f"is a {mode} picture, neither RGB nor grey"


@pytest.mark.parametrize("options", [{}, {"icc_profile": CMYK_PROFILE}])
def test_a_cmyk_jpeg_is_refused_c27(tmp_path: Path, options: dict[str, Any]) -> None:
    assert (
        "CMYK" in refusal(tmp_path, encoded(Image.new("CMYK", (4, 4)), "JPEG", **options)).message
    )


RAMP = Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8))


@pytest.mark.parametrize(
    "data",
    [
        encoded(RAMP, "PNG"),
        encoded(RAMP, "TIFF"),
        encoded(RAMP, "JPEG2000"),
        encoded(RAMP.convert("I"), "TIFF"),
        encoded(RAMP.convert("F"), "TIFF"),
        png(b"\0" + b"\1\2" * 6 + b"\0" + b"\3\4" * 6, 16, 2),
        png(b"\0" + b"\1\2" * 4 + b"\0" + b"\3\4" * 4, 16, 4),
        png(b"\0" + b"\1\2" * 8 + b"\0" + b"\3\4" * 8, 16, 6),
        b"P5 2 1 65535\n" + bytes(4),
        b"P6 # a comment\n2 1\n# and one more\n1023\n" + bytes(12),
        b"P3\n1 1\n65535\n1 2 3\n",
    ],
    ids=lambda data: data[:2].hex(),
)
def test_more_than_8_bits_are_refused_never_clipped_c24(tmp_path: Path, data: bytes) -> None:
    error = refusal(tmp_path, data)
    assert "bits per channel" in error.message
    assert "8 bits" in error.hint


def test_16_bit_colour_tiff_is_refused_c24(tmp_path: Path) -> None:
    data = encoded(Image.new("RGB", (4, 4)), "TIFF")
    entry = data.index(struct.pack("<HHI", 258, 3, 3))  # BitsPerSample
    values = struct.unpack_from("<I", data, entry + 8)[0]
    deep = data[:values] + struct.pack("<3H", 16, 16, 16) + data[values + 6 :] + bytes(96)
    assert refusal(tmp_path, deep).message == "has 16 bits per channel"


def test_16_bit_colour_jpeg2000_is_refused_c24(tmp_path: Path) -> None:
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG2000"))
    size = data.index(b"\xff\x4f\xff\x51") + 42
    data[size : size + 9 : 3] = bytes([15, 15, 15])
    assert refusal(tmp_path, bytes(data)).message == "has 16 bits per channel"


@NEEDS_AVIF
def test_avif_of_8_bits_is_read_and_of_10_bits_refused_c24(tmp_path: Path) -> None:
    pixels = np.full((16, 16, 3), (200, 80, 40), np.uint8)
    data = encoded(Image.fromarray(pixels), "AVIF", quality=100)
    assert np.abs(read(tmp_path, data).pixels.astype(int) - pixels).max() <= 4
    deep = bytearray(data)
    deep[data.index(b"av1C") + 6] |= 0x40
    depths = data.index(b"pixi") + 9
    deep[depths : depths + 3] = bytes([10, 10, 10])
    assert "10 bits" in refusal(tmp_path, bytes(deep)).message


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused_by_count_c31(tmp_path: Path, format_name: str) -> None:
    first, *others = (Image.new("RGB", (8, 8), (level, 0, 0)) for level in (0, 100, 200))
    data = encoded(first, format_name, save_all=True, append_images=others)
    assert refusal(tmp_path, data).message == "has 3 frames"


def test_a_phone_jpeg_with_an_embedded_picture_gives_the_first_c31(tmp_path: Path) -> None:
    first, second = (Image.new("L", (8, 8), level) for level in (50, 200))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    picture = read(tmp_path, data)
    assert np.abs(picture.pixels.astype(int) - 50).max() <= 2
    assert len(picture.notes) == 1


@pytest.mark.parametrize(
    "data", [b"", b"x", b"not a picture at all", b"\xff\xd8\xff\xe0", b"<svg/>", bytes(1000)]
)
def test_what_is_no_picture_is_refused_c20(tmp_path: Path, data: bytes) -> None:
    message = refusal(tmp_path, data).message
    assert message == "is empty (0 bytes)" if not data else message


@pytest.mark.parametrize(
    ("format_name", "options"),
    [*LOSSLESS, ("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {})],
)
def test_a_cut_file_is_refused_or_whole_c21(
    tmp_path: Path, format_name: str, options: dict[str, Any]
) -> None:
    data = encoded(Image.fromarray(noise(40, 40, 3)), format_name, **options)
    whole = read(tmp_path, data).pixels
    refusal(tmp_path, data[: len(data) * 6 // 10])
    for length in range(0, len(data), max(1, len(data) // 40)):
        try:
            picture = read(tmp_path, data[:length])
        except ImageRefused:
            continue
        assert np.array_equal(picture.pixels, whole)


def test_a_bomb_is_refused_by_its_header_c22(tmp_path: Path) -> None:
    side = 20_000
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100)))
    for limit in ({}, {"max_pixels": 1000}):
        error = refusal(tmp_path, data, **limit)
        assert error.message.startswith("has 400000000 pixels (20000x20000)")
        assert "--max-pixels 400000000" in error.hint


def test_the_pixel_limit_is_inclusive_and_may_exceed_pillows_c22(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.fromarray(noise(10, 10, 3)), "PNG")
    assert read(tmp_path, data, max_pixels=100).width == 10
    refusal(tmp_path, data, max_pixels=99)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    assert read(tmp_path, data, max_pixels=100).width == 10
    assert Image.MAX_IMAGE_PIXELS == 40
    error = refusal(tmp_path, encoded(Image.fromarray(noise(10, 10, 3)), "WEBP"))
    assert "100 pixels" in error.message
    assert "--max-pixels" in error.hint


def test_sizes_down_to_one_pixel_c33(tmp_path: Path) -> None:
    for shape in ((1, 1, 3), (500, 7, 3), (32, 33, 3)):
        data = encoded(Image.fromarray(noise(*shape)), "PNG")
        assert read(tmp_path, data).pixels.shape == shape


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageRefused, match="does not exist"):
        decode(tmp_path / "missing.png")
    with pytest.raises(ImageRefused):
        decode(tmp_path)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(ImageRefused, match="may not be read"):
        decode(tmp_path / "a.png")


def test_many_threads_read_alike(tmp_path: Path) -> None:
    arrays = [noise(HEIGHT, WIDTH, 3) + np.uint8(number) for number in range(8)]
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path, pixels in zip(paths, arrays, strict=True):
        path.write_bytes(encoded(Image.fromarray(pixels), "PNG", exif=b"Exif\0\0MM\0*"))
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(decode, paths * 4))
    for picture, pixels in zip(pictures, arrays * 4, strict=True):
        assert np.array_equal(picture.pixels, pixels)


TURNED = Image.Exif()
TURNED[274] = 6
SEEDS = [
    encoded(Image.fromarray(noise(12, 12, 3)), name, exif=TURNED)
    for name in ("PNG", "JPEG", "WEBP", "TIFF", *(["AVIF"] if HAS_AVIF else []))
] + [encoded(Image.fromarray(noise(12, 12)), name) for name in ("GIF", "BMP", "PPM", "JPEG2000")]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    end=st.integers(0, 3000),
)
def test_damaged_bytes_give_pixels_or_a_refusal(
    tmp_path: Path, seed: bytes, edits: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(seed)
    for place, value in edits:
        data[place % len(data)] = value
    try:
        picture = read(tmp_path, bytes(data[: end or None]), max_pixels=100_000)
    except ImageRefused as error:
        assert error.message
        assert "\n" not in error.message
    else:
        assert picture.pixels.ndim == 3
        assert picture.pixels.size <= 300_000


ENCODINGS = {
    "uncompressed": {"format": "PNG", "compress_level": 0},
    "bmp": {"format": "BMP"},
    "tiff": {"format": "TIFF"},
    "webp": {"format": "WEBP", "lossless": True},
    "ppm": {"format": "PPM"},
    "described": {"format": "PNG", "dpi": (72, 72), "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_copies_in_other_encodings_show_the_same(tmp_path, encoding, mode):
    shape = (7, 9) if mode == "L" else (7, 9, 3)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "copy", **ENCODINGS[encoding])
    assert pixel_digest(decode(tmp_path / "a.png")) == pixel_digest(decode(tmp_path / "copy"))


def test_grey_in_one_channel_or_three_and_a_turned_copy_show_the_same(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    picture.convert("RGB").save(tmp_path / "b.png")
    exif = Image.Exif()
    exif[274] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "c.png", exif=exif)
    digests = {pixel_digest(decode(tmp_path / f"{name}.png")) for name in "abc"}
    assert len(digests) == 1


def test_one_level_or_another_shape_shows_something_else(tmp_path):
    def digest(pixels: np.ndarray) -> str:
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "x.png")
        return pixel_digest(decode(tmp_path / "x.png"))

    pixels = np.zeros((4, 6))
    other = pixels.copy()
    other[3, 5] = 1
    assert len({digest(pixels), digest(other), digest(pixels.reshape(6, 4))}) == 3


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_no_error_of_the_system_tells_where_the_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "x.jpg"

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(ImageRefused) as caught:
        decode(path)
    assert str(tmp_path) not in str(Refused.of("x.jpg", caught.value))


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
@pytest.mark.parametrize("name", ["loop.jpg", "folder.jpg", "file.jpg/x.jpg", "n" * 300, "no.jpg"])
def test_what_is_no_file_is_refused_without_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "file.jpg").touch()
    with pytest.raises(ImageRefused) as caught:
        decode(tmp_path / name)
    assert str(tmp_path) not in str(Refused.of(name, caught.value))
