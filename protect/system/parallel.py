"""Work spread over threads, results in order, memory bounded."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Handfuls in flight per thread: enough to keep threads busy while the caller handles a result."""


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, handful: int = 1
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item, in the order of the items.

    Decoding, encoding and hashing release the interpreter lock, so threads scale with all but small
    pictures (for these see `workers`), and need neither pickling nor shared memory. At most
    `AHEAD * threads * handful` results exist at a time.

    Args:
        function: Safe to call from many threads.
        items: What to call it with.
        threads: How many.
        handful: Items that a thread takes at a time: more than one where the function takes
            about as long as handing an item over does (some 0.1 ms), and results are small.

    Raises:
        Exception: Whatever `function` raises, with the results before it in order; the rest is
            cancelled.
    """

    def work(taken: list[Item]) -> tuple[list[Result], Exception | None]:
        done: list[Result] = []
        for item in taken:
            try:
                result = function(item)
            except Exception as error:  # raised where its result would have been
                return done, error
            done.append(result)
        return done, None

    def results(future: Future[tuple[list[Result], Exception | None]]) -> Iterator[Result]:
        done, error = future.result()
        yield from done
        if error is not None:
            raise error

    pending: deque[Future[tuple[list[Result], Exception | None]]] = deque()
    source = iter(items)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            while taken := list(islice(source, handful)):
                pending.append(pool.submit(work, taken))
                if len(pending) >= AHEAD * threads:
                    yield from results(pending.popleft())
            while pending:
                yield from results(pending.popleft())
        finally:
            for future in pending:
                future.cancel()
