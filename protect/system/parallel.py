"""Work spread over threads, results in order, memory bounded."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Items in flight per thread: enough to keep threads busy while the caller handles a result."""


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of the items.

    Decoding, encoding and hashing release the interpreter lock, so threads scale and need neither
    pickling nor shared memory. At most `AHEAD * threads` results exist at a time.

    Raises:
        Exception: Whatever `function` raises, at the place of its item; the rest is cancelled.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= AHEAD * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
