"""A verification as Markdown: what stands in the table, and what cannot break it."""

import html
import re

import pytest
from reports import HOSTILE, hostile_report, make_cell, make_quality, make_report

from protect.report.markdown import escaped, markdown_summary


def table_of(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_a_row_per_cell():
    header, rule, *rows = table_of(markdown_summary(make_report()))
    assert header[0] == "Backbone"
    assert set("".join(rule)) <= set(":-")
    assert len(rows) == 4
    figures = dict(zip(header, rows[1], strict=True))
    assert html.unescape(figures["Backbone"]) == "torchvision:vit_b_16"
    assert figures["Attack"] == "jpeg10"
    assert figures["Control peak"] == "87.3%"
    assert figures["Final"] == "71.3%"
    assert figures["Peak"] == "73.3%"
    assert figures["Floor"] == "10.3%"
    assert figures["Retained [95 %]"] == "0.82 [0.77, 0.87]"
    assert figures["Seeds"] == "3"
    assert figures["Verdict"] == "✗ fail"


@pytest.mark.parametrize("report", [make_report(), hostile_report()], ids=["plain", "hostile"])
def test_every_row_has_as_many_columns(report):
    assert {len(row) for row in table_of(markdown_summary(report))} == {10}


def test_hostile_names_are_shown_and_not_obeyed():
    text = markdown_summary(hostile_report())
    assert "<" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    # Nothing of markup is left in what came from outside, once our own is taken away.
    ours = r"^#+ |\*\*(?:Worst cell|Its classes):\*\*|\| |\[\d\.\d\d, \d\.\d\d\]|\[95 %\]|\|$"
    assert not re.findall(r"[`*<>\[\]_~]", re.sub(ours, "", text, flags=re.M))
    assert r"alert(1)</script>" in html.unescape(text)


def test_escaping_can_be_undone_by_a_reader():
    assert html.unescape(escaped("a|b\\|c `d` <e> & _f_ @g")) == "a|b\\|c `d` <e> & _f_ @g"
    assert html.unescape(escaped("a\nb\u202ec")) == "a\\nb\\u202ec"
    assert not set("|`<>&\n\\") & set(re.sub(r"&#\d+;", "", escaped(HOSTILE)))


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_the_verdict_and_the_threshold_come_first(verdict):
    text = markdown_summary(make_report([make_cell(verdict=verdict)]))
    assert verdict in text.splitlines()[0]
    assert "0.3" in text.splitlines()[2]
    assert ("### Why not passed" in text) is (verdict != "pass")


def test_quality_notes_and_what_was_not_run():
    text = html.unescape(markdown_summary(make_report()))
    assert "PSNR 33.2 dB (worst 31.2), SSIM 0.912 (worst 0.823)" in text
    assert "- Note: the test set is small" in text
    assert "### Not run\n\n- adversarial training\n- research: diffusion purification" in text
    assert "### Not run" not in markdown_summary(make_report(not_run=()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "within the promised 8"),
        ({"linf_levels": 9}, "MORE than the promised 8"),
        ({"promised_levels": None}, "no budget was promised"),
    ],
)
def test_the_budget_is_compared_with_the_promise(changes, words):
    assert words in markdown_summary(make_report(quality=make_quality(**changes)))
