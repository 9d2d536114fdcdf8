"""Held-out policy gain and several-arm Qini, side by side with other libraries: ``python -m benchmarks quality``.

Predictions are kept per task, split, method and version under ``benchmarks/out/quality``; a run makes what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import _publish, _quality_table
from benchmarks._jobs import ROOT, Job, load_outcome, run_jobs
from benchmarks.ours import METHODS as OURS
from benchmarks.ours import SEARCH, SINGLE
from benchmarks.peers import LIBRARIES
from benchmarks.tasks import TASKS, Split, one_hot

OUT = Path("benchmarks/out/quality")
PEERS_PYTHON = Path(".venv-peers/bin/python")
SHARED = ("benchmarks/tasks.py", "benchmarks/_settings.py")
SOURCES = {
    "uplift": ("benchmarks/ours.py", "src/uplift/learners", "src/uplift/evaluation"),
    **{
        name: (f"benchmarks/peers/with_{name}.py", "benchmarks/peers/_data.py", "benchmarks/peers/requirements.lock")
        for name in LIBRARIES
    },
}
"""Library → what its predictions depend on; a change makes them anew."""


def methods() -> dict[str, str]:
    """Method → library, in the order of the table."""
    ours = dict.fromkeys(OURS, "uplift")
    return ours | {method: name for name, own in LIBRARIES.items() for method in own}


def version(library: str) -> str:
    """Digest of everything that a library's predictions depend on."""
    digest = hashlib.blake2b(digest_size=5)
    for name in (*SHARED, *SOURCES[library]):
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def chosen(names: Iterable[str], only: Sequence[str]) -> list[str]:
    """The names that contain one of the words; all where no word fits any of them."""
    known = list(names)
    found = [name for name in known if any(word.lower() in name.lower() for word in only)]
    return found or known


def jobs_of(tasks: Sequence[str], splits: int, wanted: Sequence[str]) -> dict[str, list[Job]]:
    """Library → jobs, split by split, so that a stopped run leaves whole splits."""
    library = methods()
    tags = {name: version(name) for name in SOURCES}
    jobs: dict[str, list[Job]] = {name: [] for name in SOURCES}
    for task in tasks:
        for split in range(splits):
            for method in wanted:
                name = library[method]
                file = f"{method.replace(' ', '_')}-{tags[name]}.npz"
                folder = OUT / task / str(split)
                jobs[name].append(
                    Job(task, split, method, str(folder / f"data-{version_of_tasks()}.npz"), str(folder / file))
                )
    return jobs


def version_of_tasks() -> str:
    """Digest of the tasks' definition."""
    return hashlib.blake2b((ROOT / SHARED[0]).read_bytes(), digest_size=5).hexdigest()


def write_data(split: Split, path: Path) -> None:
    """The split as peers read it."""
    X, X_test = one_hot(split.train.X, split.test.X)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, X=X, y=split.train.y, arm=split.train.arm, X_test=X_test, shares=split.shares, binary=split.binary)


def predict(jobs: dict[str, list[Job]], processes: int) -> None:
    """Have everything predicted that is not there yet."""
    missing = {name: [job for job in own if not (ROOT / job.out).exists()] for name, own in jobs.items()}
    for task in {job.task for own in missing.values() for job in own}:
        TASKS[task].split(0)  # data that is not there stops the run here, not job by job
    needs_data = {(job.task, job.split): job.data for name in LIBRARIES for job in missing[name]}
    for (task, number), data in needs_data.items():
        if not (ROOT / data).exists():
            write_data(TASKS[task].split(number), ROOT / data)
    if needs_data and not (ROOT / PEERS_PYTHON).exists():
        raise SystemExit("no .venv-peers: `make bench-peers` makes it")
    parts = [
        (name, [job for job in own if job.task == task])
        for task in TASKS
        for name, own in missing.items()
        if any(job.task == task for job in own)
    ]

    def run(part: tuple[str, list[Job]]) -> None:
        name, own = part
        print(f"· {own[0].task}: {name}, {len(own)} predictions", file=sys.stderr)
        ours = name == "uplift"
        python = Path(sys.executable) if ours else ROOT / PEERS_PYTHON
        run_jobs(python, "benchmarks.ours" if ours else f"benchmarks.peers.with_{name}", own)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(run, parts))


def judge(jobs: dict[str, list[Job]]) -> pd.DataFrame:
    """A row per task, split and method: gain and Qini per 1,000 members, seconds, what was chosen, why it failed."""
    rows = []
    by_split: dict[tuple[str, int], list[Job]] = {}
    for own in jobs.values():
        for job in own:
            by_split.setdefault((job.task, job.split), []).append(job)
    for (task, number), own in by_split.items():
        split = TASKS[task].split(number)
        for job in own:
            left = load_outcome(ROOT / job.out)
            judged = None if left.effects is None else split.judge(left.effects)
            rows.append(
                {
                    "task": task,
                    "split": number,
                    "method": job.method,
                    "gain": np.nan if judged is None else judged.gain,
                    "qini": np.nan if judged is None else judged.qini,
                    "seconds": left.seconds,
                    "note": left.note,
                    "failed": left.failed,
                    "not_applicable": left.not_applicable,
                }
            )
    return pd.DataFrame(rows)


def main(arguments: Sequence[str]) -> None:
    """Predict, judge, print, and keep the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality", description=__doc__)
    parser.add_argument("--splits", type=int, default=10, help="halvings or worlds per task (default 10)")
    parser.add_argument("--only", action="append", default=[], help="tasks or methods whose name contains this")
    parser.add_argument("--processes", type=int, default=2, help="libraries at work side by side, one thread each")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args(arguments)
    for word in given.only:
        if not any(word.lower() in name.lower() for name in (*TASKS, *methods())):
            parser.error(f"no task and no method has {word!r} in its name: {', '.join((*TASKS, *methods()))}")
    wanted = chosen(methods(), given.only)
    if len(wanted) < len(methods()):  # what all are compared with
        wanted = list(dict.fromkeys([SEARCH, SINGLE, *wanted]))
    jobs = jobs_of(chosen(TASKS, given.only), given.splits, wanted)
    predict(jobs, given.processes)
    results = judge(jobs)
    results.to_csv(ROOT / OUT / "splits.csv", index=False)
    text = _quality_table.render(results)
    (ROOT / OUT.parent / "quality.md").write_text(text, encoding="utf-8")
    print(text)
    if given.publish:
        _publish.publish("quality", text)
