"""Work that is done in another thread while its results are being used."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

T = TypeVar("T")
_END = object()


def ahead(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The same items, up to `depth` of them made before they are asked for.

    Errors appear where the item would have been; a consumer that stops early stops the work.
    """
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, items, _END) for _ in range(depth))
        try:
            while (item := pending.popleft().result()) is not _END:
                pending.append(pool.submit(next, items, _END))
                yield cast(T, item)
        finally:
            for future in pending:
                future.cancel()
