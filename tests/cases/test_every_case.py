"""No case is forgotten: each number is in the name of a test."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# fmt: off
CASES = (
    1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 15, 16, 17, 18, 19, 20, 21, 22, 24, 26, 27, 28, 29, 30, 31,
    33, 34, 35, 37, 39, 40, 41, 42, 43, 44, 45, 47, 48, 49, 50, 52, 53, 54, 55, 56, 58, 59, 61, 62,
    63, 64, 65, 66, 67,
)
# fmt: on
NAMES = [
    name
    for path in TESTS.rglob("test_*.py")
    for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("number", CASES)
def test_every_case_has_a_test(number: int):
    assert any(f"_c{number:02}_" in name for name in NAMES)
