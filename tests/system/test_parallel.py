"""Work spread over threads."""

from collections.abc import Iterator
from itertools import count, islice

import pytest

from protect.system.parallel import AHEAD, ordered_map


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("handful", [1, 2, 7, 100])
@pytest.mark.parametrize("n", [0, 1, 7, 50])
def test_results_come_in_the_order_of_the_items(n: int, handful: int, threads: int):
    assert list(ordered_map(str, range(n), threads, handful)) == [str(i) for i in range(n)]


@pytest.mark.parametrize("handful", [1, 4, 100])
@pytest.mark.parametrize("wrong", [0, 3, 4, 9])
def test_an_error_comes_at_the_place_of_its_item(wrong: int, handful: int):
    def function(item: int) -> int:
        if item == wrong:
            raise LookupError(item)
        return item

    seen = []
    with pytest.raises(LookupError, match=str(wrong)):
        for result in ordered_map(function, range(10), 2, handful):
            seen.append(result)  # noqa: PERF402
    assert seen == list(range(wrong))


@pytest.mark.parametrize("handful", [1, 5])
def test_no_more_is_taken_than_is_bounded(handful: int):
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for item in count():
            taken += 1
            yield item

    results = ordered_map(abs, endless(), 2, handful)
    assert list(islice(results, 3)) == [0, 1, 2]
    assert taken - 3 <= AHEAD * 2 * handful
    results.close()
