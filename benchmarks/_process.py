"""Time and memory of one fit in a process of its own. For both environments: standard library and numpy only."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

STATUS = Path("/proc/self/status")
MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes
    ----------
    fit, predict
        Seconds; predicting is of the rows fitted on.
    rmse
        Root mean squared error of the effects against the truth.
    growth
        Peak memory while fitting less that of the process before it read its data, bytes.
    fits
        Boosters grown, where they are counted.
    """

    fit: float
    predict: float = 0.0
    rmse: float = float("nan")
    growth: float = float("nan")
    fits: int = 0


@dataclass(frozen=True, eq=False)
class Rows:
    """What learners fit on: ``arm`` counts 0 for the control; the arms have equal shares."""

    X: np.ndarray
    y: np.ndarray
    arm: np.ndarray
    arms: int


def read_rows(folder: Path) -> Rows:
    """The data of the run, as :mod:`benchmarks.speed` wrote it."""
    arm = np.load(folder / "arm.npy")
    return Rows(np.load(folder / "X.npy"), np.load(folder / "y.npy"), arm, int(arm.max()))


def measure(folder: Path, fit: Callable[[Rows], Any], predict: Callable[[Any, Rows], np.ndarray]) -> Measured:
    """Read the data, fit, predict, compare with the truth."""
    before = _start_peak()
    rows = read_rows(folder)
    begun = time.perf_counter()
    model = fit(rows)
    fitted = time.perf_counter()
    growth = _peak() - before
    effects = np.asarray(predict(model, rows))
    done = time.perf_counter()
    truth = np.load(folder / "effects.npy")
    rmse = float(np.sqrt(np.mean((effects - truth) ** 2)))
    return Measured(fitted - begun, done - fitted, rmse, growth)


def answer(measured: Measured) -> None:
    """Tell the parent, on the last line of standard output."""
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")


def _start_peak() -> float:
    """Memory in use now; the kernel's peak starts anew from here where it can be told to."""
    if not STATUS.exists():
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _field("VmRSS")


def _peak() -> float:
    return _field("VmHWM") if STATUS.exists() else float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _field(name: str) -> float:
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return 1024.0 * int(line.split()[1])
    raise KeyError(name)
