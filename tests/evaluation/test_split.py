"""Which pictures train and which test."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protect.documents.manifest import ImageRecord
from protect.errors import InputError
from protect.evaluation.split import chance_of, hold_out, require_unseen


def image(number: int, label: str, content: int) -> ImageRecord:
    return ImageRecord(
        source=f"{label}/{number}.jpg",
        output=f"{label}/{number}.png",
        label=label,
        source_sha256=f"{content:064}",
        output_sha256="0" * 64,
        width=1,
        height=1,
        linf_levels=8,
        psnr=40.0,
        ssim=None,
        status="protected",
    )


def split(images: list[ImageRecord], fraction: float, seed: int):
    """Split pictures of which those of equal files show the same."""
    return hold_out(images, {i.source: i.source_sha256 for i in images}, fraction, seed)


def some(counts: dict[str, int]) -> list[ImageRecord]:
    numbered = [(label, i) for label, n in counts.items() for i in range(n)]
    return [image(i, label, k) for k, (label, i) in enumerate(numbered)]


@given(
    counts=st.dictionaries(st.sampled_from("abcde"), st.integers(1, 30), min_size=1),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 1000),
)
def test_every_picture_is_on_one_side_and_every_class_on_both(counts, fraction, seed):
    images = some(counts)
    train, test = split(images, fraction, seed)
    assert sorted(i.source for i in train + test) == sorted(i.source for i in images)
    trained, tested = (Counter(i.label for i in side) for side in (train, test))
    for label, n in counts.items():
        assert trained[label] >= 1
        assert (tested[label] >= 1) == (n >= 2)
        if n >= 2:
            assert abs(tested[label] - n * fraction) <= 1


def test_copies_of_one_picture_are_never_on_both_sides():
    images = [image(i, "a", content=i // 4) for i in range(40)]
    for seed in range(20):
        train, test = split(images, 0.3, seed)
        assert not {i.source_sha256 for i in train} & {i.source_sha256 for i in test}


def test_files_that_differ_but_show_the_same_are_never_on_both_sides():
    images = some({"a": 40, "b": 40})
    shown = {image.source: f"{k // 2}" for k, image in enumerate(images)}
    for seed in range(20):
        train, test = hold_out(images, shown, 0.3, seed)
        assert not {shown[i.source] for i in train} & {shown[i.source] for i in test}


def test_a_test_picture_that_was_trained_on_is_named():
    require_unseen({"red/0.png": "a"}, {"b": "an original"})
    with pytest.raises(InputError) as caught:
        require_unseen({"red/0.png": "a", "red/1.png": "b"}, {"b": "an original"})
    assert caught.value.details == ("red/1.png is an original",)
    assert "--test" in caught.value.hint


def test_the_split_depends_on_the_seed_alone():
    images = some({"a": 20, "b": 20})
    assert split(images, 0.25, 1) == split(images, 0.25, 1)
    assert split(images, 0.25, 1) != split(images, 0.25, 2)


def test_chance_is_the_most_frequent_class():
    assert chance_of([0, 1, 1, 2]) == 0.5
    assert chance_of([3]) == 1
