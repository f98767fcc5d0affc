"""Finished trainings are found again by what went into them, and only then."""

import json

import grimp
import pytest
from helpers import learned

from protect.errors import MachineError, OutputError
from protect.evaluation.journal import CODE, PACKAGE, Journal, Result
from protect.evaluation.learned import Answers, Learned

IDENTITY = {"network": {"name": "a"}, "seed": 0, "recipe": {"lr": 0.1}}


def test_what_was_kept_is_found(tmp_path):
    journal = Journal(tmp_path / "new")
    assert journal.find(IDENTITY) is None
    journal.keep(IDENTITY, Result(learned(0.1, 0.25), 1.5))
    assert Journal(tmp_path / "new").find(IDENTITY) == Result(learned(0.1, 0.25), 1.5)


def test_a_divergence_is_kept_too(tmp_path):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result(learned(0.1, 0.0, diverged_in=2), 1.5))
    assert journal.find(IDENTITY) == Result(learned(0.1, 0.0, diverged_in=2), 1.5)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"recipe": {"lr": 0.2}}, {"network": {"name": "b"}}, {"more": 1}]
)
def test_another_identity_is_another_training(tmp_path, change):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result(learned(0.1), 1.0))
    assert journal.find(IDENTITY | change) is None


def test_changed_code_makes_old_results_worthless(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result(learned(0.1), 1.0))
    monkeypatch.setattr("protect.evaluation.journal.code_digest", lambda: "other")
    assert journal.find(IDENTITY) is None


def kept(**changes: object) -> str:
    """Return the file of a sound result, but for these changes."""
    answers = {"shown": [10, 20], "given": [12, 13], "right": [10, 9]}
    answers |= {name: changes[name] for name in answers if name in changes}
    found = {"epochs": changes.get("epochs", [answers]), "diverged_in": changes.get("diverged_in")}
    return json.dumps({"result": {"learned": found, "seconds": changes.get("seconds", 1.5)}})


def test_a_sound_file_is_read(tmp_path):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result(learned(0.1), 1.0))
    (path,) = tmp_path.iterdir()
    path.write_text(kept())
    found = journal.find(IDENTITY)
    assert found == Result(Learned((Answers((10, 20), (12, 13), (10, 9)),)), 1.5)


@pytest.mark.parametrize("pattern", CODE)
def test_the_code_that_decides_is_where_it_is_said_to_be(pattern):
    assert list(PACKAGE.glob(pattern))


DECIDES_NOTHING = (
    # Names, settings and documents, which are in the identity where they matter.
    *("config.choices", "config.values", "documents.document", "documents.manifest"),
    *("documents.verify_report", "evaluation.recipes", "models.names"),
    # What finds files, reads labels, or says what went wrong; contents are in the identity.
    *("data.discover", "data.labels", "data.tiff_errors", "data.walk", "errors", "events"),
    # How work is kept, shared out or written.
    *("evaluation.journal", "system.files", "system.parallel", "system.processes"),
)


def test_all_that_a_training_imports_decides_its_figures_or_is_known_not_to():
    """A new module must be put on one of the two lists."""
    bench = "protect.evaluation.bench"
    imported = {bench} | grimp.build_graph("protect").find_upstream_modules(bench)
    listed = {
        ".".join(("protect", *file.relative_to(PACKAGE).with_suffix("").parts))
        for pattern in CODE
        for file in PACKAGE.glob(pattern)
        if file.stem != "__init__"
    }
    known = {f"protect.{name}" for name in DECIDES_NOTHING}
    assert not listed & known
    assert imported == listed | known


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        kept(epochs=3),
        kept(epochs=[]),
        kept(seconds="soon"),
        kept(diverged_in="x"),
        kept(diverged_in=float("inf")),
        kept(shown=[1, 2, 3]),
        kept(right=[0.5, 0]),
        kept(right=[float("nan"), 0]),
        kept(right=[-1, 0]),
        kept(right=[11, 0]),
        kept(given=[50, 150]),
        kept(shown=[0, 0], given=[0, 0], right=[0, 0]),
        "[" * 100_000,
    ],
)
def test_a_damaged_result_is_computed_again(tmp_path, text):
    journal = Journal(tmp_path)
    journal.keep(IDENTITY, Result(learned(0.1), 1.0))
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    assert journal.find(IDENTITY) is None


def test_without_a_folder_nothing_is_kept():
    journal = Journal(None)
    journal.keep(IDENTITY, Result(learned(0.1), 1.0))
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
    journal.keep(IDENTITY, Result(learned(0.1), 1.0))
    (file,) = tmp_path.iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(OutputError) as caught:
        journal.find(IDENTITY)
    assert "--no-cache" in caught.value.hint
