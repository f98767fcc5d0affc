"""A verification on the terminal."""

import io

from reports import hostile_report, make_cell, make_quality, make_report, make_share
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


def test_a_pass_says_that_it_is_an_average_where_of_a_class_more_was_kept():
    known = make_share("cats", 0.6, "fail"), make_share("dogs", 0.1, "pass")
    text = shown(make_report([make_cell(classes=known), make_cell(attack="jpeg10")]))
    assert "verdict: pass - All 2 cells passed" in text
    assert "That is an average: of 1 of 4 classes one did." in " ".join(text.split())
    assert "its classes: cats 0.60 [0.50, 0.70], dogs 0.10 [0.00, 0.20]" in text
    text = shown(make_report([make_cell(classes=known[1:])]))
    assert "average" not in text
    text = shown(make_report([make_cell(classes=known[1:])], every_class=True))
    assert "of what its control learned, nor of any class." in " ".join(text.split())


def test_of_many_classes_the_first_are_named():
    lines = shown(make_report([make_cell()])).splitlines()
    (line,) = [line for line in lines if line.startswith("its classes: ")]
    names = "elks 0.11 [0.01, 0.21], cats 0.08 [0.00, 0.18], dogs 0.02 [0.00, 0.12], 1 more"
    assert line == f"its classes: {names}"


def test_what_was_not_measured_is_a_dash():
    nothing = make_quality(psnr_mean=None, psnr_worst=None, ssim_mean=None, ssim_worst=None)
    assert "quality: -; largest change 8" in shown(make_report(quality=nothing))


def test_control_characters_never_reach_the_terminal():
    text = shown(hostile_report())
    assert not {"\x1b", "\x00", "\r", "\u202e", "\udc80"} & set(text)
    assert r"\x1b[31m" in text.replace("\n", "").replace(" ", "")
