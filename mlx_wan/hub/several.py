"""The same work on several things at a time, for as long as none of them fails."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")


_END = 15.0  # seconds the others get to notice; the network's timeout is 10


class StoppedError(Exception):
    """Another one failed, or Ctrl-C was pressed: this one ends too."""


def several(
    work: Callable[[Thing], Result], things: Iterable[Thing], workers: int, stop: threading.Event
) -> Iterator[Result]:
    """Results as they become ready. The first error ends it, sets `stop` and is raised here.

    The threads are daemons: Ctrl-C ends the program at once, even where one waits for the network.
    `work` should look at `stop` from time to time, and raise StoppedError.
    """
    waiting: queue.SimpleQueue[Thing] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    for thing in things:
        waiting.put(thing)
    count = waiting.qsize()

    def worker() -> None:
        with suppress(queue.Empty):
            while not stop.is_set():
                thing = waiting.get_nowait()
                try:
                    finished.put((work(thing), None))
                except BaseException as error:
                    finished.put((None, error))  # before the others hear of it, and end as well
                    stop.set()

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(workers, count))]
    try:
        for thread in threads:
            thread.start()
        for _ in range(count):
            result, error = finished.get()
            if error is not None:
                for thread in threads:  # so that nothing goes on behind the caller's back
                    thread.join(_END)
                raise error
            yield result
    finally:
        stop.set()
