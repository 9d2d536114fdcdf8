"""Promises of the learners beyond accuracy: where a method refuses, and who owns the threads."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.learners import LEARNERS, ClassTransformation, make_learner

SMALL = {"control": "control", "n_estimators": 40, "min_child_samples": 50, "random_state": 0}


def campaign(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Features, outcomes and arms of 8,000 members, one in eight of whom buys; and the mean effect."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 3))
    effect = 0.1 * (X[:, 0] > 0)
    treated = (rng.random(8000) < share).astype(int)
    y = (rng.random(8000) < 0.1 + 0.05 * (X[:, 1] > 0) + treated * effect).astype(int)
    return X, y, treated, float(effect.mean())


def test_class_transformation_off_one_half(proof):
    """Right at one half; anywhere else it finds how many were treated, so it is refused there."""
    learner = ClassTransformation(**{**SMALL, "control": 0})
    half = {0: 0.5, 1: 0.5}
    X, y, treated, truth = campaign(0.5)
    off = learner.fit(X, y, treated, propensity=half).predict(X).mean() - truth
    right = proof(
        "learners/class-transformation", "error of the mean effect at propensity ½", method="class_transformation",
        target="within .03", figure=f"{off:+.3f}", holds=abs(off) < 0.03,
    )  # fmt: skip
    X, y, treated, truth = campaign(0.8)
    for given in (np.tile([0.2, 0.8], (8000, 1)), {0: 0.2, 1: 0.8}, None):
        with pytest.raises(InputError, match="equally likely"):
            learner.fit(X, y, treated, propensity=given)
    proof(
        "learners/class-transformation", "propensity .8, given as an array, as shares, or estimated",
        method="class_transformation", target="refused", figure="refused", holds=True,
    )  # fmt: skip
    # what it would have said: the transformation itself does not look at propensities
    wrong = learner.fit(X, y, treated, propensity=half).predict(X).mean() - truth
    caught = proof(
        "learners/class-transformation", "error of the mean effect at propensity .8",
        method="class transformation told that it is ½", target="above .1 either way", figure=f"{wrong:+.3f}",
        holds=abs(wrong) > 0.1, planted=True,
    )  # fmt: skip
    assert right
    assert caught


TASKS = Path("/proc/self/task")


class Threads:
    """The largest number of the process's threads while it is watched, beyond those that were there."""

    def __enter__(self) -> Threads:
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        self._before = self.most = len(list(TASKS.iterdir()))
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.0005):
            self.most = max(getattr(self, "most", 0), len(list(TASKS.iterdir())))

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._watcher.join()
        self.more = self.most - self._before


@pytest.mark.skipif(not TASKS.is_dir(), reason="threads are counted in /proc, which this system does not have")
def test_one_owner_of_threads(proof):
    """With n_jobs=1 no learner starts a thread of its own, whatever it is made of; that the counter sees them too."""
    world = make_world(3000, arms=("a",), outcome="binary", categorical=1, missing=0.05, random_state=0)

    def fit(name: str) -> None:
        learner = make_learner(name, **{**SMALL, "n_estimators": 10})
        learner.fit(world.X, world.y, world.treatment, propensity=world.propensity).predict(world.X)

    for name in LEARNERS:
        fit(name)  # imports and pools of linear algebra come first
    more = {}
    for name in LEARNERS:
        with Threads() as threads:
            fit(name)
        more[name] = threads.more
    right = proof(
        "learners/threads", "threads started by fit and predict with n_jobs = 1", method=", ".join(LEARNERS),
        target="none", figure=str(max(more.values())), holds=max(more.values()) == 0,
    )  # fmt: skip
    import lightgbm

    with Threads() as threads:
        lightgbm.train(
            {"num_threads": 5, "verbosity": -1}, lightgbm.Dataset(world.X.iloc[:, :8].to_numpy(), world.y), 20
        )
    caught = proof(
        "learners/threads", "threads started by a booster that takes five", method="threads of its own",
        target="seen", figure=str(threads.more), holds=threads.more >= 3, planted=True,
    )  # fmt: skip
    assert right, more
    assert caught
