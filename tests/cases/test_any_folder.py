"""Any tree, any names, any table, any mode: every picture is published once, refused, or named."""

import os
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from cases.gallery import put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import encoded, picture
from PIL import Image

from protect.data.decode import decode
from protect.data.discover import Listing, discover
from protect.data.walk import IMAGE_SUFFIXES
from protect.errors import InputError
from protect.output.names import output_names
from protect.output.writer import apply_noise

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs names of any characters")
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx")
RESERVED = ["CON", "nul", "COM1.jpg", "aux.png", "a:b", "what?", "end.", "end ", "back\\slash"]
FORMS = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
ODD = [
    *RESERVED,
    *FORMS,
    "😀",
    "👩‍👩‍👧",
    "two\nlines",
    "Cat",
    "cat",
    "CAT",
    ".hidden",
    "-rf",
    "~",
    "%s",
]
PARTS = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["x" * 255, "é" * 127, "猫" * 85]),
).filter(lambda part: part not in (".", "..") and len(part.encode()) <= 255)
SUFFIXES = st.sampled_from([*sorted(IMAGE_SUFFIXES), ".JPG", ".Png", ".heic", ".CR2", ".txt", ""])


def spelled(parts: list[str], suffix: str) -> str:
    """Put a path together, with its last part cut so that the suffix fits."""
    stem = parts[-1].encode()[: 255 - len(suffix)].decode(errors="ignore") or "x"
    return "/".join([*parts[:-1], stem + suffix])


TREES = st.lists(st.builds(spelled, st.lists(PARTS, min_size=1, max_size=4), SUFFIXES), max_size=10)


def fill(root: Path, names: list[str]) -> list[str]:
    """Make the files that can be made; return those."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    made = []
    for name in dict.fromkeys(names):
        try:
            put(root, name, b"x")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue  # A file and a folder of one name.
        made.append(name)
    return made


def is_hidden(part: str) -> bool:
    return part.startswith(".") or part.lower() in SYSTEM


def accounted_for(listing: Listing, made: list[str]) -> None:
    """No file is passed over in silence, and none is published twice or over another."""
    samples = [sample.name for sample in listing.samples]
    refused = [item.source for item in listing.refused]
    assert samples == sorted(set(samples))
    assert not set(samples) & set(refused)
    assert set(samples) <= set(made)
    hidden = [name for name in made if any(is_hidden(part) for part in name.split("/"))]
    left = set(made) - set(samples) - set(refused) - set(hidden)
    others = sum(count for kind, count in listing.ignored.items() if kind != "hidden")
    assert len(left) == others
    outputs = output_names(samples)
    assert len(set(outputs.values())) == len(samples)
    for source, output in outputs.items():
        assert Path(output).parent == Path(source).parent
        assert len(os.fsencode(Path(output).name)) <= 255
        assert output.endswith(".png")


@relaxed
@given(names=TREES)
def test_every_file_of_any_tree_is_accounted_for(tmp_path: Path, names: list[str]):
    made = fill(tmp_path / "tree", ["a/1.png", "b/1.png", *names])
    listing = discover(tmp_path / "tree")
    accounted_for(listing, made)
    assert {"a", "b"} <= set(listing.classes)
    for sample in listing.samples:
        assert sample.label == sample.name.partition("/")[0]
    again = discover(tmp_path / "tree")
    assert (again.samples, again.notes, again.classes) == (
        listing.samples,
        listing.notes,
        listing.classes,
    )


CELLS = st.one_of(
    st.sampled_from(
        ["a/1.png", "b/1.png", "c.png", "cat", "dog", "NA", "", '"', "../x.png", "0001"]
    ),
    st.text(max_size=8),
)


@relaxed
@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=6), head=st.booleans())
def test_any_table_gives_labels_or_one_clear_refusal(
    tmp_path: Path, rows: list[list[str]], head: bool
):
    made = fill(tmp_path / "tree", ["a/1.png", "b/1.png", "c.png"])
    lines = [["file_name", "label"]] * head + [["a/1.png", "cat"], ["b/1.png", "dog"]] * head + rows
    table = tmp_path / "labels.csv"
    table.write_bytes("\n".join(",".join(line) for line in lines).encode(errors="replace"))
    try:
        listing = discover(tmp_path / "tree", table)
    except InputError as error:
        assert error.message
        assert error.hint
        return
    named = {sample.name for sample in listing.samples} | {i.source for i in listing.refused}
    assert set(made) <= named
    for sample in listing.samples:
        assert sample.path.resolve().is_relative_to((tmp_path / "tree").resolve())
        assert sample.label.strip()


@relaxed
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA"]),
    format_name=st.sampled_from(["PNG", "TIFF"]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    seed=st.integers(0, 1000),
    levels=st.integers(1, 8),
)
def test_a_picture_of_any_mode_and_size_stays_within_its_budget(
    tmp_path: Path, mode: str, format_name: str, width: int, height: int, seed: int, levels: int
):

    path = tmp_path / "picture"
    path.write_bytes(encoded(picture(mode, (width, height), seed), format_name))
    found = decode(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert({"1": "L", "P": "RGB"}.get(mode, mode)))
    shown = np.atleast_3d(expected)[..., : found.pixels.shape[2]]
    assert np.array_equal(found.pixels, shown) or mode == "P"
    assert (found.alpha is None) == (mode not in ("LA", "RGBA"))
    draws = torch.Generator().manual_seed(seed)
    noise = (torch.rand((3, 16, 16), generator=draws) * 2 - 1) * levels
    published = apply_noise(found.pixels, noise)
    assert published.shape == found.pixels.shape
    assert abs(published.astype(int) - found.pixels).max() <= levels
