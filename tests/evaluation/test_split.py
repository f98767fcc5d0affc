"""Which pictures train and which test."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protect.documents.manifest import ImageRecord
from protect.errors import InputError
from protect.evaluation.split import chance_of, hold_out, require_unseen, unequal


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


@pytest.mark.parametrize(
    ("counts", "is_told"),
    [
        ((50, 50), False),
        ((54, 46), False),
        ((60, 40), True),
        ((40, 60), True),
        ((900, 100), True),
        ((99, 109, 105, 93, 115, 87, 97, 95, 95, 105), False),
        ((10,) * 10, False),
        ((10,) * 9 + (40,), True),
        ((3, 3, 3, 1), False),
        ((3, 2), True),
    ],
)
def test_unequal_classes_are_told_of_where_always_one_answer_would_seem_to_know_something(
    counts, is_told
):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    told = unequal(labels)
    assert bool(told) is is_told
    if is_told:
        assert f"{max(counts) / sum(counts):.0%} of the test pictures" in told
        assert f"one class of {len(counts)}" in told


@given(counts=st.lists(st.integers(1, 200), min_size=2, max_size=20))
def test_what_is_not_told_of_hides_little(counts):
    """The best that may pass for nothing learned: as many right answers, spread evenly."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    if not unequal(labels):
        learned = (chance_of(labels) - 1 / len(counts)) / (1 - 1 / len(counts))
        assert learned <= 0.1 + 1e-9
