"""A contact sheet: a row per picture, original, protected and difference side by side."""

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from protect.documents.preview_report import ShownPair
from protect.report.examples import AMPLIFICATION
from protect.report.words import escaped, visible

HEADINGS = ("original", "protected", f"difference x{AMPLIFICATION}, grey: no change")
_MARGIN = 12
_LINE = 18
_TEXT_SIZE = 13
_NARROWEST = 200
"""Width of a column at least, so that captions have room."""
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_NO_CHARACTER = "\uffff"

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A pair to draw.

    Attributes:
        pair: What is said of it.
        views: Original, protected and difference as they are shown, each (h, w, 3), uint8.
    """

    pair: ShownPair
    views: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def draw_sheet(rows: Sequence[Row]) -> bytes:
    """Draw the sheet; returns a PNG.

    Characters that the font within Pillow lacks, which is nearly all but ASCII, are spelled as
    escapes: no other font can be counted on to be installed.
    """
    font = _font()
    column = max([_NARROWEST, *(row.views[0].shape[1] for row in rows)])
    width = _MARGIN + 3 * (column + _MARGIN)
    heights = [2 * _LINE + row.views[0].shape[0] + _MARGIN for row in rows]
    sheet = Image.new("RGB", (width, 2 * _MARGIN + _LINE + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [_MARGIN + i * (column + _MARGIN) for i in range(3)]
    for left, heading in zip(lefts, HEADINGS, strict=True):
        draw.text((left, _MARGIN), heading, _FAINT, font)
    top = 2 * _MARGIN + _LINE
    for row, height in zip(rows, heights, strict=True):
        for line, (text, colour) in enumerate(_captions(row.pair)):
            fitting = _shortened(drawable(text, font), width - 2 * _MARGIN, font)
            draw.text((_MARGIN, top + line * _LINE), fitting, colour, font)
        for left, view in zip(lefts, row.views, strict=True):
            sheet.paste(Image.fromarray(view), (left, top + 2 * _LINE))
        top += height
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def drawable(text: str, font: _Font) -> str:
    """Spell every character that a font has no picture of, as Python does."""
    composed = unicodedata.normalize("NFC", visible(text))
    return "".join(c if c.isascii() or _has(font, c) else escaped(c) for c in composed)


def _captions(pair: ShownPair) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    psnr = "unchanged" if pair.psnr is None else f"PSNR {pair.psnr:.1f} dB"
    change = f"largest change {pair.linf_levels} of 255"
    return (
        (f"{pair.label}: {psnr}, {change}", _INK),
        (f"{pair.output}, {pair.view}", _FAINT),
    )


def _font() -> _Font:
    has_outlines = features.check("freetype2")
    return ImageFont.load_default(_TEXT_SIZE) if has_outlines else ImageFont.load_default()


def _has(font: _Font, character: str) -> bool:
    """Whether a font draws a character otherwise than one that cannot exist."""
    try:
        return bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))
    except UnicodeEncodeError:  # the font without outlines, which knows Latin-1 only
        return False


def _shortened(text: str, width: int, font: _Font) -> str:
    """Cut a text that is too wide, and say so by dots."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
