"""Which comparisons are adjusted together, and by which method; every family is stated in the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uplift.experiments._cells import beyond
from uplift.experiments._measured import WHOLE, Measured
from uplift.experiments._metric import roles
from uplift.experiments._result import Effect, Interaction
from uplift.experiments.multiplicity import benjamini_hochberg, dunnett, holm
from uplift.experiments.sequential import Look

Floats = NDArray[np.float64]
Correction = Literal["holm", "dunnett"]
WORDS = {
    "primary": "every arm against the control on the primary metric (the first goal), whole population",
    "secondary": "every arm against the control on the other goals, whole population",
    "guardrail": "every arm against the control on the guardrails, adjusted together with the primary metric, whole "
    "population; with a margin the p-value is that of harm beyond it",
    "segments": "every arm, metric and segment shown",
    "interactions": "every arm, metric and segment column",
    "winner": "the best arm on the primary metric against every other arm, each at the full level",
}
WINNER = "Gutmann and Maymin (1987)"


def adjusted(
    measured: Measured, found: list[Effect], tests: list[Interaction], now: Mapping[str, Look], correction: Correction
) -> tuple[list[Effect], list[Interaction], dict[str, Any]]:
    """Adjusted p-values, and a statement of every family."""
    role = roles(measured.metrics)
    p = np.array([now[e.metric].p_value(_nan(e.p_value)) for e in found])
    of: dict[str, list[int]] = {"primary": [], "secondary": [], "guardrail": [], "segments": []}
    for i, effect in enumerate(found):
        of[role[effect.metric] if effect.segment_column is None else "segments"].append(i)
    for i in of["guardrail"]:
        p[i] = now[found[i].metric].p_value(_harm(measured, found[i], _nan(found[i].p_value)))
    done = list(found)
    families: dict[str, Any] = {}

    def settle(family: str, method: Callable[[Floats], Floats], name: str, beside: Sequence[int] = ()) -> None:
        places = [*of[family], *beside]
        for i, value in zip(places[: len(of[family])], method(p[places]), strict=False):
            done[i] = replace(done[i], p_adjusted=None if np.isnan(value) else float(value))
        size = int(np.isfinite(p[places]).sum()) if of[family] else 0
        families[family] = {"method": name, "size": size, "of": WORDS[family]}

    loadings = _loadings(measured, found, of["primary"]) if correction == "dunnett" else None
    if loadings is None:
        settle("primary", holm, "holm")
    else:
        settle("primary", lambda own: dunnett(own, loadings), "dunnett")
    settle("secondary", holm, "holm")
    settle("guardrail", holm, "holm", beside=of["primary"] if of["guardrail"] else ())
    settle("segments", benjamini_hochberg, "benjamini_hochberg")
    shown = Counter((e.arm, e.metric, e.segment_column) for e in found if e.se is not None)
    of_tests = np.array(
        [
            now[test.metric].p_value(_nan(test.p_value), max(shown[test.arm, test.metric, test.segment_column] - 1, 1))
            for test in tests
        ]
    )
    settled = [
        replace(test, p_adjusted=None if np.isnan(value) else float(value))
        for test, value in zip(tests, holm(of_tests), strict=True)
    ]
    families["interactions"] = {
        "method": "holm", "size": int(np.isfinite(of_tests).sum()), "of": WORDS["interactions"],
    }  # fmt: skip
    if len(measured.arms) > 2:
        families["winner"] = {"method": WINNER, "size": len(measured.arms) - 2, "of": WORDS["winner"]}
    return done, settled, families


def _harm(measured: Measured, effect: Effect, p_value: float) -> float:
    """Two-sided p-value of a guardrail; with a margin, twice the one-sided p-value of harm beyond it."""
    metric = next(metric for metric in measured.metrics if metric.name == effect.metric)
    if metric.margin is None or effect.se is None:
        return p_value
    gap = measured.estimates[metric.name, WHOLE].adjusted.difference(measured.arms.index(effect.arm), 0)
    return min(1.0, 2 * beyond(metric, gap, harm=True))


def _loadings(measured: Measured, found: Sequence[Effect], places: Sequence[int]) -> Floats | None:
    """How strongly each comparison hangs on the control's mean; None where arms share clusters."""
    if not places:
        return None
    covariance = measured.estimates[found[places[0]].metric, WHOLE].adjusted.covariance
    known = covariance[~np.isnan(covariance)]
    if np.count_nonzero(known) > np.count_nonzero(np.nan_to_num(np.diag(covariance))):
        return None
    variance = np.diag(covariance)
    arms = [measured.arms.index(found[i].arm) for i in places]
    return np.asarray(np.sqrt(variance[0] / (variance[0] + variance[arms])))


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
