"""What holds of every page: it stands alone, and everyone can read it."""

import re
from itertools import pairwise

import pytest
from pages import Page, pictures
from reports import HOSTILE, hostile_report, make_cell, make_report

from protect.report.html import html_page


@pytest.fixture(scope="module")
def source() -> str:
    return html_page(make_report(), [pictures()])


@pytest.fixture(scope="module", params=["plain", "hostile", "bare"])
def page(request, source) -> Page:
    if request.param == "plain":
        return Page(source)
    if request.param == "hostile":
        return Page(html_page(hostile_report(), [pictures(HOSTILE, psnr=None, ssim=None)]))
    return Page(html_page(make_report([make_cell(curves=())], not_run=(), notes=())))


def test_it_has_a_language_a_title_and_a_viewport(page):
    assert page.all("html") == [{"lang": "en"}]
    assert page.texts("title")[0]
    assert "width=device-width" in str(page.all("meta"))


def test_headings_never_skip_a_level(page):
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all("".join(text).strip() for tag, _, text in page.elements if re.match(r"h\d", tag))


def test_every_picture_has_words(page):
    assert all(attributes["alt"] for attributes in page.all("img"))
    for attributes in page.all("svg"):
        assert attributes["role"] == "img"
    drawings = page.all("svg")
    titles = [a["id"] for a in page.all("title") if "id" in a]
    descriptions = [a["id"] for a in page.all("desc")]
    named = [drawing["aria-labelledby"].split() for drawing in drawings]
    assert named == [list(pair) for pair in zip(titles, descriptions, strict=True)]
    assert all(page.texts("title"))
    assert all(page.texts("desc"))


def test_every_table_has_a_caption_and_every_header_a_scope(page):
    assert len(page.texts("caption")) == len(page.all("table")) == 5
    assert all(page.texts("caption"))
    assert {a["scope"] for a in page.all("th")} == {"col", "row", "rowgroup"}


def test_what_scrolls_can_be_reached_by_keyboard_and_has_a_name(page):
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    scrolling = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert len(scrolling) == 5
    for attributes in scrolling:
        assert attributes["tabindex"] == "0"
        assert attributes["role"] == "region"
        assert attributes["aria-labelledby"] in ids


def test_ids_are_unique_and_references_lead_somewhere(page):
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.all("a")]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_nothing_is_run_and_nothing_is_fetched(page):
    assert not page.all("script", "iframe", "object", "embed", "form", "base", "image", "use")
    for tag, attributes, _ in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name in {"src", "href", "srcset", "data", "poster", "action"}:
                assert value.startswith(("data:image/png;base64,", "data:,", "#")), value[:40]
    styles = "".join(page.texts("style")) + str([a.get("style") for _, a, _ in page.elements])
    assert not re.search(r"url\(|@import|https?:|expression", styles)
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_every_row_of_a_table_has_all_its_columns(page):
    tables: list[list[int]] = []
    for tag, attributes, _ in page.elements:
        if tag == "table":
            tables.append([])
        elif tag == "tr":
            tables[-1].append(0)
        elif tag in {"td", "th"}:
            tables[-1][-1] += int(attributes.get("colspan", 1))
    assert all(len(widths) > 1 and len(set(widths)) == 1 for widths in tables)


# Whether it can be read.


def themes(source: str) -> dict[str, dict[str, str]]:
    """Return the custom properties of both themes."""
    style = source.partition("<style>")[2].partition("</style>")[0]
    light, dark = re.findall(r":root \{(.*?)\}", style, flags=re.S)
    assert "prefers-color-scheme: dark" in style.partition(dark)[0]

    def colours(block: str) -> dict[str, str]:
        return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))

    return {"light": colours(light), "dark": colours(dark)}


def luminance(colour: tuple[float, ...]) -> float:
    """WCAG 2.2, relative luminance of an sRGB colour in [0, 1]."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def rgb(text: str) -> tuple[float, ...]:
    return tuple(int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_the_contrast_formula_agrees_with_the_standard():
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21)
    assert contrast(rgb("#777777"), rgb("#ffffff")) == pytest.approx(4.48, abs=0.01)


PAIRS = [
    *((ink, ground) for ink in ("ink", "quiet", "accent") for ground in ("paper", "panel")),
    *((v, ground) for v in ("pass", "fail", "inconclusive") for ground in ("paper", "panel")),
    *(("ink", "heat-low"), ("ink", "heat-high"), ("quiet", "heat-none")),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_text_stands_out_from_its_ground(source, theme, ink, ground):
    colours = themes(source)[theme]
    assert contrast(rgb(colours[ink]), rgb(colours[ground])) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_tested_colours_are_all_there_are(source, theme):
    style = source.partition("<style>")[2].partition("</style>")[0]
    tested = {name for pair in PAIRS for name in pair} | {"rule"}
    assert set(themes(source)[theme]) == tested
    body = re.sub(r":root \{.*?\}", "", style, flags=re.S)
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl", body)
    assert set(re.findall(r"var\(--([\w-]+)\)", style)) == tested | {"share"}


def test_no_text_is_tiny(source):
    style = source.partition("<style>")[2].partition("</style>")[0]
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)rem", style)]
    assert len(sizes) > 8
    assert min(sizes) * 16 >= 13
