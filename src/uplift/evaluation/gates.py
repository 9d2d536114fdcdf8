"""May a challenger replace the champion? Yes or no, with reasons in both languages."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt

from uplift.errors import InputError
from uplift.evaluation.gain import PolicyGain, policy_gain
from uplift.evaluation.scores import Scores
from uplift.evaluation.units import PLAIN, GainUnit
from uplift.metrics import ChurnMetrics
from uplift.results import Rendered


@dataclass(frozen=True)
class GateResult(Rendered):
    """The answer of a gate.

    Attributes
    ----------
    passed
        Whether the challenger may be promoted.
    reasons_en, reasons_zh
        A sentence for each condition, in the same order and with the same numbers.
    """

    passed: bool
    reasons_en: tuple[str, ...]
    reasons_zh: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        row = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row a reason."""
        return [
            {"passed": self.passed, "reason_en": en, "reason_zh": zh}
            for en, zh in zip(self.reasons_en, self.reasons_zh, strict=True)
        ]


def uplift_gate(
    challenger: PolicyGain, champion: PolicyGain | None = None, *, z: float = 1.0, unit: GainUnit = PLAIN
) -> GateResult:
    """Pass when the challenger's policy is not worse than the champion's by more than ``z`` standard errors.

    Without a champion the comparison is with treating nobody: a policy that is clearly worse than doing nothing does
    not become the first champion.

    Parameters
    ----------
    challenger, champion
        From :func:`policy_gain`, on the same scores, of members that fitted and chose neither.
    z
        Standard errors of the paired difference.
    unit
        Of the outcome; the reasons are written in it.
    """
    if z < 0:
        raise InputError(f"z must not be negative, found {z}")
    difference = challenger.gain if champion is None else challenger.less(champion)
    se = difference.se or 0.0
    passed = bool(difference.value >= -z * se)
    against_en = "treating nobody" if champion is None else "the champion"
    against_zh = "不发放任何优惠" if champion is None else "现用模型"
    sign = "≥" if passed else "<"
    gap, error = unit.text(difference.value, se), unit.error(se)
    return GateResult(
        passed,
        (f"policy value against {against_en}, per member: {gap.en} {sign} −{z:g} × {error.en}",),
        (f"人均策略价值与{against_zh}相比：{gap.zh} {sign} −{z:g} × {error.zh}",),
    )


def gate(
    scores: Scores,
    challenger: npt.ArrayLike,
    champion: npt.ArrayLike | None = None,
    *,
    z: float = 1.0,
    cost: npt.ArrayLike = 0.0,
    clusters: npt.ArrayLike | None = None,
    unit: GainUnit = PLAIN,
) -> GateResult:
    """:func:`uplift_gate` from predicted effects, ``(n, n_arms)``, of both models for the rows of the scores."""
    first = policy_gain(scores, challenger, cost=cost, clusters=clusters)
    second = None if champion is None else policy_gain(scores, champion, cost=cost, clusters=clusters)
    return uplift_gate(first, second, z=z, unit=unit)


def churn_gate(
    model: ChurnMetrics, baseline: ChurnMetrics, *, auc_over_baseline: float = 0.0, calibration_error: float = 0.05
) -> GateResult:
    """Pass when the model's AUC beats the baseline's by at least so much, and it is calibrated.

    Parameters
    ----------
    model, baseline
        On the same later rows; the baseline is usually the recency rule.
    auc_over_baseline
        Least difference of the areas under the ROC curve.
    calibration_error
        Greatest expected calibration error.
    """
    if model.auc.n != baseline.auc.n:
        raise InputError(
            f"model and baseline were measured on {model.auc.n:,} and {baseline.auc.n:,} rows: use the same rows"
        )
    ahead = model.auc.value - baseline.auc.value
    ranks = ahead > auc_over_baseline if auc_over_baseline == 0 else ahead >= auc_over_baseline
    ece = None if model.ece is None else model.ece.value
    calibrated = ece is not None and ece <= calibration_error
    shown = "–" if ece is None else f"{ece:.4f}"
    more, less = (">" if auc_over_baseline == 0 else "≥") if ranks else "≱", "≤" if calibrated else "≰"
    auc = f"{model.auc.value:.4f} − {baseline.auc.value:.4f} = {ahead:+.4f} {more} {auc_over_baseline:g}"
    error = f"{shown} {less} {calibration_error:g}"
    return GateResult(
        ranks and calibrated,
        (f"AUC over the baseline: {auc}", f"expected calibration error: {error}"),
        (f"AUC 高于基准规则：{auc}", f"期望校准误差：{error}"),
    )
