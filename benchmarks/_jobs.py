"""Work done in another process, perhaps of another environment: a list of jobs in, one file per job out.

A job that fails, or that takes its process down, leaves its reason as its result; the others go on.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._settings import NotApplicableError

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "LOKY_MAX_CPU_COUNT": "1",  # a peer asks joblib for every core and takes no argument for it
}


@dataclass(frozen=True)
class Job:
    """One method on one split of one task; paths are relative to the root."""

    task: str
    split: int
    method: str
    data: str
    out: str


@dataclass(frozen=True)
class Outcome:
    """What a job left: predicted effects, or why there are none.

    Attributes
    ----------
    effects
        ``(n_test, n_arms)``, or None.
    seconds
        Fitting and predicting.
    note
        What the method chose, in words.
    failed, not_applicable
        Why there are no effects.
    """

    effects: np.ndarray | None = None
    seconds: float = float("nan")
    note: str = ""
    failed: str = ""
    not_applicable: str = ""


@dataclass(frozen=True)
class Predicted:
    """What a method returns: effects of the test rows, and what it chose."""

    effects: np.ndarray
    note: str = field(default="")


def save_outcome(path: Path, outcome: Outcome) -> None:
    """Keep an outcome; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    says = {name: getattr(outcome, name) for name in ("seconds", "note", "failed", "not_applicable")}
    arrays: dict[str, Any] = {"says": json.dumps(says)}
    if outcome.effects is not None:
        arrays["effects"] = np.asarray(outcome.effects, dtype=np.float32)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        np.savez(part, **arrays)
    Path(part.name).replace(path)


def load_outcome(path: Path) -> Outcome:
    """Read what ``save_outcome`` kept."""
    with np.load(path) as kept:
        says = json.loads(str(kept["says"]))
        effects = kept["effects"].astype(np.float64) if "effects" in kept else None
    return Outcome(effects, **says)


def work(jobs_file: Path, methods: Mapping[str, Callable[[Any], Predicted]], load: Callable[[Job], Any]) -> None:
    """Do all jobs of a list, in the process that was started for it."""
    data, key = None, None
    for entry in json.loads(jobs_file.read_text(encoding="utf-8")):
        job = Job(**entry)
        if key != (job.task, job.split):
            data, key = load(job), (job.task, job.split)
        begun = time.perf_counter()
        try:
            predicted = methods[job.method](data)
            outcome = _checked(predicted, time.perf_counter() - begun)
        except NotApplicableError as reason:
            outcome = Outcome(not_applicable=str(reason))
        except Exception as error:  # noqa: BLE001  # whatever a peer raises is its result
            outcome = Outcome(failed=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        save_outcome(ROOT / job.out, outcome)


def _checked(predicted: Predicted, seconds: float) -> Outcome:
    effects = np.asarray(predicted.effects, dtype=np.float64)
    if not np.isfinite(effects).all():
        return Outcome(failed="predicted effects are missing or infinite in some rows")
    return Outcome(effects, seconds, predicted.note)


def run_jobs(python: Path, module: str, jobs: Sequence[Job], seconds_each: float = 600.0) -> None:
    """Have all jobs done by ``python -m module``; a job that ends its process is recorded and left out."""
    left = [job for job in jobs if not (ROOT / job.out).exists()]
    while left:
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, encoding="utf-8") as listed:
            json.dump([asdict(job) for job in left], listed)
        why = ""
        try:
            done = subprocess.run(
                [str(python), "-W", "ignore", "-m", module, listed.name],
                cwd=ROOT,
                env={**os.environ, **ONE_THREAD},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=seconds_each * len(left),
                check=False,
            )
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:] or ["no message"]
                why = f"its process ended with code {done.returncode}: {last[0][:200]}"
        except subprocess.TimeoutExpired:
            why = f"took longer than {seconds_each:.0f} s"
        finally:
            Path(listed.name).unlink()
        left = [job for job in left if not (ROOT / job.out).exists()]
        if left:
            save_outcome(ROOT / left[0].out, Outcome(failed=why or "it left no result"))
            left = left[1:]
