"""LightGBM's number of threads, which is one for the whole process.

Whatever is asked of LightGBM with so many threads sets their number for everything that runs, and what has made room
for one thread and finds two reaches beyond it: a crash, rarely and anywhere. So who wants another number waits until
those who are at it have done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turnstile:
    """Lets in together those who want the same number; who came first goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._number = 0
        self._queue: deque[object] = deque()

    @contextmanager
    def __call__(self, number: int) -> Iterator[None]:
        """Wait for one's turn, and be in. Who is in must not ask again: they might wait for themselves."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._may_enter(number))
                self._inside += 1
                self._number = number
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _may_enter(self, number: int) -> bool:
        return self._inside == 0 or self._number == number


lightgbm_threads = Turnstile()
"""To be entered, with the number of threads, for all that LightGBM makes, grows or scores."""
