"""What the fixtures and tests of the cases put into folders."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from pictures import (
    CMYK_PROFILE,
    GREY_PROFILE,
    HAS_AVIF,
    SRGB,
    bomb,
    encoded,
    noise,
    picture,
    png,
    turned,
)
from PIL import Image

LOSSLESS_WEBP = {"lossless": True, "exact": True}
MODES: list[tuple[str, str, dict[str, Any]]] = [
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *(("TIFF", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *(("TIFF", "RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate")),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
    *(("DIB", mode, {}) for mode in ("L", "RGB")),
    *(("PPM", mode, {}) for mode in ("1", "L", "RGB")),
    *(("GIF", mode, {}) for mode in ("1", "L", "P")),
    *(("WEBP", mode, LOSSLESS_WEBP) for mode in ("RGB", "RGBA")),
    *(("JPEG2000", mode, {"irreversible": False}) for mode in ("L", "LA", "RGB", "RGBA")),
    *(("JPEG", mode, {"quality": 95}) for mode in ("L", "RGB")),
    ("JPEG", "RGB", {"progressive": True}),
    *((("AVIF", mode, {"quality": 100}) for mode in ("RGB", "RGBA")) if HAS_AVIF else ()),
]
"""Every format and mode that can be read faithfully, with how it is saved."""

EXIF_FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
}
SIZES = [(1, 1), (7, 500), (500, 7), (33, 32), (640, 480), (1500, 1000)]
SECRET = b"SECRET"
"""In every piece of metadata; must be in no published file."""

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "é 1.png") for form in ("NFC", "NFD"))
NAMES = [
    COMPOSED,
    DECOMPOSED,
    "😀 1.png",
    "two\nlines.png",
    "x" * 251 + ".png",
    "é" * 125 + ".jpg",
    "CON.png",
    "a:b?*.png",
    "trailing. .png",
    "-rf.png",
    "[bold]%s{}'\"&<b>.png",
    "back\\slash.png",
    "\x1b[31mred.png",
    "\u202egnp.exe.png",
    "a.png.png.jpg",
    "lower.jpg",
    "UPPER.JPG",
    "UPPER.JPEG",
    "UPPER.PNG",
    "Mixed.Tiff",
    "Mixed.WebP",
    "same.jpg",
    "same.png",
    "same.webp",
    "same_jpg.png",
    "Cat.png",
    "cat.png",
]
"""Below a folder that is called 猫."""
HIDDEN = (
    ".DS_Store",
    "modes/.DS_Store",
    ".ipynb_checkpoints/1.png",
    "turned/.ipynb_checkpoints/1-checkpoint.png",
    "modes/Thumbs.db",
    "turned/desktop.ini",
    "__MACOSX/modes/._1.png",
    "sizes/.hidden.png",
)


def mode_name(format_name: str, mode: str, options: dict[str, Any]) -> str:
    """Return the source name of a picture of `MODES`."""
    marks = "".join(f"-{value}" for value in options.values() if isinstance(value, str))
    return f"modes/{format_name}-{mode}{marks}{'-p' * ('progressive' in options)}.png"


def with_metadata(format_name: str) -> bytes:
    """Return a file whose every corner holds what must not be published."""
    exif = turned(1)
    exif[0x010F] = SECRET.decode()
    exif[0x9286] = SECRET.decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 29: SECRET.decode()})
    thumbnail = encoded(Image.new("RGB", (8, 8), "red"), "JPEG", comment=SECRET)
    data = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0") + thumbnail
    options = dict(EXIF_FORMATS[format_name])
    if format_name in ("JPEG", "WEBP"):
        options["xmp"] = b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"
    if format_name == "JPEG":
        options["comment"] = SECRET
    if format_name == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Author", SECRET.decode())
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", SECRET.decode(), zip=False)
    return encoded(
        picture("RGB"), format_name, exif=exif if format_name == "TIFF" else data, **options
    )


def put(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write(root: Path, *names: str) -> Path:
    """Write a different small PNG under each name."""
    for seed, name in enumerate(names):
        put(root, name, encoded(picture("RGB", (16, 16), seed), "PNG"))
    return root


def tree(folder: Path) -> list[str]:
    """Return every file below a folder."""
    return sorted(
        Path(parent, name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder)
        for name in names
    )


def fill_good(root: Path, elsewhere: Path) -> None:
    """Write everything that can be protected, and what must not get in its way."""
    for seed, (format_name, mode, options) in enumerate(MODES):
        data = encoded(picture(mode, seed=seed), format_name, **options)
        put(root, mode_name(format_name, mode, options), data)
    for format_name, options in EXIF_FORMATS.items():
        for orientation in range(1, 9):
            image = Image.new("RGB", (24, 16), (40, 60, 200))
            image.paste((200, 60, 40), (0, 0, 8, 8))
            data = encoded(image, format_name, exif=turned(orientation), **options)
            put(root, f"turned/{format_name}-{orientation}.jpg", data)
        put(root, f"metadata/{format_name}.jpg", with_metadata(format_name))
        profiled = encoded(picture("RGB"), format_name, icc_profile=SRGB, **options)
        put(root, f"profiles/{format_name}.jpg", profiled)
    put(root, "profiles/grey.png", encoded(picture("L"), "PNG", icc_profile=GREY_PROFILE))
    put(root, "profiles/wrong.png", encoded(picture("RGB"), "PNG", icc_profile=CMYK_PROFILE))
    for width, height in SIZES:
        smooth = Image.linear_gradient("L").resize((width, height)).convert("RGB")
        put(root, f"sizes/{width}x{height}.png", encoded(smooth, "PNG"))
    for name, colour in {"black": 0, "white": 255, "mid": 128, "sky": (135, 206, 235)}.items():
        mode = "L" if isinstance(colour, int) else "RGB"
        for label in ("flat", "metadata", "sizes"):
            put(root, f"{label}/{name}.png", encoded(Image.new(mode, (64, 64), colour), "PNG"))
    write(root, *(f"猫/{name}" for name in NAMES), "nested/a/x/1.png", "nested/a/y/1.png")
    write(root, *HIDDEN)
    for empty in ("aa-empty", "zz-empty"):
        (root / empty).mkdir()
    write(elsewhere, "linked.png")
    (root / "nested/loop").symlink_to("..")
    (root / "nested/linked.png").symlink_to(elsewhere / "linked.png")
    (root / "nested/twice.png").symlink_to("a/x/1.png")
    (root / "nested/gone.png").symlink_to("nowhere.png")


def cut(data: bytes) -> bytes:
    return data[: len(data) * 6 // 10]


def bad_files() -> dict[str, tuple[str, bytes]]:
    """Source name -> words of the reason, and the file."""
    three = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (0, 100, 200)]
    ramp = Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8))
    files: dict[str, tuple[str, bytes]] = {
        "empty.png": ("is empty (0 bytes)", b""),
        "empty.jpg": ("is empty (0 bytes)", b""),
        "text.png": ("no picture that this tool can read", b"not a picture at all"),
        "page.jpg": ("no picture that this tool can read", b"<html></html>"),
        "bomb.png": ("has 400000000 pixels (20000x20000)", bomb()),
        "phone.heic": ("is HEIC, which cannot be read", b"\0\0\0\x18ftypheic"),
        "phone.HEIF": ("is HEIF, which cannot be read", b"\0\0\0\x18ftypheic"),
        "raw.CR2": ("is CR2, which cannot be read", b"II*\0"),
        "layers.psd": ("is PSD, which cannot be read", b"8BPS"),
        "deep.png": ("16 bits per channel", encoded(ramp, "PNG")),
        "deep.tif": ("16 bits per channel", encoded(ramp, "TIFF")),
        "deep.jp2": ("16 bits per channel", encoded(ramp, "JPEG2000")),
        "deep.pgm": ("16 bits per channel", b"P5 2 1 65535\n" + bytes(4)),
        "float.tif": ("bits per channel", encoded(ramp.convert("F"), "TIFF")),
        "int.tif": ("bits per channel", encoded(ramp.convert("I"), "TIFF")),
        "deep-rgb.png": ("16 bits per channel", png(b"\0" + bytes(12) + b"\0" + bytes(12), 16, 2)),
        "cmyk.tif": ("is a CMYK picture", encoded(picture("CMYK"), "TIFF")),
        "lab.tif": ("is a LAB picture", encoded(Image.new("LAB", (8, 8)), "TIFF")),
        "ycbcr.tif": ("is a YCbCr picture", encoded(Image.new("YCbCr", (8, 8)), "TIFF")),
    }
    for name, options in {"plain": {}, "profile": {"icc_profile": CMYK_PROFILE}}.items():
        data = encoded(picture("CMYK"), "JPEG", **options)
        files[f"cmyk-{name}.jpg"] = ("is a CMYK picture", data)
    for format_name in ("GIF", "PNG", "WEBP", "TIFF", *(["AVIF"] if HAS_AVIF else [])):
        data = encoded(three[0], format_name, save_all=True, append_images=three[1:])
        files[f"frames-{format_name}.png"] = ("has 3 frames", data)
    for format_name in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000"):
        whole = encoded(Image.fromarray(noise(40, 40, 3)), format_name)
        files[f"cut-{format_name}.png"] = ("", cut(whole))
    return files


def fill_bad(root: Path) -> None:
    """Write everything that cannot be protected, and two classes that can."""
    write(root, *(f"{label}/{number}.png" for label in ("cats", "dogs") for number in range(2)))
    for name, (_, data) in bad_files().items():
        put(root, f"cats/{name}", data)
