"""Cases 20 to 35: every kind of picture file, exact and upright, or refused with its reason."""

import io
from pathlib import Path

import numpy as np
import pytest
from cases.gallery import (
    EXIF_FORMATS,
    MODES,
    SECRET,
    SIZES,
    bad_files,
    mode_name,
    put,
    tree,
    write,
)
from cases.ran import Ran, run
from pictures import SRGB
from PIL import Image

ROWS = {
    "c20": ("empty", "text", "page"),
    "c21": ("cut-",),
    "c22": ("bomb",),
    "c24": ("deep", "float", "int"),
    "c27": ("cmyk", "lab", "ycbcr"),
    "c31": ("frames-",),
}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (row, name)
        for row, starts in ROWS.items()
        for name in bad_files()
        if name.startswith(starts)
    ],
)
def test_c20_c21_c22_c24_c27_c31_what_cannot_be_read_is_refused_by_name(
    bad: Ran, row: str, name: str
):
    assert bad_files()[name][0] in bad.refused[f"cats/{name}"]
    assert ";" in bad.refused[f"cats/{name}"], "the reason comes with what to do"
    assert tree(bad.out) == [
        "cats/0.png",
        "cats/1.png",
        "dogs/0.png",
        "dogs/1.png",
        "manifest.json",
    ]
    assert "Traceback" not in bad.result.output


def test_c20_c21_everything_bad_is_found_before_anything_is_computed(tmp_path: Path):
    """Nothing is left behind, and the first of a long list are named."""
    photos = write(tmp_path / "photos", "cats/1.png", "dogs/1.png")
    for name, (_, data) in bad_files().items():
        put(photos, f"cats/{name}", data)
    ran = run(photos, tmp_path / "out")
    assert ran.result.exit_code == 2
    assert f"{len(bad_files())} pictures cannot be protected" in ran.result.stderr
    assert "cats/bomb.png" in ran.result.stderr
    assert "--on-error skip" in ran.result.stderr
    assert "Optimising" not in ran.result.stderr
    assert list(tmp_path.iterdir()) == [photos]


def test_c22_the_limit_on_pixels_is_raised_by_the_flag_that_is_named(tmp_path: Path):
    photos = write(tmp_path / "photos", "cats/1.png", "dogs/1.png")
    ran = run(photos, tmp_path / "out", "--max-pixels", 255)
    assert ran.result.exit_code == 2
    assert "has 256 pixels (16x16), above the limit of 255" in ran.result.stderr
    assert "--max-pixels 256" in ran.result.stderr
    assert run(photos, tmp_path / "out", "--max-pixels", 256).result.exit_code == 0


def test_c22_a_raised_limit_still_is_one(bad: Ran):
    assert "--max-pixels 400000000" in bad.refused["cats/bomb.png"]
    assert bad.manifest["config"]["max_pixels"] == 178_956_970


@pytest.mark.parametrize(("format_name", "mode", "options"), MODES)
def test_c26_c28_c34_every_format_and_mode_keeps_its_kind(good: Ran, format_name, mode, options):
    source = mode_name(format_name, mode, options)
    published = good.published(source)
    with Image.open(good.photos / source) as image:
        assert image.mode == mode or format_name in ("GIF", "BMP", "WEBP", "AVIF", "PPM")
        # A GIF has a palette always; one of greys alone is grey.
        kind = mode if format_name == "GIF" else image.mode
        expected = {"1": "L", "P": "RGB"}.get(kind, kind)
    assert published.mode == expected
    before, after = good.planes(source)
    assert good.is_within_budget(source)
    if expected.endswith("A"):
        assert (before[..., -1] == 0).any()
        assert np.array_equal(before[..., -1], after[..., -1])


def test_c28_a_grey_colour_picture_stays_one_of_colours(good: Ran):
    """A grey scene stored as RGB is published as RGB; only one stored as grey is grey."""
    assert good.published("sizes/640x480.png").mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", EXIF_FORMATS)
def test_c29_pixels_are_upright_once(good: Ran, format_name: str, orientation: int):
    source = f"turned/{format_name}-{orientation}.jpg"
    published = good.published(source)
    assert published.size == ((24, 16) if orientation <= 4 else (16, 24))
    assert not published.getexif()
    # Measured in the same frame: turned otherwise, the red corner would be far off.
    assert good.is_within_budget(source)
    top, left = orientation in (1, 2, 5, 6), orientation in (1, 4, 5, 8)
    levels = np.asarray(published).astype(int)
    corner = levels[0 if top else -1, 0 if left else -1]
    assert corner[0] > corner[2], "the red corner"


@pytest.mark.parametrize("format_name", EXIF_FORMATS)
def test_c30_the_colour_profile_is_kept(good: Ran, format_name: str):
    assert good.published(f"profiles/{format_name}.jpg").info["icc_profile"] == SRGB


def test_c27_c30_a_profile_of_other_channels_is_left_out_with_a_note(good: Ran):
    assert good.published("profiles/grey.png").info["icc_profile"][16:20] == b"GRAY"
    assert "icc_profile" not in good.published("profiles/wrong.png").info
    assert "colour profile does not fit" in good.images["profiles/wrong.png"]["notes"][0]


@pytest.mark.parametrize("size", SIZES)
def test_c33_sizes_are_unchanged_and_one_pixel_is_said_not_to_be_protected(
    good: Ran, size: tuple[int, int]
):
    source = f"sizes/{size[0]}x{size[1]}.png"
    assert good.published(source).size == size
    assert abs(good.change(source)).max() <= 8
    if size != (1, 1):
        assert good.images[source]["status"] == "protected"
    elif good.images[source]["status"] == "unchanged":
        assert "show no noise: not one pixel differs" in good.result.stdout
        assert good.result.exit_code == 1


@pytest.mark.parametrize("format_name", EXIF_FORMATS)
def test_c35_nothing_of_the_metadata_is_published(good: Ran, format_name: str):
    source = f"metadata/{format_name}.jpg"
    assert SECRET in (good.photos / source).read_bytes()
    data = (good.out / good.images[source]["output"]).read_bytes()
    assert SECRET not in data
    assert b"\xff\xd8\xff" not in data, "a thumbnail"
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert set(image.info) <= {"icc_profile"}
        assert not image.getexif()
