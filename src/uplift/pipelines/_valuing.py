"""What a policy and an arm are worth, from cross-fitted scores of every outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from uplift.evaluation import GainUnit, PolicyGain, Scores, aipw_scores, group_effects, policy_gain
from uplift.features import OUTCOMES
from uplift.learners.bundle import Bundle
from uplift.pipelines._uplift_data import CONTROL, UpliftData


class Valuing:
    """Doubly robust scores of every row and outcome, made once; used for the gate and for segments' effects.

    Parameters
    ----------
    data
        All rows, those held out included.
    columns
        Features of the outcome models.
    seed
        Of the folds.
    """

    def __init__(self, data: UpliftData, columns: list[str], *, seed: int, n_jobs: int = 1) -> None:
        self._data = data
        self._scores: dict[str, Scores] = {
            name: aipw_scores(
                data.X[columns],
                y,
                data.treatment,
                data.propensity,
                control=CONTROL,
                groups=data.member_id,
                random_state=seed,
                n_jobs=n_jobs,
            )
            for name, y in data.outcomes.items()
        }

    def gain(self, outcome: str, effects: np.ndarray, *, single: str | None = None) -> PolicyGain:
        """Value of "the best arm where it helps" on the members that no model was trained on.

        Parameters
        ----------
        effects
            ``(n_held_out, n_arms)``, predicted.
        single
            The arm for all to compare with, chosen elsewhere; None: the best one here.
        """
        return policy_gain(self._scores[outcome].take(self._data.held_out), effects, single=single)

    def best_single(self, outcome: str) -> str:
        """The best arm for everyone, on the members that models were trained on."""
        whole = group_effects(self._scores[outcome].take(~self._data.held_out), np.zeros((~self._data.held_out).sum()))
        rows = [row for row in whole.rows if row.group is None and row.effect is not None]
        return str(max(rows, key=lambda row: row.effect or 0.0).arm) if rows else str(self._data.arms[0])

    def segments(self, min_cell: int) -> list[dict[str, Any]]:
        """One row an outcome, arm and segment: effect with interval in the outcome's unit (money in cents)."""
        rows: list[dict[str, Any]] = []
        for outcome, scores in self._scores.items():
            for row in group_effects(scores, self._data.segment, min_cell=min_cell).to_dicts():
                rows.append({"outcome": outcome, **row})
        return rows


def effects_of(bundle: Bundle, outcome: str, data: UpliftData) -> np.ndarray:
    """A model's predicted effects for the held-out rows in the columns of ``data.arms``.

    An arm that the model does not know is never chosen by it: its effect is 0.
    """
    learner = bundle.models[outcome]
    predicted = np.asarray(learner.predict(data.X.loc[data.held_out]))
    known: Mapping[str, int] = {str(arm): column for column, arm in enumerate(learner.arms_)}
    effects = np.zeros((int(data.held_out.sum()), len(data.arms)))
    for column, arm in enumerate(data.arms):
        if arm in known:
            effects[:, column] = predicted[:, known[arm]]
    return effects


def gain_unit(spec: Mapping[str, Any], currency: str, of: str = "value_outcome") -> GainUnit:
    """In what gains are counted of the outcome that a model's specification names: ``value_outcome``, ``choose_on``."""
    outcome = next(one["outcome"] for one in spec["outcomes"] if one["name"] == spec[of])
    return GainUnit(OUTCOMES[outcome].unit, currency)
