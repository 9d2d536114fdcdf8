"""A lock between processes that is gone with the process that holds it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from uplift.errors import UpliftError

_PAUSE = 0.05


@contextlib.contextmanager
def file_lock(path: Path, *, timeout: float = 600.0) -> Iterator[None]:
    """Hold the lock at ``path``, waiting for it up to ``timeout`` seconds.

    Raises
    ------
    UpliftError
        If another process holds it for longer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        end = time.monotonic() + timeout
        while not _try(handle):
            if time.monotonic() > end:
                raise UpliftError(
                    f"{path.name}: another process has held this lock for {timeout:.0f} s; try again later"
                )
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            _release(handle)


if sys.platform == "win32":
    import msvcrt

    def _try(handle: IO[bytes]) -> bool:
        handle.seek(0)
        try:
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(handle: IO[bytes]) -> None:
        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try(handle: IO[bytes]) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(handle: IO[bytes]) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
