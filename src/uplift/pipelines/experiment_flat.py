"""Measure an experiment from a flat table: options into metrics, rows or sums by the size of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from uplift.data.readers import read_flat
from uplift.errors import ConfigError, did_you_mean, unknown_name
from uplift.experiments import Correction, Metric, Missing, analyze, analyze_table
from uplift.pipelines._experiments import Progress, parse_amounts, parse_looks, parse_shares, silent
from uplift.pipelines.experiment import Analyzed, write_result

Engine = Literal["auto", "rows", "sums"]
MANY_ROWS = 2_000_000
"""Parquet tables with more rows are summed in the engine rather than read into memory, unless told otherwise."""


def analyze_flat(
    data: str | Path,
    *,
    arm: str,
    control: str,
    metrics: Sequence[str],
    out: str | Path,
    shares: Sequence[str] = (),
    covariates: Sequence[str] = (),
    segments: Sequence[str] = (),
    strata: Sequence[str] = (),
    cluster: str | None = None,
    unit: str | None = None,
    ratios: Sequence[str] = (),
    times: Sequence[str] = (),
    guardrails: Sequence[str] = (),
    decreases: Sequence[str] = (),
    margins: Sequence[str] = (),
    money: Sequence[str] = (),
    winsorize: Sequence[str] = (),
    windows: Sequence[str] = (),
    exposed: str | None = None,
    followed: str | None = None,
    assigned_at: str | None = None,
    happened: Sequence[str] = (),
    alpha: float = 0.05,
    min_cell: int = 11,
    planned_size: int | None = None,
    looks: Sequence[str] = (),
    spending: str = "obrien-fleming",
    costs: Sequence[str] = (),
    correction: Correction = "holm",
    engine: Engine = "auto",
    missing: Missing = "refuse",
    seed: int = 0,
    progress: Progress = silent,
) -> Analyzed:
    """Measure an experiment from a flat table (CSV or Parquet), one row a member.

    Parameters
    ----------
    data
        The table; Parquet may also be a folder or a pattern of parts.
    metrics, guardrails
        Outcome columns to improve, and outcome columns that must only not be harmed.
    ratios
        ``NAME=NUMERATOR/DENOMINATOR``, columns of which sums are compared, such as ``basket=spend/orders``.
    times
        ``NAME=DAYS:EVENT@HORIZON``: column of the days until something happened or the member was last seen, column
        that is 1 where it happened (may be left out), and the days up to which time is averaged.
    shares
        Designed shares as ``ARM=SHARE``; empty: the sample ratio is not checked.
    decreases
        Metrics of which less is better.
    margins
        ``METRIC=HARM``: the largest harm to a guardrail that can be borne, in its unit.
    money
        ``METRIC=CURRENCY``: the metric is an amount in units of the currency.
    winsorize
        ``METRIC=QUANTILE``, over all arms together.
    windows
        ``METRIC=DAYS`` after assignment.
    exposed, followed, assigned_at
        Columns: who was reached, days followed, time of assignment; see :func:`uplift.experiments.analyze`.
    happened
        ``METRIC=COLUMN`` of the time at which it happened.
    looks, spending
        Looks fixed by the design as shares of ``planned_size``, and how the error is spread over them.
    costs
        What a member in an arm costs, as ``ARM=AMOUNT``, for the recommended actions.
    engine
        ``rows`` reads the table into memory; ``sums`` takes one pass in the engine; ``auto`` sums Parquet of more than
        2,000,000 rows, or in parts, unless clusters or times need the rows.
    out
        Folder for ``result.json`` and the reports.

    Raises
    ------
    InputError
        If the table cannot be read or cannot be analysed as asked.
    """
    declared = _declared(metrics, ratios, times, guardrails)
    declared = _qualified(
        declared, decreases=decreases, margins=margins, money=money, winsorize=winsorize, windows=windows
    )
    if costs and not any(metric.unit == "money" and metric.kind in ("auto", "mean") for metric in declared.values()):
        raise ConfigError(
            "--cost is taken off gains in money: name the metric that is an amount, --money METRIC=CURRENCY"
        )
    happened_at = _pairs("--happened", happened, declared)
    given: dict[str, Any] = {
        "arm": arm, "control": control, "metrics": list(declared.values()), "covariates": covariates,
        "segments": segments, "weights": parse_shares(shares), "cluster": cluster, "strata": strata, "unit": unit,
        "exposed": exposed, "followed": followed, "assigned_at": assigned_at, "happened_at": happened_at,
        "alpha": alpha, "min_cell": min_cell, "planned_size": planned_size, "looks": parse_looks(looks, spending),
        "costs": parse_amounts(costs), "correction": correction, "missing": missing, "seed": seed,
    }  # fmt: skip
    by_row = cluster is not None or any(metric.kind == "time" for metric in declared.values())
    if engine == "sums" or (engine == "auto" and not by_row and _is_large(data)):
        progress(f"{data}: one pass in the engine, {len(declared)} metrics")
        analysis = analyze_table(data, **given)
    else:
        table = read_flat(data)
        progress(f"{len(table):,} rows, {len(declared)} metrics")
        analysis = analyze(table, **given)
    result = analysis.to_dict()
    for name in parse_amounts(costs):
        if name not in result["design"]["arms"]:
            raise unknown_name("arm of --cost", name, list(result["design"]["arms"]), ConfigError)
    result["design"]["name"] = Path(data).stem
    return write_result(result, Path(out), progress)


def _is_large(data: str | Path) -> bool:
    """Whether a table is of Parquet parts, or of Parquet with many rows."""
    path = Path(data)
    if path.is_dir() or "*" in path.name:
        return True
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    try:
        return int(pq.read_metadata(path).num_rows) > MANY_ROWS
    except (pa.ArrowInvalid, OSError):
        return False


def _declared(
    metrics: Sequence[str], ratios: Sequence[str], times: Sequence[str], guardrails: Sequence[str]
) -> dict[str, Metric]:
    """Metrics by name: outcomes, ratios, times, then guardrails that are none of these."""
    found = {name: Metric(name) for name in metrics}
    problems = []
    for text in ratios:
        name, _, parts = text.partition("=")
        top, slash, bottom = parts.partition("/")
        if not (name and top and slash and bottom):
            problems.append(f"--ratio {text!r}: expected NAME=NUMERATOR/DENOMINATOR, such as basket=spend/orders")
        else:
            found[name] = Metric(name, "ratio", column=top, denominator=bottom)
    for text in times:
        name, _, rest = text.partition("=")
        columns, _, horizon = rest.rpartition("@")
        days, _, event = columns.partition(":")
        if not (name and days and horizon.isdigit() and int(horizon) > 0):
            problems.append(f"--time {text!r}: expected NAME=DAYS:EVENT@HORIZON, such as first=days:ordered@30")
        else:
            found[name] = Metric(
                name, "time", "days", column=days, event=event or None, window_days=int(horizon), increase=False
            )
    if problems:
        raise ConfigError("; ".join(problems))
    for name in guardrails:
        found[name] = replace(found.get(name, Metric(name)), guardrail=True)
    return found


def _qualified(
    declared: dict[str, Metric],
    *,
    decreases: Sequence[str],
    margins: Sequence[str],
    money: Sequence[str],
    winsorize: Sequence[str],
    windows: Sequence[str],
) -> dict[str, Metric]:
    """What is said of single metrics."""
    for name in decreases:
        if name not in declared:
            raise unknown_name("metric", name, list(declared), ConfigError)
        declared[name] = replace(declared[name], increase=False)
    for name, currency in _pairs("--money", money, declared).items():
        if declared[name].kind == "time":
            raise ConfigError(f"--money {name}={currency}: a time is counted in days")
        declared[name] = replace(declared[name], unit="money", currency=currency)
    for name, number in _numbers("--margin", margins, declared).items():
        declared[name] = replace(declared[name], margin=number)
    for name, number in _numbers("--winsorize", winsorize, declared).items():
        declared[name] = replace(declared[name], winsorize=number)
    for name, number in _numbers("--window", windows, declared).items():
        if number != int(number) or number < 1:
            raise ConfigError(f"--window {name}={number:g}: expected whole days, 1 or more")
        declared[name] = replace(declared[name], window_days=int(number))
    return declared


def _pairs(option: str, texts: Sequence[str], metrics: dict[str, Metric]) -> dict[str, str]:
    """``METRIC=VALUE`` texts as a mapping."""
    found: dict[str, str] = {}
    problems = []
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not (name and equals and value):
            problems.append(f"{option} {text!r}: expected METRIC=VALUE")
        elif name not in metrics:
            problems.append(f"{option} {text!r}: no such metric, {did_you_mean(name, metrics)}")
        elif name in found:
            problems.append(f"{option} {text!r}: the metric is given twice")
        found[name] = value
    if problems:
        raise ConfigError("; ".join(problems))
    return found


def _numbers(option: str, texts: Sequence[str], metrics: dict[str, Metric]) -> dict[str, float]:
    found = {}
    for name, value in _pairs(option, texts, metrics).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f"{option} {name}={value}: not a number") from None
    return found
