"""The methods of this package that quality compares: ``python -m benchmarks.ours jobs.json`` does a list of jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks._jobs import Job, Predicted, work
from benchmarks._settings import BOOSTER
from benchmarks.tasks import TASKS, Half, Split
from uplift.evaluation import UpliftSearchCV
from uplift.learners import make_learner

SEARCH = "UpliftSearchCV"
SINGLE = "one arm for all"


def search(split: Split) -> Predicted:
    """The search as it comes; not nested, because the report is on rows of its own."""
    found = UpliftSearchCV(nested=False, n_bootstrap=0)
    found.fit(split.train.X, split.train.y, split.train.arm, propensity=_table(split, split.train), control=0)
    kept = ", ".join(f"{name} {value:.2f}" for name, value in found.shrinkage_.items())
    return Predicted(found.predict(split.test.X), f"{found.best_name_} ({kept}); {found.verdict_status_}")


def single(split: Split) -> Predicted:
    """The arm with the best mean effect on the training half, for everyone."""
    fitted = make_learner("constant", control=0).fit(
        split.train.X, split.train.y, split.train.arm, propensity=_table(split, split.train)
    )
    best = int(np.argmax(fitted.predict(split.test.X.head(1))[0]))
    effects = np.zeros((len(split.test.y), len(fitted.arms_)))
    effects[:, best] = 1.0
    return Predicted(effects, f"arm {fitted.arms_[best]}")


def learner(name: str) -> Callable[[Split], Predicted]:
    """A learner by its name in the registry, with the settings that the peers get too."""

    def predict(split: Split) -> Predicted:
        model = make_learner(name, control=0, random_state=0, n_jobs=1, **BOOSTER)
        model.fit(split.train.X, split.train.y, split.train.arm, propensity=_table(split, split.train))
        return Predicted(model.predict(split.test.X))

    return predict


def _table(split: Split, half: Half) -> np.ndarray:
    return np.tile(split.shares, (len(half.y), 1))


METHODS: dict[str, Callable[[Split], Predicted]] = {
    SEARCH: search,
    SINGLE: single,
    "uplift S": learner("S"),
    "uplift T": learner("T"),
    "uplift X": learner("X"),
    "uplift R": learner("R"),
    "uplift DR": learner("DR"),
    "uplift logistic T": learner("logistic_T"),
}


def load(job: Job) -> Split:
    """The split itself: tasks are made the same way wherever they are made."""
    return TASKS[job.task].split(job.split)


if __name__ == "__main__":
    work(Path(sys.argv[1]), METHODS, load)
