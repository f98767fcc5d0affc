"""The contact sheet: what is drawn where, and names that no font has."""

import io
import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageFont

from protect.documents.preview_report import ShownPair
from protect.report.sheet import Row, _shortened, draw_sheet, drawable

FONT = ImageFont.load_default(13)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
"""Of the three views; ink is grey."""


def row_of(height: int, width: int, label: str = "cat") -> Row:
    views = tuple(np.full((height, width, 3), colour, np.uint8) for colour in COLOURS)
    pair = ShownPair(
        label=label,
        source="a.jpg",
        output="a.png",
        linf_levels=8,
        psnr=None,
        ssim=None,
        view="",
    )
    return Row(pair, views)


@pytest.mark.parametrize("sizes", [[(1, 1)], [(384, 384), (1, 384)], [(128, 130)] * 40])
def test_each_view_has_its_place(sizes):
    sheet = np.asarray(Image.open(io.BytesIO(draw_sheet([row_of(*size) for size in sizes]))))
    places = [np.argwhere((sheet == colour).all(axis=2)) for colour in COLOURS]
    for found in places:
        assert len(found) == sum(height * width for height, width in sizes)
    left, middle, right = (found[:, 1] for found in places)
    assert left.max() < middle.min() <= middle.max() < right.min()


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("cat 1.jpg", "cat 1.jpg"),
        ("猫", "\\u732b"),
        ("😀", "\\U0001f600"),
        ("a\nb\x1b\u202e", "a\\nb\\x1b\\u202e"),
        ("\udcff", "\\udcff"),
        ("", ""),
    ],
)
def test_what_the_font_lacks_is_spelled(name, drawn):
    assert drawable(name, FONT) == drawn
    draw_sheet([row_of(10, 10, name)])


def test_two_forms_of_one_letter_are_drawn_alike():
    forms = {drawable(unicodedata.normalize(form, "é"), FONT) for form in ("NFC", "NFD")}
    assert len(forms) == 1


def test_a_font_without_outlines_draws_too():
    old = ImageFont.load_default_imagefont()
    assert drawable("猫 é", old).startswith("\\u732b ")


def test_a_long_name_is_cut_to_the_width():
    assert _shortened("short", 200, FONT) == "short"
    cut = _shortened("x" * 1000, 200, FONT)
    assert cut.endswith("x...")
    assert 180 < FONT.getlength(cut) <= 200
