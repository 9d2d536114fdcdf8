"""From estimates and checks to the result: families, reasons for doubt, the winner, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtrc

from uplift import __version__
from uplift.config import LooksSpec
from uplift.errors import DesignError
from uplift.experiments._cells import effects, interactions
from uplift.experiments._families import Correction, adjusted
from uplift.experiments._measured import WHOLE, Measured
from uplift.experiments._metric import roles
from uplift.experiments._result import Analysis, Effect, Interaction
from uplift.experiments._situation import situation
from uplift.experiments._text import Text
from uplift.experiments.actions import recommend
from uplift.experiments.checks import ALARM, Balance, SampleRatio, sample_ratio
from uplift.experiments.sequential import Look, look
from uplift.experiments.verdict import Finding, Names, Verdict, Winner, amount, decide

POST_TREATMENT = 1e-9
"""Arms that differ before assignment with a smaller p-value than this were never alike: nothing is computed."""

METHODS = {
    "effect": "Lin (2013) interacted regression on centred covariates, {variance}, Welch df",
    "raw": "difference of means, Welch",
    "ratio": "linearised around each arm's own ratio (delta method), covariates on the linearised values",
    "time": "Kaplan-Meier restricted mean, its influence function as the row's value",
    "winsorised": "at a quantile of all arms together",
    "relative": "Fieller",
    "guardrail": "non-inferiority at the declared margin, one-sided at half of alpha",
    "exposed": "Wald ratio of differences, Anderson-Rubin interval",
    "srm": f"chi-square against the designed shares, alarm below {ALARM}",
    "balance": f"randomisation quadratic form of all covariates, alarm below {ALARM}",
    "interaction": "Welch (1951) test of equal effects",
    "shrunk": "Armstrong, Kolesár & Plagborg-Møller (2022) robust empirical Bayes",
    "looks": "Waudby-Smith et al. (2024) asymptotic confidence sequence, or Lan-DeMets spending over fixed looks",
}


@dataclass(frozen=True)
class Options:
    """What decides a conclusion beside the numbers; see :func:`uplift.experiments.analyze`."""

    alpha: float = 0.05
    planned_size: int | None = None
    looks: LooksSpec | None = None
    correction: Correction = "holm"
    invalid: Sequence[Text] = ()
    early: Sequence[Text] = ()
    names: Names | None = None
    seed: int = 0
    costs: Mapping[str, float] | None = None

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises
        ------
        DesignError
            If a level, a size or a method is none.
        """
        if not 0 < self.alpha < 0.5:
            raise DesignError(f"alpha={self.alpha} → a number between 0 and 0.5, usually 0.05")
        if self.planned_size is not None and self.planned_size < 2:
            raise DesignError(f"planned_size={self.planned_size} → the number of members planned in all, at least 2")
        if self.looks is not None and self.planned_size is None:
            raise DesignError("looks are shares of planned_size, which is not given")
        if self.correction not in ("holm", "dunnett"):
            raise DesignError(f"correction={self.correction!r} → 'holm' or 'dunnett'")


def conclude(measured: Measured, options: Options) -> Analysis:
    """The result.

    Raises
    ------
    DesignError
        If arms differ before assignment beyond all chance.
    """
    request = measured.request
    now = _looks(measured, options)
    sound = look(measured.size, options.planned_size, alpha=ALARM)  # checks are read at every look
    ratio = _sample_ratio(measured, running=sound.running)
    _refuse_unlike(measured.balance)
    balanced = measured.balance
    if balanced.p_value is not None:
        balanced = replace(balanced, passed=sound.p_value(balanced.p_value, balanced.df or 1) >= ALARM)
    lost = _missing(measured, sound)
    levels = {name: at.level for name, at in now.items()}
    found = [_proved(effect, levels) for effect in effects(measured, levels)]
    tests = interactions(measured, found)
    found, tests, families = adjusted(measured, found, tests, now, options.correction)
    role = roles(measured.metrics)
    decisive = next((name for name, what in role.items() if what == "primary"), measured.metrics[0].name)
    reason = now[decisive].waiting()
    waiting = [*options.early, *([reason] if reason is not None else [])]
    findings = _findings(measured, found, options.alpha)
    verdict = _verdict(
        measured, findings, tests, now, options, [*options.invalid, *_unsound(ratio, balanced, lost)], waiting
    )
    actions = recommend(
        situation(
            measured, found, tests, findings, verdict, now,
            costs=options.costs or {}, names=options.names or {}, alpha=options.alpha,
        )
    )  # fmt: skip
    exposed = [] if measured.exposure is None else measured.exposure.rows(
        measured.arms, measured.sizes.astype(np.float64), levels, measured.hidden, request.min_cell
    )  # fmt: skip
    notes = [*measured.notes, *_unproved(measured, found)]
    if measured.exposure is not None:
        notes += measured.exposure.notes(measured.arms, measured.sizes.astype(np.float64), request.min_cell)
    if verdict.status == "invalid":
        found, tests, exposed = [_withheld(e) for e in found], [_untested(t) for t in tests], []
    checks: dict[str, Any] = {
        "srm": ratio.to_dict(),
        "balance": balanced.to_dicts(),
        "balance_test": {
            "p_value": balanced.p_value, "passed": balanced.passed, "statistic": balanced.statistic,
            "df": balanced.df, "threshold": balanced.threshold,
        },
        "missing": lost,
        "duplicates": {"members": measured.duplicates, "checked": request.unit is not None},
    }  # fmt: skip
    if measured.exposure is not None:
        checks["exposure"] = measured.exposure.counts(
            measured.arms, measured.sizes.astype(np.float64), request.min_cell
        )
    return Analysis(
        design={**_design(measured, options), "looks": {name: at.to_dict() for name, at in now.items()}},
        checks=checks,
        metrics=tuple({**metric.to_dict(), "role": role[metric.name]} for metric in measured.metrics),
        effects=tuple(found),
        interactions=tuple(tests),
        verdict=verdict,
        families=families,
        notes=tuple(note._asdict() for note in notes),
        provenance={
            "data_hash": measured.digest, "rows": measured.size, "version": __version__, "seed": options.seed,
            "alpha": options.alpha, "missing": request.missing,
            "methods": {**METHODS, "effect": METHODS["effect"].format(variance=measured.variance)},
        },
        exposed=tuple(exposed),
        actions=actions,
    )  # fmt: skip


def _looks(measured: Measured, options: Options) -> dict[str, Look]:
    """What may be concluded now on each metric, by how many rows have an outcome."""
    at = () if options.looks is None else options.looks.at
    spending = "obrien-fleming" if options.looks is None else options.looks.spending
    return {
        name: look(
            measured.size - int(measured.unknown[name].sum()), options.planned_size,
            alpha=options.alpha, at=at, spending=spending,
        )
        for name in (metric.name for metric in measured.metrics)
    }  # fmt: skip


def _sample_ratio(measured: Measured, *, running: bool) -> SampleRatio:
    shares = None
    if measured.shares is not None:
        shares = dict(zip(measured.arms, measured.shares.tolist(), strict=True))
    counts = dict(zip(measured.arms, measured.units.tolist(), strict=True))
    return sample_ratio(counts, shares, unit=measured.unit, running=running)


def _refuse_unlike(balanced: Balance) -> None:
    if balanced.p_value is None or balanced.p_value >= POST_TREATMENT:
        return
    worst = balanced.worst
    where = ""
    if worst is not None:
        level = "" if worst["level"] is None else f" = {worst['level']!r}"
        where = f", most in {worst['covariate']!r}{level}"
        if worst["smd"] is not None:
            where += f" (mean {worst['mean_control']:.4g} in the control, {worst['mean_arm']:.4g} in {worst['arm']!r})"
    raise DesignError(
        f"the arms differ before assignment beyond all chance (p < {POST_TREATMENT:g}{where}) → if that was measured "
        "after assignment it is an outcome, not a covariate: leave it out, or give its value from before; if it was "
        "measured before, the arms were not assigned at random and no effect can be computed"
    )


def _missing(measured: Measured, sound: Look) -> list[dict[str, Any]]:
    """Rows without an outcome by metric, and whether arms differ in how many they are."""
    rows = []
    counts = measured.sizes
    for metric in measured.metrics:
        row: dict[str, Any] = {
            "metric": metric.name, "n": measured.empty[metric.name], "treated_as": measured.request.missing,
            "p_value": None, "passed": None,
        }  # fmt: skip
        empty = measured.unknown[metric.name]
        if empty.sum():
            expected = np.array([counts, counts]) * np.array([[empty.sum()], [counts.sum() - empty.sum()]])
            expected = expected / counts.sum()
            observed = np.array([empty, counts - empty])
            statistic = float(((observed - expected)[expected > 0] ** 2 / expected[expected > 0]).sum())
            df = int((counts > 0).sum()) - 1
            row["p_value"] = float(chdtrc(df, statistic))
            row["passed"] = sound.p_value(row["p_value"], df) >= ALARM
        rows.append(row)
    return rows


def _unsound(ratio: SampleRatio, balanced: Balance, lost: list[dict[str, Any]]) -> list[Text]:
    reasons = []
    if ratio.passed is False:
        p = _p(ratio.p_value)
        reasons.append(
            Text(
                f"各组人数与设计比例不符（样本比例检验 {p}），先查清原因再看效果",
                f"the sizes of the arms differ from the designed shares (sample ratio {p}): find the cause first",
            )
        )
    if balanced.passed is False:
        worst = balanced.worst
        name = "" if worst is None else str(worst["covariate"])
        p = _p(balanced.p_value)
        reasons.append(
            Text(
                f"各组在分组之前的特征就不同（{p}，差别最大的是 {name}），分组不随机，或该特征是分组之后才测得的",
                f"the arms differ before assignment ({p}, most in {name}): assignment was not random, or that "
                "covariate was measured afterwards",
            )
        )
    for row in lost:
        if row["passed"] is False:
            p = _p(row["p_value"])
            reasons.append(
                Text(
                    f"{row['metric']} 的缺失在各组之间不同（{p}），留下的人不可比",
                    f"values of {row['metric']} are missing more often in some arms ({p}): the rest does not compare",
                )
            )
    return reasons


def _p(value: float | None) -> str:
    return "p < 0.001" if value is None or value < 0.001 else f"p = {value:.3f}"


def _proved(effect: Effect, levels: Mapping[str, float]) -> Effect:
    """Whether a guardrail's interval shows that harm stays within its margin."""
    if effect.p_noninferior is None:
        return effect
    return replace(effect, noninferior=effect.p_noninferior < levels[effect.metric] / 2)


def _unproved(measured: Measured, found: Sequence[Effect]) -> list[Text]:
    metrics = {metric.name: metric for metric in measured.metrics}
    notes = []
    for effect in found:
        if effect.segment_column is None and effect.noninferior is False and effect.margin is not None:
            size = amount(effect.margin, metrics[effect.metric])
            zh, en = size.zh.lstrip("+"), size.en.lstrip("+")
            notes.append(
                Text(
                    f"{effect.arm}：护栏指标 {effect.metric} 的损害是否在 {zh} 以内，尚未证实",
                    f"{effect.arm}: harm to guardrail {effect.metric} is not yet shown to stay within {en}",
                )
            )
    return notes


def _findings(measured: Measured, found: Sequence[Effect], alpha: float) -> list[Finding]:
    """Effects on the whole population, as the verdict reads them."""
    metrics = {metric.name: metric for metric in measured.metrics}
    role = roles(measured.metrics)
    return [
        Finding(
            effect.arm, metrics[effect.metric], role[effect.metric], effect.effect, effect.low, effect.high,
            effect.p_adjusted, effect.relative, effect.p_adjusted is not None and effect.p_adjusted < alpha,
        )
        for effect in found
        if effect.segment_column is None
    ]  # fmt: skip


def _verdict(
    measured: Measured,
    findings: Sequence[Finding],
    tests: Sequence[Interaction],
    now: Mapping[str, Look],
    options: Options,
    invalid: Sequence[Text],
    early: Sequence[Text],
) -> Verdict:
    differing = [
        (test.arm, test.metric, test.segment_column)
        for test in tests
        if test.p_adjusted is not None and test.p_adjusted < options.alpha
    ]
    return decide(
        findings,
        control=measured.arms[0],
        alpha=options.alpha,
        invalid=invalid,
        early=early,
        winner=_winner(measured, findings, now, options.alpha),
        differing=differing,
        names=options.names,
    )


def _winner(measured: Measured, findings: Sequence[Finding], now: Mapping[str, Look], alpha: float) -> Winner | None:
    """The best arm on the primary metric; clear only if it beats every other arm, each at the full two-sided level.

    The probability that an arm is called best which is not stays below ``alpha`` however many arms there are: Gutmann
    and Maymin (1987), "Is the selected population the best?", *Annals of Statistics* 15(1).
    """
    harmed = {f.arm for f in findings if f.worse}
    better = [f for f in findings if f.better and f.role == "primary" and f.arm not in harmed]
    if not better or len(measured.arms) < 3:
        return None
    metric = better[0].metric
    sign = 1.0 if metric.increase else -1.0
    means = measured.estimates[metric.name, WHOLE].adjusted
    allowed = [i for i, name in enumerate(measured.arms) if i > 0 and name not in harmed]
    order = sorted(allowed, key=lambda i: -sign * means.mean[i])
    if len(order) < 2:
        return None
    best, rest = order[0], order[1:]
    gaps = [means.difference(best, other, alpha) for other in rest]
    clear = all(now[metric.name].p_value(gap.p_value) < alpha for gap in gaps)
    return Winner(measured.arms[best], measured.arms[rest[0]], gaps[0].value, clear)


def _withheld(effect: Effect) -> Effect:
    """What was counted, without anything that would read as an effect."""
    return Effect(
        effect.arm, effect.metric, effect.segment_column, effect.segment, effect.n_control, effect.n_arm,
        effect.control_mean, effect.arm_mean, suppressed=effect.suppressed,
    )  # fmt: skip


def _untested(test: Interaction) -> Interaction:
    return Interaction(test.arm, test.metric, test.segment_column)


def _design(measured: Measured, options: Options) -> dict[str, Any]:
    request = measured.request
    counts, min_cell = measured.sizes, request.min_cell
    small = bool((counts < min_cell).any())  # a total beside the other arms would give the small one back
    shares = [None] * len(counts) if measured.shares is None else measured.shares.tolist()
    return {
        "n": None if small else int(counts.sum()),
        "arms": {
            name: {"n": int(count) if count >= min_cell else None, "share": share}
            for name, count, share in zip(measured.arms, counts, shares, strict=True)
        },
        "control": measured.arms[0],
        "unit": "cluster" if measured.unit == "cluster" else "member",
        "cluster": request.cluster,
        "strata": list(request.strata),
        "segments": [{"column": column.name, "values": list(column.values)} for column in measured.segments],
        "alpha": options.alpha,
        "min_cell": min_cell,
        "planned_size": options.planned_size,
    }
