"""What a contact sheet shows."""

from typing import Literal

from protect.documents.document import SCHEMA_VERSION, Document


class ShownPair(Document):
    """A picture beside its protected copy, measured on the files as they are now.

    Attributes:
        label: Class name.
        source: Path of the original below its folder.
        output: Path of the published picture below the protected folder.
        linf_levels: Largest change of any channel of any pixel, in 8-bit levels.
        psnr: Peak signal-to-noise ratio in dB; None where not one pixel changed.
        ssim: Structural similarity; None where a side is below its window.
        view: How the sheet shows it, such as "64 x 64 px, 2 times enlarged".
    """

    label: str
    source: str
    output: str
    linf_levels: int
    psnr: float | None
    ssim: float | None
    view: str


class PreviewReport(Document):
    """Result of `protect preview`.

    Attributes:
        schema_version: Version of this layout.
        sheet: Name of the PNG that was written, without its folder.
        amplification: How many times the differences are enlarged; grey is no change.
        pairs: What it shows, from top to bottom.
        notes: What it does not show, and what is odd about what it does.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    sheet: str
    amplification: int
    pairs: tuple[ShownPair, ...]
    notes: tuple[str, ...]
