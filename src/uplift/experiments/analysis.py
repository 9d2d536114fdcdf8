"""Analyse a randomised experiment: are the numbers sound, what did every arm do, to whom, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from uplift.config import LooksSpec, MetricSpec
from uplift.experiments._conclude import Options, conclude
from uplift.experiments._families import Correction
from uplift.experiments._metric import Metric, declared, named
from uplift.experiments._outcomes import Missing
from uplift.experiments._request import Request
from uplift.experiments._result import Analysis
from uplift.experiments._rows import Variance, measure_rows
from uplift.experiments._text import Text
from uplift.experiments.verdict import Names


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
    exposed: str | None = None,
    followed: str | None = None,
    assigned_at: str | None = None,
    happened_at: Mapping[str, str] | None = None,
    alpha: float = 0.05,
    min_cell: int = 11,
    metric_specs: Mapping[str, MetricSpec | Metric] | Sequence[MetricSpec | Metric] | None = None,
    planned_size: int | None = None,
    looks: LooksSpec | None = None,
    correction: Correction = "holm",
    variance: Variance = "HC2",
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
        Outcome columns (numbers, or 0 and 1), or :class:`Metric` for ratios, times, retention, winsorising, guardrails.
        The first that is not a guardrail is primary: it decides the verdict.
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
    exposed
        Column that is 1 for members who were reached: who was and was not, and the effect on those reached.
    followed
        Column of the days for which each row was followed: refuses unequal windows.
    assigned_at, happened_at
        Column of the time of assignment, and metric → column of the time at which its outcome happened: refuses
        outcomes before their assignment, or after their window.
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
    correction
        Over the arms on the primary metric: ``holm``, or ``dunnett``, which knows that they share their control.
    variance
        Of adjusted effects: ``HC2``, or ``moments`` as the engine has it over tables of any length (without clusters).
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
    names_given, declarations = named(metrics, currency)
    request = Request(
        arm=arm, control=control, metrics=tuple(names_given), specs=declarations | _specs(metric_specs, currency),
        covariates=tuple(covariates), segments=tuple(segments), weights=weights, cluster=cluster,
        strata=(strata,) if isinstance(strata, str) else tuple(strata), unit=unit, exposed=exposed, followed=followed,
        assigned_at=assigned_at, happened_at=happened_at or {}, missing=missing, min_cell=min_cell,
    )  # fmt: skip
    options = Options(alpha, planned_size, looks, correction, invalid, early, names, seed)
    options.check()
    return conclude(measure_rows(df, request, variance), options)


def _specs(
    given: Mapping[str, MetricSpec | Metric] | Sequence[MetricSpec | Metric] | None, currency: str | None
) -> dict[str, Metric]:
    if given is None:
        return {}
    pairs = given.items() if isinstance(given, Mapping) else [(spec.name, spec) for spec in given]
    return {name: spec if isinstance(spec, Metric) else declared(spec, currency) for name, spec in pairs}
