"""`protect verify --shard` and `--merge`: parts make the same whole, and none poses as it."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import cli
from junitparser import JUnitXml

from protect.errors import MachineError

CELLS = ("--mode", "linear-probe", "--attack", "none", "--attack", "grey", "--attack", "jpeg10")
FLAGS = (*CELLS, "--epochs", "1", "-b", "8", "--device", "cpu")
NAMES = [f"timm:tf_efficientnet_lite0, linear-probe{end}" for end in ("", ", grey", ", jpeg10")]


def report_of(result) -> dict:
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


def without_times(report: dict) -> dict:
    return report | {"cells": [cell | {"seconds": 0} for cell in report["cells"]]}


def test_the_parts_merge_to_what_one_machine_would_have_found(done, tmp_path):
    verify = ("verify", done.protected, *FLAGS)
    whole = report_of(cli(*verify, "--no-cache", "--json"))

    first = cli(*verify, "--shard", "1/2", "--json")
    report = report_of(first)
    assert report["shard"] == "1/2"
    assert [cell["attack"] for cell in report["cells"]] == ["none", "jpeg10"]
    assert f"cells of other shards: {NAMES[1]}" in report["not_run"]
    assert "--merge" in first.stderr

    incomplete = cli(*verify, "--merge", "--json")
    assert incomplete.exit_code == 2
    assert not incomplete.stdout
    assert "1 of 3 cells" in incomplete.stderr
    assert NAMES[1] in incomplete.stderr
    assert NAMES[2] not in incomplete.stderr
    assert "--shard I/N" in incomplete.stderr
    assert "Training" not in incomplete.stderr

    # The other part runs elsewhere; then the files of both are copied together.
    kept = done.state / "verify"
    kept.rename(tmp_path / "kept")
    assert report_of(cli(*verify, "--shard", "2/2", "--json"))["shard"] == "2/2"
    assert len(list(kept.iterdir())) == 2
    shutil.copytree(tmp_path / "kept", kept, dirs_exist_ok=True)

    merged = cli(*verify, "--merge", "--json")
    assert without_times(report_of(merged)) == without_times(whole)
    assert merged.exit_code == 1  # too few test pictures: inconclusive
    assert "shard" not in " ".join(report_of(merged)["not_run"])


def test_what_was_computed_on_another_kind_of_device_does_not_count(done):
    """A machine without a GPU merges what others computed on theirs, if told so."""
    verify = ("verify", done.protected, *FLAGS[:2], "--epochs", "1", "-b", "8")
    assert cli(*verify, "--device", "cpu", "--shard", "1/1").exit_code in (0, 1)
    result = cli(*verify, "--device", "cuda", "--merge")
    assert result.exit_code == 2
    assert "1 of 1 cells" in result.stderr
    assert "--device" in result.stderr


def test_results_that_may_only_be_read_are_merged(done, monkeypatch):
    """Merging writes nothing, so that it needs no permission to."""
    verify = ("verify", done.protected, *FLAGS[:2], "--epochs", "1", "-b", "8", "--device", "cpu")
    whole = report_of(cli(*verify, "--json"))

    def read_only(folder: Path, hint: str) -> None:
        raise MachineError(f"{folder} cannot be written: Read-only file system", hint)

    monkeypatch.setattr("protect.evaluation.journal.require_writable", read_only)
    assert report_of(cli(*verify, "--merge", "--json")) == whole
    shard = cli(*verify, "--shard", "1/1")
    assert shard.exit_code == 3
    assert "without --shard" in shard.stderr


@pytest.mark.parametrize("form", ["table", "--json"])
def test_a_shard_without_a_cell_ends_well_and_says_so(done, form):
    junit = done.root / "junit.xml"
    words = ("--shard", "4/4", "--junit", junit, *([form] * (form != "table")))
    result = cli("verify", done.protected, *FLAGS, *words)
    assert result.exit_code == 0
    # A CI job collects the file of every shard.
    assert sum(suite.tests for suite in JUnitXml.fromfile(str(junit))) == 0
    assert result.stderr.startswith("nothing to do: shard 4/4 has no cell: there are 3 in all")
    assert "error" not in result.stderr
    assert result.stdout == ""


def test_the_words_of_a_shard_are_of_that_shard(done):
    page, junit = done.root / "page.html", done.root / "junit.xml"
    result = cli(
        *("verify", done.protected, *FLAGS, "--shard", "2/3"),
        *("--report", page, "--junit", junit),
    )
    for text in (result.stdout, page.read_text(), junit.read_text()):
        assert "(shard 2/3 only)" in text
        assert "protect verify --merge" in " ".join(text.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shard", "0/3"), "--shard '0/3' is not one of N parts"),
        (("--shard", "4/3"), "--shard '4/3' is not one of N parts"),
        (("--shard", "x"), "--shard 1/4"),
        (("--shard", "1/2/3"), "--shard 1/4"),
        (("--shard", "-1/3"), "--shard 1/4"),
        (("--shard", ""), "--shard is empty"),
        (("--shard", "1/2", "--merge"), "exclude each other"),
        (("--shard", "1/2", "--no-cache"), "leave --no-cache out"),
        (("--merge", "--no-cache"), "leave --no-cache out"),
    ],
)
def test_what_makes_no_shard_is_a_usage_error(words, said):
    result = cli("verify", "/nowhere", *words)
    assert result.exit_code == 2
    assert said in result.stderr
