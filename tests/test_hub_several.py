"""Work on several things at a time, and how it ends."""

import threading
import time

import pytest

from mlx_wan.hub.several import StoppedError, several


class SlowEvent(threading.Event):
    """Leaves the others time to notice it before its first `set` comes back."""

    def set(self) -> None:
        first = not self.is_set()
        super().set()
        if first:
            time.sleep(0.2)


def test_the_first_error_is_told_not_that_the_others_were_stopped():
    stop, both = SlowEvent(), threading.Barrier(2)

    def work(thing: str) -> None:
        both.wait(10)
        if thing == "broken":
            raise ValueError(thing)
        assert stop.wait(10)
        raise StoppedError

    with pytest.raises(ValueError, match="broken"):
        list(several(work, ["broken", "fine"], 2, stop))


def test_every_result_comes_once():
    found = several(lambda x: x * x, range(20), 3, threading.Event())
    assert sorted(found) == [x * x for x in range(20)]
