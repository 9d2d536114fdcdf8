"""Analyse a randomised experiment: are the numbers sound, what did every arm do, to whom, and what follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from uplift import __version__
from uplift.config import LooksSpec, MetricSpec
from uplift.data import fingerprint
from uplift.errors import DesignError
from uplift.experiments._cells import WHOLE, Estimates, effects, estimate, interactions
from uplift.experiments._encoding import labels
from uplift.experiments._inputs import Missing, Prepared, prepare
from uplift.experiments._metric import Metric, declared, named, roles
from uplift.experiments._request import Request
from uplift.experiments._result import Analysis, Effect, Interaction
from uplift.experiments._text import Text
from uplift.experiments.checks import ALARM, Balance, SampleRatio, balance, sample_ratio, units_by_arm
from uplift.experiments.multiplicity import benjamini_hochberg, holm
from uplift.experiments.sequential import Look, look
from uplift.experiments.verdict import Finding, Names, Verdict, Winner, decide

METHODS = {
    "effect": "Lin (2013) interacted regression on centred covariates, HC2 (CR2 with clusters), Welch df",
    "raw": "difference of means, Welch",
    "relative": "Fieller",
    "srm": f"chi-square against the designed shares, alarm below {ALARM}",
    "balance": f"randomisation quadratic form of all covariates, alarm below {ALARM}",
    "interaction": "Welch (1951) test of equal effects",
    "shrunk": "Armstrong, Kolesár & Plagborg-Møller (2022) robust empirical Bayes",
    "looks": "Waudby-Smith et al. (2024) asymptotic confidence sequence, or Lan-DeMets spending over fixed looks",
}


def analyze(
    df: pd.DataFrame,
    *,
    arm: str,
    control: Any,
    metrics: Sequence[str | Metric | MetricSpec],
    covariates: Sequence[str] = (),
    segments: Sequence[str] = (),
    weights: Mapping[Any, float] | None = None,
    cluster: str | None = None,
    strata: str | Sequence[str] = (),
    unit: str | None = None,
    alpha: float = 0.05,
    min_cell: int = 11,
    metric_specs: Mapping[str, MetricSpec | Metric] | Sequence[MetricSpec | Metric] | None = None,
    planned_size: int | None = None,
    looks: LooksSpec | None = None,
    missing: Missing = "refuse",
    currency: str | None = None,
    invalid: Sequence[Text] = (),
    early: Sequence[Text] = (),
    names: Names | None = None,
    seed: int = 0,
) -> Analysis:
    """Analyse a randomised experiment from a table with one row a member.

    Parameters
    ----------
    df
        The table: arm, outcomes, and what was known before assignment.
    arm, control
        Column of the arms, and the arm that everything is compared with.
    metrics
        Outcome columns: numbers, or 0 and 1. The first that is not a guardrail is primary: it decides the verdict.
    covariates
        Columns measured before assignment, which narrow the intervals. Categories and missing values are fine.
    segments
        Columns by which effects are shown; declared before looking. A number with many values is cut at its quartiles.
    weights
        Arm → designed share. None: the sample ratio is reported as not checked.
    cluster
        Column of what was assigned together or of members with several rows.
    strata
        Columns within which assignment was balanced; they join the covariates.
    unit
        Column of the member: refuses a member in two arms.
    alpha
        One minus the level of intervals, and the error that families of tests keep to.
    min_cell
        Cells with fewer members or buyers in either arm are suppressed.
    metric_specs
        Kind, goal, unit and guardrail of metrics by name; by default goals to increase.
    planned_size
        Rows planned in all. With it, all looks together keep to ``alpha`` (:func:`uplift.experiments.look`): before the
        planned size an effect counts only if a confidence sequence excludes zero, and intervals are those of the
        sequence. Without it, the numbers hold for one look.
    looks
        Looks fixed by the design, as shares of ``planned_size``; None: any time.
    missing
        What an outcome without a value means: ``refuse``, ``zero``, or ``drop`` (not observed).
    currency
        Unit shown for metrics in money. Values are taken as they are.
    invalid, early
        What the caller knows that makes the result invalid, or too early.
    names
        What people call an arm, a metric or a segment column: name → ``{"zh": …, "en": …}``, for the verdict.
    seed
        Recorded; nothing here is random.

    Returns
    -------
    Analysis
        ``.to_dict()`` is ``result.json``; ``.to_pandas()`` has one row an effect.

    Raises
    ------
    DesignError
        When the table cannot be analysed as asked, listing everything that is wrong.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> arms = np.repeat(["none", "mail"], 2000)
    >>> bought = rng.random(4000) < np.where(arms == "mail", 0.25, 0.15)
    >>> table = pd.DataFrame({"arm": arms, "bought": bought.astype(int)})
    >>> result = analyze(table, arm="arm", control="none", metrics=["bought"], weights={"none": 0.5, "mail": 0.5})
    >>> result.verdict.status, round(result.effects[0].effect, 2)
    ('effective', 0.1)
    """
    if not 0 < alpha < 0.5:
        raise DesignError(f"alpha={alpha} → a number between 0 and 0.5, usually 0.05")
    if planned_size is not None and planned_size < 2:
        raise DesignError(f"planned_size={planned_size} → the number of members planned in all, at least 2")
    if looks is not None and planned_size is None:
        raise DesignError("looks are shares of planned_size, which is not given")
    groups = (strata,) if isinstance(strata, str) else tuple(strata)
    names_given, declarations = named(metrics, currency)
    request = Request(
        arm=arm, control=control, metrics=tuple(names_given), specs=declarations | _specs(metric_specs, currency),
        covariates=tuple(covariates), segments=tuple(segments), weights=weights, cluster=cluster, strata=groups,
        unit=unit, missing=missing, min_cell=min_cell,
    )  # fmt: skip
    prepared = prepare(df, request)
    size = len(prepared.arm)
    now = _looks(prepared, planned_size, looks, alpha)
    sound = look(size, planned_size, alpha=ALARM)  # checks are read at every look, whatever looks the design fixed
    ratio = _sample_ratio(prepared, running=sound.running)
    balanced = balance(
        prepared.covariates, prepared.arm, prepared.arms,
        clusters=prepared.clusters, strata=prepared.strata, min_cell=min_cell,
    )  # fmt: skip
    if balanced.p_value is not None:
        balanced = replace(balanced, passed=sound.p_value(balanced.p_value, balanced.df or 1) >= ALARM)
    lost = _missing(prepared, missing, sound)
    estimates = estimate(prepared)
    found = effects(prepared, estimates, {name: at.level for name, at in now.items()}, min_cell)
    tests = interactions(prepared, estimates, found)
    found, tests, families = _adjusted(prepared, found, tests, now)
    reasons = [*invalid, *_unsound(ratio, balanced, lost)]
    role = roles(prepared.metrics)
    decisive = next((name for name, what in role.items() if what == "primary"), prepared.metrics[0].name)
    reason = now[decisive].waiting()
    waiting = [*early, *([reason] if reason is not None else [])]
    verdict = _verdict(prepared, estimates, found, tests, alpha, reasons, waiting, names)
    return Analysis(
        design={
            **_design(prepared, min_cell, alpha, planned_size, cluster, groups),
            "looks": {name: at.to_dict() for name, at in now.items()},
        },
        checks={
            "srm": ratio.to_dict(),
            "balance": balanced.to_dicts(),
            "balance_test": {
                "p_value": balanced.p_value, "passed": balanced.passed, "statistic": balanced.statistic,
                "df": balanced.df, "threshold": balanced.threshold,
            },
            "missing": lost,
            "duplicates": {"members": prepared.duplicates, "checked": unit is not None},
        },
        metrics=tuple({**metric.to_dict(), "role": role[metric.name]} for metric in prepared.metrics),
        effects=tuple(found),
        interactions=tuple(tests),
        verdict=verdict,
        families=families,
        notes=tuple(note._asdict() for note in prepared.notes),
        provenance={
            "data_hash": _digest(df[request.used]), "rows": size, "version": __version__, "seed": seed,
            "alpha": alpha, "missing": missing, "methods": METHODS,
        },
    )  # fmt: skip


def _specs(
    given: Mapping[str, MetricSpec | Metric] | Sequence[MetricSpec | Metric] | None, currency: str | None
) -> dict[str, Metric]:
    if given is None:
        return {}
    pairs = given.items() if isinstance(given, Mapping) else [(spec.name, spec) for spec in given]
    return {name: spec if isinstance(spec, Metric) else declared(spec, currency) for name, spec in pairs}


def _digest(used: pd.DataFrame) -> str:
    mixed = [name for name in used.columns if not _storable(used[name].dtype)]
    return fingerprint(used.assign(**{name: labels(used[name]) for name in mixed}) if mixed else used)


def _storable(dtype: Any) -> bool:
    """Whether Arrow has a type for the column; others (mixed objects, intervals) are digested as text."""
    if isinstance(dtype, pd.CategoricalDtype):
        return _storable(dtype.categories.dtype)
    return not (pd.api.types.is_object_dtype(dtype) or isinstance(dtype, pd.IntervalDtype))


def _looks(prepared: Prepared, planned: int | None, looks: LooksSpec | None, alpha: float) -> dict[str, Look]:
    """What may be concluded now on each metric, by how many rows have an outcome."""
    at = () if looks is None else looks.at
    spending = "obrien-fleming" if looks is None else looks.spending
    size = len(prepared.arm)
    return {
        metric.name: look(size - prepared.outcomes[metric.name].empty, planned, alpha=alpha, at=at, spending=spending)
        for metric in prepared.metrics
    }


def _sample_ratio(prepared: Prepared, *, running: bool) -> SampleRatio:
    counts, unit = units_by_arm(prepared.arm, len(prepared.arms), prepared.clusters)
    shares = None
    if prepared.shares is not None:
        shares = dict(zip(prepared.arms, prepared.shares.tolist(), strict=True))
    return sample_ratio(dict(zip(prepared.arms, counts.tolist(), strict=True)), shares, unit=unit, running=running)


def _missing(prepared: Prepared, treatment: str, sound: Look) -> list[dict[str, Any]]:
    """Rows without an outcome by metric, and whether arms differ in how many they are."""
    rows = []
    counts = np.bincount(prepared.arm, minlength=len(prepared.arms))
    for metric in prepared.metrics:
        row: dict[str, Any] = {
            "metric": metric.name,
            "n": prepared.outcomes[metric.name].empty,
            "treated_as": treatment,
        }
        row.update(p_value=None, passed=None)
        empty = np.bincount(prepared.arm[~prepared.outcomes[metric.name].known], minlength=len(prepared.arms))
        if empty.sum():
            expected = np.array([counts, counts]) * np.array([[empty.sum()], [counts.sum() - empty.sum()]])
            expected = expected / counts.sum()
            observed = np.array([empty, counts - empty])
            statistic = float(((observed - expected) ** 2 / expected)[expected > 0].sum())
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


def _adjusted(
    prepared: Prepared, found: list[Effect], tests: list[Interaction], now: Mapping[str, Look]
) -> tuple[list[Effect], list[Interaction], dict[str, Any]]:
    """Adjusted p-values, and a statement of every family."""
    role = roles(prepared.metrics)
    done = list(found)
    families: dict[str, Any] = {}
    chosen: dict[str, list[int]] = {"primary": [], "secondary": [], "guardrail": [], "segments": []}
    for i, effect in enumerate(found):
        chosen[role[effect.metric] if effect.segment_column is None else "segments"].append(i)
    words = {
        "primary": "every arm against the control on the primary metric (the first goal), whole population",
        "secondary": "every arm against the control on the other goals, whole population",
        "guardrail": "every arm against the control on the guardrails, whole population",
        "segments": "every arm, metric and segment shown",
        "interactions": "every arm, metric and segment column",
    }
    for family, places in chosen.items():
        method = benjamini_hochberg if family == "segments" else holm
        p = [now[found[i].metric].p_value(_nan(found[i].p_value)) for i in places]
        for i, value in zip(places, method(p), strict=True):
            done[i] = replace(found[i], p_adjusted=None if np.isnan(value) else float(value))
        families[family] = {"method": method.__name__, "size": int(np.isfinite(p).sum()), "of": words[family]}
    shown = Counter((e.arm, e.metric, e.segment_column) for e in found if e.se is not None)
    p = [
        now[test.metric].p_value(_nan(test.p_value), max(shown[test.arm, test.metric, test.segment_column] - 1, 1))
        for test in tests
    ]
    adjusted_tests = [
        replace(test, p_adjusted=None if np.isnan(value) else float(value))
        for test, value in zip(tests, holm(p), strict=True)
    ]
    families["interactions"] = {"method": "holm", "size": int(np.isfinite(p).sum()), "of": words["interactions"]}
    return done, adjusted_tests, families


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _verdict(
    prepared: Prepared,
    estimates: Estimates,
    found: list[Effect],
    tests: list[Interaction],
    alpha: float,
    invalid: list[Text],
    early: list[Text],
    names: Names | None,
) -> Verdict:
    metrics = {metric.name: metric for metric in prepared.metrics}
    role = roles(prepared.metrics)
    whole = [effect for effect in found if effect.segment_column is None]
    findings = []
    for effect in whole:
        certain = effect.p_adjusted is not None and effect.p_adjusted < alpha
        findings.append(
            Finding(
                effect.arm, metrics[effect.metric], role[effect.metric], effect.effect, effect.low, effect.high,
                effect.p_adjusted, effect.relative, certain,
            )
        )  # fmt: skip
    differing = [
        (test.arm, test.metric, test.segment_column)
        for test in tests
        if test.p_adjusted is not None and test.p_adjusted < alpha
    ]
    return decide(
        findings,
        control=prepared.arms[0],
        alpha=alpha,
        invalid=invalid,
        early=early,
        winner=_winner(prepared, estimates, findings, alpha),
        differing=differing,
        names=names,
    )


def _winner(prepared: Prepared, estimates: Estimates, findings: list[Finding], alpha: float) -> Winner | None:
    """The best arm on the primary metric; clear only if it beats every other arm (two-sided, each)."""
    harmed = {f.arm for f in findings if f.worse}
    better = [f for f in findings if f.better and f.role == "primary" and f.arm not in harmed]
    if not better or len(prepared.arms) < 3:
        return None
    metric = better[0].metric
    sign = 1.0 if metric.increase else -1.0
    means = estimates[metric.name, WHOLE].adjusted
    allowed = [i for i, name in enumerate(prepared.arms) if i > 0 and name not in harmed]
    order = sorted(allowed, key=lambda i: -sign * means.mean[i])
    if len(order) < 2:
        return None
    best, rest = order[0], order[1:]
    gaps = [means.difference(best, other, alpha) for other in rest]
    clear = all(gap.p_value < alpha for gap in gaps)
    return Winner(prepared.arms[best], prepared.arms[rest[0]], gaps[0].value, clear)


def _design(
    prepared: Prepared,
    min_cell: int,
    alpha: float,
    planned_size: int | None,
    cluster: str | None,
    strata: tuple[str, ...],
) -> dict[str, Any]:
    counts = np.bincount(prepared.arm, minlength=len(prepared.arms))
    small = bool((counts < min_cell).any())  # a total beside the other arms would give the small one back
    shares = [None] * len(counts) if prepared.shares is None else prepared.shares.tolist()
    return {
        "n": None if small else int(counts.sum()),
        "arms": {
            name: {"n": int(count) if count >= min_cell else None, "share": share}
            for name, count, share in zip(prepared.arms, counts, shares, strict=True)
        },
        "control": prepared.arms[0],
        "unit": "cluster" if units_by_arm(prepared.arm, len(counts), prepared.clusters)[1] == "cluster" else "member",
        "cluster": cluster,
        "strata": list(strata),
        "segments": [{"column": column.name, "values": list(column.values)} for column in prepared.segments],
        "alpha": alpha,
        "min_cell": min_cell,
        "planned_size": planned_size,
    }
