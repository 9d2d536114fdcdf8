"""The table of quality, and the sentences that say whether the search holds its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks._statistics import Estimate, over_splits
from benchmarks.ours import SEARCH, SINGLE
from benchmarks.tasks import TASKS


@dataclass(frozen=True)
class Place:
    """Where the search stands in one task.

    Attributes
    ----------
    best
        The other method with the highest mean gain, and the search less it, paired.
    against_best, against_single
        The search less that method, and less one arm for all, per 1,000 members.
    """

    task: str
    best: str
    against_best: Estimate
    against_single: Estimate

    @property
    def at_top(self) -> bool:
        """Highest mean gain, or tied with the highest."""
        return self.against_best.mean >= 0 or self.against_best.zero

    @property
    def holds_single(self) -> bool:
        """Not below one arm for all by more than the standard error of the difference."""
        return self.against_single.mean >= -float(np.nan_to_num(self.against_single.se))

    def sentence(self) -> str:
        """Both claims with their numbers."""
        first = "highest" if self.against_best.mean > 0 else "tied with the highest" if self.at_top else "MISSED"
        second = "held" if self.holds_single else "MISSED"
        return (
            f"| {TASKS[self.task].title} | {self.best} | {self.against_best.cell(True)} | {first} | "
            f"{self.against_single.cell(True)} | {second} |"
        )


def wide(results: pd.DataFrame, task: str, what: str) -> pd.DataFrame:
    """Splits × methods of one number; splits that any of them lacks are left out of that method only."""
    return results[results["task"] == task].pivot(index="split", columns="method", values=what)


def place(results: pd.DataFrame, task: str) -> Place:
    """Where the search stands in a task."""
    table = wide(results, task, "gain")
    others = table.drop(columns=SEARCH).dropna(axis=1)
    best = str(others.mean().idxmax())
    overlap = TASKS[task].overlap
    return Place(
        task,
        best,
        over_splits(table[SEARCH] - table[best], overlap),
        over_splits(table[SEARCH] - table[SINGLE], overlap),
    )


def render(results: pd.DataFrame) -> str:
    """Gain and Qini of all methods, the search's place, and why cells are empty, in Markdown."""
    tasks = list(dict.fromkeys(results["task"]))
    splits = results["split"].nunique()
    parts = [
        f"{splits} splits; mean ± standard error per 1,000 members; = tie with {SEARCH}, ▲ above it, ▼ below it "
        "(paired, 95 %).",
        "**Gain** of the best arm where it is predicted to help, over giving nothing; last, the share of the best "
        "method's mean gain, averaged over the tasks where anything can be gained",
        _cells(results, tasks, "gain", _shares(results, tasks)),
        "**Several-arm Qini**: mean over budgets of the gain over the best untargeted mix",
        _cells(results, tasks, "qini"),
        "**Place of the search** by gain\n\n| task | best other | search less it | place | "
        "search less one arm for all | never below by more than its error |\n|---|---|---|---|---|---|\n"
        + "\n".join(place(results, task).sentence() for task in tasks),
    ]
    empty = _reasons(results)
    return "\n\n".join(parts + ([empty] if empty else [])) + "\n"


def _cells(results: pd.DataFrame, tasks: list[str], what: str, shares: dict[str, float] | None = None) -> str:
    heads = ["method", *(TASKS[task].title for task in tasks), *(["share of the best"] if shares else [])]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    tables = {task: wide(results, task, what) for task in tasks}
    for method in dict.fromkeys(results["method"]):
        cells = [method, *(_cell(tables[task], task, method) for task in tasks)]
        if shares:
            cells.append("—" if np.isnan(shares[method]) else f"{shares[method]:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(table: pd.DataFrame, task: str, method: str) -> str:
    values = table[method]
    if values.isna().any():
        return "—"
    overlap = TASKS[task].overlap
    mean = over_splits(values, overlap).cell()
    if method == SEARCH:
        return f"**{mean}**"
    less = over_splits(values - table[SEARCH], overlap)
    return f"{mean} {'=' if less.zero else '▲' if less.mean > 0 else '▼'}"


def _shares(results: pd.DataFrame, tasks: list[str]) -> dict[str, float]:
    """Method → its mean gain over that of the best method, averaged over the tasks where something can be gained."""
    means = results.groupby(["task", "method"])["gain"].agg(lambda own: own.mean(skipna=False)).unstack("method")
    best = means.loc[tasks].max(axis=1)
    return dict(means.loc[tasks][best > 0].div(best[best > 0], axis=0).mean(skipna=False))


def _reasons(results: pd.DataFrame) -> str:
    lines = []
    for column, word in (("not_applicable", "not applicable"), ("failed", "failed")):
        found = results[results[column] != ""]
        for (method, reason), rows in found.groupby(["method", column], sort=False):
            where = ", ".join(
                f"{task} ({n} of {results['split'].nunique()})" for task, n in rows["task"].value_counts().items()
            )
            lines.append(f"* {method}, {where}: {word}: {reason}")
    return "**Empty cells**\n\n" + "\n".join(lines) if lines else ""
