"""Finished trainings are found again by what went into them, and only then."""

import pytest

from protect.errors import MachineError, OutputError
from protect.evaluation.journal import CODE, PACKAGE, Journal, Result

IDENTITY = {"network": {"name": "a"}, "seed": 0, "recipe": {"lr": 0.1}}


def test_what_was_kept_is_found(tmp_path):
    journal = Journal(tmp_path / "new")
    assert journal.find(IDENTITY) is None
    journal.keep(IDENTITY, Result((0.1, 0.25), 1.5))
    assert Journal(tmp_path / "new").find(IDENTITY) == Result((0.1, 0.25), 1.5)


def test_a_divergence_is_kept_too(tmp_path):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result((0.1, 0.0), 1.5, diverged_in=2))
    assert journal.find(IDENTITY) == Result((0.1, 0.0), 1.5, diverged_in=2)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"recipe": {"lr": 0.2}}, {"network": {"name": "b"}}, {"more": 1}]
)
def test_another_identity_is_another_training(tmp_path, change):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result((0.1,), 1.0))
    assert journal.find(IDENTITY | change) is None


def test_changed_code_makes_old_results_worthless(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result((0.1,), 1.0))
    monkeypatch.setattr("protect.evaluation.journal.code_digest", lambda: "other")
    assert journal.find(IDENTITY) is None


@pytest.mark.parametrize("pattern", CODE)
def test_the_code_that_decides_is_where_it_is_said_to_be(pattern):
    assert list(PACKAGE.glob(pattern))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"curve": 3, "seconds": 1}',
        '{"curve": [], "seconds": 1}',
        '{"curve": [NaN], "seconds": 1}',
        '{"curve": [7.0], "seconds": 1}',
        '{"curve": [0.5], "seconds": 1}',
        '{"curve": [0.5], "seconds": 1, "diverged_in": "x"}',
        '{"curve": [0.5], "seconds": 1, "diverged_in": Infinity}',
        "[" * 100_000,
    ],
)
def test_a_damaged_result_is_computed_again(tmp_path, text):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result((0.1,), 1.0))
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    assert journal.find(IDENTITY) is None


def test_without_a_folder_nothing_is_kept():
    journal = Journal(None)
    journal.keep(IDENTITY, Result((0.1,), 1.0))
    assert journal.find(IDENTITY) is None


@pytest.mark.parametrize("what", ["state", "verify"])
def test_a_file_in_the_way_is_found_before_training(tmp_path, what):
    folder = tmp_path / "out.state" / "verify"
    Journal(folder).require_writable()
    assert not list(tmp_path.iterdir())
    blocker = folder if what == "verify" else folder.parent
    blocker.parent.mkdir(exist_ok=True)
    blocker.write_text("")
    with pytest.raises(MachineError) as caught:
        Journal(folder).require_writable()
    assert str(folder) in caught.value.message
    assert "--no-cache" in caught.value.hint
    Journal(None).require_writable()


def test_a_folder_in_the_place_of_a_result_is_an_error_before_the_training(tmp_path):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result((0.1,), 1.0))
    (file,) = tmp_path.iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(OutputError) as caught:
        journal.find(IDENTITY)
    assert "--no-cache" in caught.value.hint
