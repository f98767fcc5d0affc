"""The page: complete, self-contained, accessible, and deaf to what names want of it."""

import base64
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from reports import HOSTILE, RESNET, VIT, hostile_report, make_cell, make_quality, make_report

from protect.report.examples import make_example
from protect.report.html import MOST_FILES, html_page

VOID = {"meta", "link", "img", "br", "wbr", "line", "circle", "polyline"}


class Page(HTMLParser):
    """Elements of a page in order, each with its attributes and the text in it.

    Attributes:
        elements: (tag, attributes, pieces of text) of each.
        text: All text, without the style sheet.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.text = ""
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(source)
        self.close()
        assert not self._open, "an element was not closed"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        for _, _, text in self._open:
            text.append(data)
        if not self._open or self._open[-1][0] != "style":
            self.text += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes, _ in self.elements if tag in tags]

    def texts(self, tag: str) -> list[str]:
        return ["".join(text).strip() for name, _, text in self.elements if name == tag]


def pictures(name: str = "cats/1.png", **facts):
    rng = np.random.default_rng(0)
    original = rng.integers(8, 248, (4, 6, 3), dtype=np.uint8)
    protected = (original + rng.integers(-8, 9, original.shape)).astype(np.uint8)
    return make_example(name, original, protected, **({"psnr": 34.56, "ssim": 0.789} | facts))


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


# What holds of every page.


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
    assert len(page.texts("caption")) == len(page.all("table")) == 4
    assert all(page.texts("caption"))
    assert {a["scope"] for a in page.all("th")} == {"col", "row", "rowgroup"}


def test_what_scrolls_can_be_reached_by_keyboard_and_has_a_name(page):
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    scrolling = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert len(scrolling) == 4
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


# What it says.


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
    assert len(tiles) == 2, "in the heat table and in the full one"


def test_a_row_of_the_full_table(source):
    rows = [" ".join(row.split()) for row in Page(source).texts("tr")]
    (row,) = [row for row in rows if row.startswith("jpeg10")]
    assert row == (
        "jpeg10 0.82 [0.77, 0.87]✗ fail 73.3%71.3% 87.3%86.1% 10.3% 0, 1, 2 2250 / 751 83.4 "
        "retained 0.82, only 0.3 allowed"
    )


def test_the_heat_table_has_a_tile_per_network_training_and_attack(source):
    shares = re.findall(r'<td style="--share: (\d+)%"><strong>([\d.]+)</strong>', source)
    assert shares == [("8", "0.08"), ("82", "0.82"), ("30", "0.30")]
    assert source.count('<td class="absent"><span>not run</span>') == 2
    assert source.count('<td class="absent"><strong>\N{EN DASH}</strong><span>? inconclusive') == 1


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
