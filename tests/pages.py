"""Reading a page back, and pictures to put on one."""

from html.parser import HTMLParser

import numpy as np

from protect.report.examples import Example, make_example

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


def pictures(name: str = "cats/1.png", **facts: float | None) -> Example:
    """Return a tiny picture before and after."""
    rng = np.random.default_rng(0)
    original = rng.integers(8, 248, (4, 6, 3), dtype=np.uint8)
    protected = (original + rng.integers(-8, 9, original.shape)).astype(np.uint8)
    return make_example(name, original, protected, **({"psnr": 34.56, "ssim": 0.789} | facts))
