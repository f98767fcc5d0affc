"""The page: all of a report is on it, and it is deaf to what names want of it."""

import base64
import re

import pytest
from pages import Page, pictures
from reports import (
    HOSTILE,
    RESNET,
    VIT,
    hostile_report,
    make_cell,
    make_quality,
    make_report,
    make_share,
)

from protect.report.html import MOST_FILES, html_page

TILE = r'<td style="--share: (\d+)%"><strong>([\d.]+)</strong>'
ROW = r'<tr><th scope="row"><bdi>(\w+)<wbr></bdi>(.*?)</tr>'
UNKNOWN = '<td class="absent"><strong>\N{EN DASH}</strong><span>? inconclusive'


def part(source: str, name: str) -> str:
    """Return a section of the page."""
    return source.partition(f'<section id="{name}"')[2].partition("</section>")[0]


@pytest.fixture(scope="module")
def source() -> str:
    return html_page(make_report(), [pictures()])


def test_the_verdict_comes_with_its_reason_and_threshold(source):
    page = Page(source)
    assert page.texts("h2")[0] == "✗ Fail"
    assert "1 of 4 failed: a network kept more than 0.3 of what its control learned" in page.text
    assert (
        f"Worst cell: {VIT} / full / jpeg10 \N{EN DASH} retained 0.82, only 0.3 allowed"
        in page.text
    )


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_a_verdict_is_words_and_not_only_colour(verdict):
    page = Page(html_page(make_report([make_cell(verdict=verdict)])))
    assert page.texts("h2")[0].split()[1] == verdict.capitalize()
    tiles = [t for t in page.texts("td") if t.endswith(verdict)]
    of_classes = sum(share.verdict == verdict for share in make_cell(verdict=verdict).classes)
    assert len(tiles) == 2 + of_classes, "in the heat table, the full one, and that of classes"


def test_a_row_of_the_full_table(source):
    rows = [" ".join(row.split()) for row in Page(source).texts("tr")]
    (row,) = [row for row in rows if row.startswith("jpeg10")]
    assert row == (
        "jpeg10 0.82 [0.77, 0.87]✗ fail 73.3%71.3% 87.3%86.1% 10.3% 0, 1, 2 2250 / 751 83.4 "
        "retained 0.82, only 0.3 allowed"
    )


def test_the_heat_table_has_a_tile_per_network_training_and_attack(source):
    table = part(source, "cells")
    assert re.findall(TILE, table) == [("8", "0.08"), ("82", "0.82"), ("30", "0.30")]
    assert table.count('<td class="absent"><span>not run</span>') == 2
    assert table.count(UNKNOWN) == 1


def test_the_table_of_classes_has_those_first_of_which_most_was_retained():
    cells = [make_cell(), make_cell(attack="jpeg10", verdict="fail")]
    table = part(html_page(make_report(cells)), "classes")
    rows = [(label, re.findall(TILE, row)) for label, row in re.findall(ROW, table, re.S)]
    assert rows == [
        ("elks", [("11", "0.11"), ("100", "1.23")]),
        ("cats", [("8", "0.08"), ("82", "0.82")]),
        ("dogs", [("2", "0.02"), ("20", "0.20")]),
        ("owls", []),
    ]
    assert table.count(UNKNOWN) == 2
    assert "--every-class" in table
    table = part(html_page(make_report(cells, every_class=True)), "classes")
    assert "Each class had to pass" in table


def test_of_many_classes_the_page_has_the_first():
    shares = tuple(make_share(f"c{i:03}", i / 100, "inconclusive") for i in range(60))
    table = part(html_page(make_report([make_cell(classes=shares)])), "classes")
    assert table.count("<tr>") == 1 + 50
    assert "c059" in table.partition("<tbody>")[2].partition("</tr>")[0]
    assert "c009" not in table
    assert "and 10 more" in table


def test_a_share_beyond_one_does_not_leave_the_scale():
    cell = make_cell(retained=1.2, retained_low=1.1, retained_high=1.3)
    source = html_page(make_report([cell]))
    assert '--share: 100%"><strong>1.20' in source


FIGURES = [
    # of a cell
    *("14.1%", "16.1%", "86.1%", "87.3%", "10.3%", "0.82 [0.77, 0.87]", "0, 1, 2", "83.4"),
    *("2250 / 751", "71.3%", "73.3%", "31.2%"),
    # of the pictures
    *("33.2 dB", "31.2 dB", "0.912", "0.823", "8 of 255 levels", "34.6 dB", "0.789"),
    *("promised: at most 8", "6 x 4 px, 32 times enlarged"),
    # of the settings
    *("0.0123", "0.91", "0.00045", "64", "224 px", "c867db91" * 8, "0.485, 0.456, 0.406"),
    *("0.229, 0.224, 0.225", "torchvision references/classification", "vit_b_16-c867db91.pth"),
    *("V1", "seed 17", "held out", "2250 pictures trained and 751", "cats/1.png", "dogs/2.png"),
    *("0.1.0", "3.12.1", "Linux-x86_64", "torch 2.15.0", "timm 1.0.31", "tier ci"),
    # of what was left open
    *("adversarial training", "research: diffusion purification", "the test set is small"),
]


@pytest.mark.parametrize("figure", FIGURES)
def test_all_of_the_report_is_on_the_page(source, figure):
    assert figure in Page(source).text


def test_a_curve_per_seed_of_every_cell(source):
    page = Page(source)
    assert len(page.all("svg")) == 4
    assert len(page.all("polyline")) == 4 * 2 * 3
    assert f"Accuracy by epoch: {RESNET} / linear probe / none" in page.texts("title")


def test_pictures_are_in_the_page(source):
    example = pictures()
    images = Page(source).all("img")
    data = [base64.b64decode(image["src"].partition(",")[2]) for image in images]
    assert data == [example.original, example.protected, example.difference]
    assert all("cats/1.png" in image["alt"] for image in images)
    assert "16 times amplified" in images[2]["alt"]
    assert "What the noise looks like" not in html_page(make_report())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "within the promised 8"),
        ({"linf_levels": 9}, "MORE than the promised 8"),
        ({"promised_levels": None}, "no budget was promised"),
        ({"psnr_mean": None, "psnr_worst": None}, "not one picture changed"),
        ({"ssim_mean": None, "ssim_worst": None}, "all pictures are smaller than its window"),
    ],
)
def test_quality_is_said_in_words(changes, words):
    assert words in Page(html_page(make_report(quality=make_quality(**changes)))).text


def test_recipes_and_networks_are_listed_once():
    probe = make_cell().training.model_copy(update={"trained": "head", "lr": 0.5})
    report = make_report(
        [
            make_cell(),
            make_cell(attack="jpeg10"),
            make_cell(RESNET),
            make_cell(RESNET, "linear probe", training=probe),
        ]
    )
    settings = html_page(report).partition('id="settings"')[2]
    page = Page(f"<section {settings.partition('</section>')[0]}</section>")
    assert page.texts("caption")
    rows = [row for row in page.texts("tr") if row.startswith(("full", "linear probe"))]
    assert len(rows) == 2
    assert f"{VIT}, {RESNET}" in rows[0]
    assert len([row for row in page.texts("tr") if row.startswith((VIT, RESNET))]) == 2


def test_a_long_list_of_files_is_cut_and_says_so():
    split = make_report().split
    files = tuple(f"cats/{i:04d}.png" for i in range(MOST_FILES + 5))
    report = make_report(split=split.model_copy(update={"test": files}))
    page = Page(html_page(report))
    assert files[MOST_FILES - 1] in page.text
    assert files[MOST_FILES] not in page.text
    assert "and 5 more" in page.text


# What it must not believe.


def test_hostile_names_are_shown_and_not_obeyed():
    source = html_page(hostile_report(), [pictures(HOSTILE)])
    page = Page(source)
    assert "<script" not in source
    assert not {"\x00", "\x1b", "\r", "\t", "\u202e", "\u2028", "\udc80"} & set(source)
    shown = (
        r"""a|b`c`<script>alert(1)</script>"'&\n\r\t\x00\x1b[31m\u202egnp.exe\u2028\udc80</td>"""
    )
    places = 25
    assert page.text.count(shown) >= places
    assert all(shown in image["alt"] for image in page.all("img"))
    source.encode()


def test_an_example_hides_nothing_behind_a_quote():
    page = Page(html_page(make_report(), [pictures('x" onerror="alert(1)')]))
    assert page.all("img")[0]["alt"] == 'Original of x" onerror="alert(1)'
    assert set(page.all("img")[0]) == {"alt", "src"}
