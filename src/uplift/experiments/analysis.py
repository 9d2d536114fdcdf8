"""Analyse a randomised experiment: are the numbers sound, what did every arm do, to whom, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from uplift.config import LooksSpec, MetricSpec
from uplift.errors import unknown_name
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
    costs: Mapping[str, float] | None = None,
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
    costs
        Arm → what a member in it is expected to cost, in units of the metrics in money: taken off the gains of the
        recommended actions.
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
    request, options = _asked(
        arm, control, metrics, metric_specs=metric_specs, currency=currency, covariates=covariates, segments=segments,
        weights=weights, cluster=cluster, strata=strata, unit=unit, exposed=exposed, followed=followed,
        assigned_at=assigned_at, happened_at=happened_at, missing=missing, min_cell=min_cell, alpha=alpha,
        planned_size=planned_size, looks=looks, correction=correction, invalid=invalid, early=early, names=names,
        seed=seed, costs=costs,
    )  # fmt: skip
    return conclude(measure_rows(df, request, variance), options)


def analyze_table(
    source: str | Path | Sequence[str | Path],
    *,
    arm: str,
    control: Any,
    metrics: Sequence[str | Metric | MetricSpec],
    variance: Variance = "HC2",
    threads: int | None = None,
    memory_limit: str | None = None,
    **options: Any,
) -> Analysis:
    """Analyse a table of any length without reading it into memory: one pass of the engine over its files.

    The numbers are those of :func:`analyze` up to rounding. Sums are made of whole numbers, so that the result does not
    depend on the order of rows or on threads. Clusters and times until an event need the rows themselves.

    Parameters
    ----------
    source
        A Parquet or CSV file, a folder or a pattern of Parquet parts, or a list of files.
    arm, control, metrics
        As in :func:`analyze`, like all ``options`` but ``cluster``.
    variance
        Of effects adjusted for covariates: ``HC2``, for which the rows are looked at once more, and once for every
        segment column; or ``moments``, which one pass gives. Without covariates they are the same.
    threads, memory_limit
        For the engine, such as ``2`` and ``"3GB"``; None: all cores, and most of the memory. It spills beyond.

    Raises
    ------
    DesignError
        When the table cannot be analysed as asked, listing everything that is wrong.
    InputError
        When it cannot be read.

    Examples
    --------
    >>> import numpy as np, pandas as pd, tempfile, pathlib
    >>> table = pd.DataFrame({"arm": ["none", "mail"] * 500, "spend": np.arange(1000) % 7})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "t.parquet"
    ...     table.to_parquet(file)
    ...     result = analyze_table(file, arm="arm", control="none", metrics=["spend"])
    >>> result.verdict.status
    'no_evidence'
    """
    from uplift.experiments._table import measure_table

    request, chosen = _asked(arm, control, metrics, **options)
    return conclude(
        measure_table(source, request, variance=variance, threads=threads, memory_limit=memory_limit), chosen
    )


def _asked(
    arm: str,
    control: Any,
    metrics: Sequence[str | Metric | MetricSpec],
    *,
    metric_specs: Mapping[str, MetricSpec | Metric] | Sequence[MetricSpec | Metric] | None = None,
    currency: str | None = None,
    **given: Any,
) -> tuple[Request, Options]:
    """What was asked, split into what is read and what is concluded."""
    names, specs = named(metrics, currency)
    read = {field.name for field in fields(Request)} - {"arm", "control", "metrics", "specs"}
    known = read | {field.name for field in fields(Options)}
    for name in given:
        if name not in known:
            raise unknown_name("option", name, sorted(known))
    for name in ("covariates", "segments", "strata"):
        values = given.get(name, ())
        given[name] = (values,) if isinstance(values, str) else tuple(values)
    given["happened_at"] = given.get("happened_at") or {}
    request = Request(
        arm=arm, control=control, metrics=tuple(names), specs=specs | _specs(metric_specs, currency),
        **{name: value for name, value in given.items() if name in read},
    )  # fmt: skip
    options = Options(**{name: value for name, value in given.items() if name not in read})
    options.check()
    return request, options


def _specs(
    given: Mapping[str, MetricSpec | Metric] | Sequence[MetricSpec | Metric] | None, currency: str | None
) -> dict[str, Metric]:
    if given is None:
        return {}
    pairs = given.items() if isinstance(given, Mapping) else [(spec.name, spec) for spec in given]
    return {name: spec if isinstance(spec, Metric) else declared(spec, currency) for name, spec in pairs}
