"""A verification on the terminal."""

import io

from reports import hostile_report, make_cell, make_quality, make_report
from rich.console import Console

from protect.report.tables import verify_summary


def shown(report) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(verify_summary(report))
    return console.file.getvalue()


def test_a_line_per_cell_with_its_seeds():
    lines = shown(make_report()).splitlines()
    assert lines[0].split()[-4:] == ["[95", "%]", "seeds", "verdict"]
    figures = " ".join(lines[2].split())
    assert figures == (
        "torchvision:vit_b_16 full jpeg10 87.3% 71.3% 73.3% 10.3% 0.82 [0.77, 0.87] 3 fail"
    )
    assert lines[4].split()[-3:] == ["-", "3", "inconclusive"]


def test_the_lines_below_it():
    text = shown(make_report())
    assert "verdict: fail - 1 of 4 failed: a network kept more than 0.3" in text
    assert "worst cell: torchvision:vit_b_16 / full / jpeg10: retained 0.82" in text
    assert "tier ci; cells: 1 pass, 1 fail, 2 inconclusive" in text
    assert "PSNR 33.2 dB (worst 31.2), SSIM 0.912 (worst 0.823)" in text
    assert "2250 pictures trained, 751 clean pictures tested (held out)" in text
    assert "note: the test set is small" in text
    assert "not run: adversarial training" in text


def test_inconclusive_is_said_not_to_be_a_pass():
    text = shown(make_report([make_cell(), make_cell(verdict="inconclusive")]))
    assert "verdict: inconclusive - 1 of 2 could not be told" in text
    assert "That is not a pass" in text


def test_a_pass_is_said_of_all_cells():
    assert "All 2 cells passed" in shown(make_report([make_cell(), make_cell(attack="jpeg10")]))
    assert "The only cell passed" in shown(make_report([make_cell()]))


def test_what_was_not_measured_is_a_dash():
    nothing = make_quality(psnr_mean=None, psnr_worst=None, ssim_mean=None, ssim_worst=None)
    assert "quality: -; largest change 8" in shown(make_report(quality=nothing))


def test_control_characters_never_reach_the_terminal():
    text = shown(hostile_report())
    assert not {"\x1b", "\x00", "\r", "\u202e", "\udc80"} & set(text)
    assert r"\x1b[31m" in text.replace("\n", "").replace(" ", "")
