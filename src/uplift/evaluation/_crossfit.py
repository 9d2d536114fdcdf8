"""Candidates fitted without each fold, and without each two of them, on features binned once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from uplift.errors import InputError
from uplift.learners import BaseUpliftLearner, FrameEncoder, Member, Training
from uplift.metrics.trial import Trial

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Views:
    """Arrays for each set of rows that models were kept from: a fold (``single``), or a fold and the outer one.

    ``single`` is ``(…, n, n_arms)``; ``outer[f]`` is the same from models that saw neither the row's fold nor fold
    ``f``, NaN in that one.
    """

    single: Floats
    outer: Mapping[int, Floats]


@dataclass(frozen=True, eq=False)
class Fits:
    """What a learner predicted, and the seconds that its fits took."""

    views: Views
    seconds: float


@dataclass(frozen=True, eq=False)
class Data:
    """What candidates are fitted on."""

    X: Any
    trial: Trial
    fold: Ints
    clusters: npt.NDArray[Any] | None
    treatment: npt.ArrayLike
    encoder: FrameEncoder
    training: Training
    variants: dict[str, Training] = field(default_factory=dict)

    def refolded(self, fold: Ints, halves: Ints) -> Self:
        """The same on other folds."""
        return replace(self, fold=fold, training=self.training.refolded(fold, halves), variants={})

    def predicted(self, name: str, learner: Any, held: Mask) -> tuple[Floats, float]:
        """Effects of the held rows by a clone fitted on the others, and the seconds it took."""
        begun = time.perf_counter()
        try:
            fitted = self.fit(learner, ~held)
        except InputError as error:
            raise InputError(f"candidate {name!r} could not be fitted: {error}") from error
        if isinstance(fitted, BaseUpliftLearner):
            effects = fitted.predict_encoded(self.training.matrix[held])
        else:
            rows = self.X.loc[held] if isinstance(self.X, pd.DataFrame) else self.X[held]
            effects = np.asarray(fitted.predict(rows), dtype=np.float64)
        return effects, time.perf_counter() - begun

    def fit(self, learner: Any, mask: Mask, threads: int = 1) -> Any:
        """A clone fitted on some rows; learners of ours share bins and outcome models."""
        member = learner if isinstance(learner, Member) else None
        copied = clone(learner if member is None else member.learner)
        if isinstance(copied, BaseUpliftLearner):
            training = self.training_for(copied) if member is None else member.training
            return copied.fit_prepared(self.encoder, replace(training.restricted(mask), threads=threads))
        every = mask.all()
        return copied.fit(
            self.X if every else self.X.loc[mask] if isinstance(self.X, pd.DataFrame) else self.X[mask],
            self.trial.y[mask],
            np.asarray(self.treatment)[mask],
            propensity=self.trial.propensity[mask],
            sample_weight=self.trial.weight[mask],
            groups=None if self.clusters is None else self.clusters[mask],
        )

    def training_for(self, learner: BaseUpliftLearner) -> Training:
        """A learner that takes 0 and 1 for amounts shares nothing with those that take them for a rate."""
        if learner.outcome == "binary" and not self.training.binary:
            raise InputError("y must be 0 or 1 where outcome='binary'; use outcome='continuous' for amounts")
        if learner.outcome != "continuous" or not self.training.binary:
            return self.training
        return self.variants.setdefault("amounts", self.training.as_amounts())


def cross_fitted(
    data: Data, learners: Mapping[str, Any], folds: int, *, nested: bool, n_jobs: int | None
) -> dict[str, Fits]:
    """What every learner says of every fold, kept from it, and where nested from it and each other one.

    A thread takes a whole training set, since what its learners share is there when the next one needs it. Sets that
    are left over, fewer than threads, are worked on learner by learner, so that no thread stands idle.
    """
    n, arms = len(data.fold), len(data.trial.arms)
    sets: list[tuple[int, ...]] = [(a,) for a in range(folds)]
    if nested:
        sets += [(a, b) for a in range(folds) for b in range(a + 1, folds)]

    def task(gone: tuple[int, ...], names: Sequence[str]) -> list[tuple[Floats, float]]:
        held = np.isin(data.fold, gone)
        return [data.predicted(name, learners[name], held) for name in names]

    threads = effective_n_jobs(n_jobs)
    whole = len(sets) // threads * threads
    tasks: list[tuple[tuple[int, ...], tuple[str, ...]]] = [(gone, tuple(learners)) for gone in sets[:whole]]
    tasks += [(gone, (name,)) for gone in sets[whole:] for name in learners]
    with threadpool_limits(1, user_api="blas"):  # linear algebra would bring threads of its own to each set
        results = Parallel(n_jobs=threads, backend="threading", batch_size=1)(delayed(task)(*one) for one in tasks)
    done = {
        (gone, name): of_name
        for (gone, names), of_names in zip(tasks, results, strict=True)
        for name, of_name in zip(names, of_names, strict=True)
    }
    found: dict[str, Fits] = {}
    for name in learners:
        single = np.empty((n, arms))
        outer = {f: np.full((n, arms), np.nan) for f in range(folds)} if nested else {}
        for gone in sets:
            of_held = data.fold[np.isin(data.fold, gone)]
            predicted = done[gone, name][0]
            if len(gone) == 1:
                single[data.fold == gone[0]] = predicted
                continue
            for mine, other in (gone, gone[::-1]):
                outer[other][data.fold == mine] = predicted[of_held == mine]
        found[name] = Fits(Views(single, outer), sum(done[gone, name][1] for gone in sets))
    return found


def stacked(fits: list[Fits]) -> Fits:
    """Several learners' predictions side by side, ``(n_learners, n, n_arms)``; seconds of all of them."""
    first = fits[0].views
    outer = {f: np.stack([one.views.outer[f] for one in fits]) for f in first.outer}
    return Fits(Views(np.stack([one.views.single for one in fits]), outer), sum(one.seconds for one in fits))
