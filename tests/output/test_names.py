import random
import unicodedata
from collections import defaultdict
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protect.output.names import output_names


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"a.jpg": "a.png"},
        {"a.png": "a.png"},
        {"a.PNG": "a.png"},
        {"a.b.jpg": "a.b.png"},
        {"cats/tabby/a.jpeg": "cats/tabby/a.png"},
        {"v1.0/a.jpg": "v1.0/a.png"},
        {"con.jpg": "con.png"},
        # The same stem in two folders is no collision.
        {"cats/a.jpg": "cats/a.png", "dogs/a.jpg": "dogs/a.png", "a.webp": "a.png"},
        # The PNG keeps its name; the others tell their suffix.
        {"a.png": "a.png", "a.jpg": "a_jpg.png", "a.webp": "a_webp.png"},
        {"a.PNG": "a.png", "a.jpg": "a_jpg.png"},
        {"a.jpg": "a_jpg.png", "a.webp": "a_webp.png"},
        # One suffix in two cases: upper case sorts first.
        {"a.JPG": "a_jpg.png", "a.jpg": "a_jpg_2.png"},
        {"a.PNG": "a_png.png", "a.png": "a.png"},
        {"a.PNG": "a.png", "a.pNG": "a_png.png"},
        # The second choice can be taken, and the third.
        {"a.png": "a.png", "a.jpg": "a_jpg_2.png", "a_jpg.png": "a_jpg.png"},
        {"a.png": "a.png", "a.jpg": "a_jpg_2.png", "a_jpg.bmp": "a_jpg.png"},
        {
            "a.png": "a.png",
            "a.jpg": "a_jpg_3.png",
            "a_jpg.png": "a_jpg.png",
            "a_jpg_2.png": "a_jpg_2.png",
        },
        # A PNG's own name goes before the second choice of another.
        {
            "a.jpg": "a_jpg_2.png",
            "a.webp": "a_webp.png",
            "a_jpg.PNG": "a_jpg.png",
            "a_jpg.webp": "a_jpg_webp.png",
        },
        # Case: what differs only so at the source stays; what would meet only once published moves.
        {"A.jpg": "A.png", "a.jpg": "a.png"},
        {"A.JPG": "A.png", "a.jpg": "a.png"},
        {"A.PNG": "A.png", "a.png": "a.png"},
        {"A.jpg": "A_jpg.png", "a.png": "a.png"},
        {"A.jpg": "A_jpg.png", "a.webp": "a_webp.png"},
        {"A.jpg": "A_jpg.png", "a.jpg": "a_jpg.png", "a.png": "a.png"},
        {"A.jpg": "A_jpg_2.png", "a.png": "a.png", "a_jpg.png": "a_jpg.png"},
        {"Cats/a.jpg": "Cats/a_jpg.png", "cats/a.png": "cats/a.png"},
        {"Cats/a.jpg": "Cats/a.png", "cats/a.jpg": "cats/a.png"},
        # Unicode: composed and decomposed.
        {"\u00e9.jpg": "\u00e9_jpg.png", "e\u0301.png": "e\u0301.png"},
        {"\u00e9.jpg": "\u00e9.png", "e\u0301.jpg": "e\u0301.png"},
        # A folder may hold the name already.
        {"a.jpg": "a_jpg.png", "a.png/b.jpg": "a.png/b.png"},
        {"a.jpg": "a_jpg.png", "A.PNG/deep/b.jpg": "A.PNG/deep/b.png"},
        {"x/a.jpg": "x/a.png", "a.png/b.jpg": "a.png/b.png"},
        {
            "a.jpg": "a_jpg_2.png",
            "a_jpg.webp": "a_jpg.png",
            "a.png/b.jpg": "a.png/b.png",
        },
    ],
)
def test_table(names: dict[str, str]) -> None:
    assert output_names(list(names)) == names
    assert output_names(list(names)[::-1]) == names


def test_the_answer_is_sorted_and_repeats_do_not_count() -> None:
    assert list(output_names(["b.jpg", "a.jpg", "b.jpg"]).items()) == [
        ("a.jpg", "a.png"),
        ("b.jpg", "b.png"),
    ]


@pytest.mark.parametrize(
    ("stem", "is_kept"),
    [("x" * 251, True), ("x" * 252, False), ("é" * 125 + "x", True), ("é" * 126, False)],
)
def test_only_names_above_255_bytes_are_cut(stem: str, is_kept: bool) -> None:
    name = output_names([f"cats/{stem}.im"])[f"cats/{stem}.im"].removeprefix("cats/")
    assert (name == f"{stem}.png") is is_kept
    assert 253 <= len(name.encode()) <= 255
    assert name.startswith(stem[:110])


def test_cut_names_stay_apart() -> None:
    sources = ["x" * 251 + suffix for suffix in (".png", ".jpg", ".JPG")] + ["x" * 250 + "y.jpg"]
    names = output_names(sources)
    assert len({name.lower() for name in names.values()}) == 4
    assert names[sources[0]] == sources[0]
    assert names[sources[3]] == "x" * 250 + "y.png"
    assert max(len(name) for name in names.values()) == 255


def folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


STEMS = st.one_of(
    st.sampled_from(["a", "A", "a_jpg", "A_JPG", "a_jpg_2", "a.b", "\u00e9", "e\u0301", "\u00c9"]),
    st.text(st.characters(exclude_characters="/\0", max_codepoint=0x2FF), min_size=1, max_size=3),
    st.sampled_from(["x" * 248, "x" * 250, "X" * 251, "é" * 125]),
)
FOLDERS = st.sampled_from(["", "cats/", "Cats/", "a.png/", "cats/a.png/", "cats/A_jpg.png/"])
SUFFIXES = st.sampled_from(["jpg", "JPG", "png", "PNG", "Png", "jpeg", "webp"])
SOURCES = st.lists(
    st.builds("{}{}.{}".format, FOLDERS, STEMS, SUFFIXES), unique=True, max_size=12
).filter(lambda sources: not set(sources) & {"a.png", "cats/a.png"})


@given(SOURCES, st.randoms(use_true_random=False))
def test_promises(sources: list[str], shuffler: random.Random) -> None:
    names = output_names(sources)
    assert set(names) == set(sources)
    assert len(set(names.values())) == len(sources)

    shuffled = sources.copy()
    shuffler.shuffle(shuffled)
    assert output_names(shuffled) == names

    folders = {folded(str(p)) for source in sources for p in PurePosixPath(source).parents}
    meeting = defaultdict(set)
    for source, name in names.items():
        assert name.rpartition("/")[0] == source.rpartition("/")[0]
        assert name.endswith(".png")
        assert len(name.rpartition("/")[2].encode()) <= 255
        assert folded(name) not in folders
        meeting[folded(name)].add(folded(source))
        if source.endswith(".png") and folded(source) not in folders:
            assert name == source
    # Where case does not count, only sources that meet there already may meet.
    assert all(len(met) == 1 for met in meeting.values())


@given(SOURCES, SOURCES)
def test_names_that_were_published_stay_and_no_newcomer_gets_one(
    first: list[str], then: list[str]
) -> None:
    settled = output_names(first)
    names = output_names(then, settled)
    assert set(names) == set(then)
    assert len(set(names.values())) == len(names)
    folders = {folded(str(p)) for source in then for p in PurePosixPath(source).parents}
    meeting = defaultdict(set)
    for source, name in names.items():
        assert folded(name) not in folders
        meeting[folded(name)].add(folded(source))
        if source in settled and folded(settled[source]) not in folders:
            assert name == settled[source]
    assert all(len(met) == 1 for met in meeting.values())
    # What was published of a picture that is gone is still there.
    gone = {settled[source] for source in settled.keys() - names.keys()}
    assert not gone & set(names.values())
    # Extending once more, with the same pictures, changes nothing.
    assert output_names(then, names) == names
