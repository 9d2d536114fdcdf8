"""Train the churn model: monthly spines, a split in time, a rule to beat, a gate to pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from uplift import __version__
from uplift.config import ChurnSpec, Workspace
from uplift.data import Engine, fingerprint
from uplift.errors import InputError
from uplift.evaluation import churn_gate
from uplift.features import build, catalogue_for, feature_columns, observed_since, outcomes, spine_of_members, to_frame
from uplift.learners import ChurnModel, RecencyRule
from uplift.learners.bundle import CHURN, output_columns, save_bundle
from uplift.metrics import ChurnMetrics, churn_metrics, reliability
from uplift.pipelines._training import (
    Progress,
    Trained,
    as_csv,
    choose_features,
    find_spec,
    informative,
    last_day,
    silent,
)
from uplift.rules import compile_rule
from uplift.tracking import Registry, Run, fold_text, open_registry, run_key, signature

RECENCY = "days_since_last_order"


@dataclass(frozen=True)
class ChurnData:
    """Members still active at several as-of times, and whether they bought nothing in the horizon after.

    Attributes
    ----------
    X
        (n_rows, n_features).
    y
        (n_rows,), 1 where the member churned.
    member_id, as_of
        (n_rows,), of the spine.
    evaluation
        (n_rows,) True for the latest as-of time, which no model is trained on.
    """

    X: pd.DataFrame
    y: np.ndarray
    member_id: np.ndarray
    as_of: pd.Series
    evaluation: np.ndarray


def train_churn(
    workspace: Workspace,
    spec_path: str | Path | None = None,
    *,
    registry: Registry | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train, evaluate on a later period, log and register as challenger.

    Raises
    ------
    InputError
        If the data are too short for the specification's horizon, or hold nobody or only one outcome.
    """
    spec = find_spec(workspace, CHURN, ChurnSpec, spec_path)
    registry = registry or open_registry(workspace)
    with Engine.open(workspace) as engine:
        data = churn_data(engine, spec, progress)
    digest = fingerprint(data.X.assign(_y=data.y, _member=data.member_id, _as_of=data.as_of))
    key = run_key(CHURN, spec.model_dump(mode="json"), digest, __version__)
    known = registry.find(key)
    if known is not None:
        progress("the same data, specification and code were trained before")
        registered = registry.deliver(known, repeated=True)
        return Trained(registered, known.run.metrics, known.run.gate, _lines(known.run))

    train, test = ~data.evaluation, data.evaluation
    X_train, X_test = data.X[train], data.X[test]
    columns = informative(X_train)
    progress(f"training on {len(X_train):,} rows × {len(columns)} features, {data.y[train].mean():.1%} churned")
    model = ChurnModel(
        **spec.booster.model_dump(), folds=spec.folds, calibration=spec.calibration, random_state=spec.seed
    ).fit(X_train[columns], data.y[train], groups=data.member_id[train])
    rule = RecencyRule().fit(X_train, data.y[train])
    risk, rule_risk = (m.predict_proba(x)[:, 1] for m, x in ((model, X_test[columns]), (rule, X_test)))
    scored, ruled = churn_metrics(data.y[test], risk), churn_metrics(data.y[test], rule_risk)
    gate = churn_gate(
        scored, ruled, auc_over_baseline=spec.gate_auc_over_recency, calibration_error=spec.gate_calibration_error
    )
    points = reliability(data.y[test], risk).points
    run = Run(
        name=CHURN,
        key=key,
        params=_params(spec, data, columns),
        metrics=_metrics(scored, ruled),
        curves={"reliability": [point.observed for point in points]},
        artifacts={
            "importance.csv": as_csv(model.feature_importance().to_dict("records")),
            "folds.txt": fold_text(model.fold_, train),
            "reliability.csv": as_csv([point._asdict() for point in points]),
        },
        tags={"data_fingerprint": digest, "version": __version__},
        inputs=signature(X_train[columns]),
        outputs=[(name, "double") for name in output_columns(CHURN)],
        spec=spec.model_dump(mode="json"),
        gate=gate.to_dict(),
    )
    meta = {
        "kind": CHURN,
        "features": columns,
        "horizon_days": spec.horizon_days,
        "population": spec.population,
        "base_rate": float(data.y[train].mean()),
        "data_fingerprint": digest,
    }
    registered = registry.record(run, lambda folder: save_bundle(folder, {CHURN: model}, meta))
    return Trained(registered, run.metrics, run.gate, _lines(run))


def churn_data(engine: Engine, spec: ChurnSpec, progress: Progress = silent) -> ChurnData:
    """Features and labels at the evaluation time and, at least a horizon earlier, at the training times."""
    times = as_of_times(engine, spec)
    spine = pa.concat_tables([spine_of_members(engine, t) for t in times])
    progress(f"features of {spine.num_rows:,} member × date rows at {len(times)} dates")
    table = build(engine, spine)
    names = choose_features(
        [name for name in table.column_names if name not in spine.column_names],
        spec.features,
        spec.exclude,
        "churn specification",
    )
    active = compile_rule(spec.population, feature_columns(catalogue_for(engine))).evaluate(table)
    table = table.filter(pa.array(np.asarray(active.fillna(False), dtype=bool)))
    if table.num_rows == 0:
        raise InputError(f"the population rule `{spec.population}` selects nobody at any of the {len(times)} dates")
    label = outcomes(engine, table.select(["member_id", "as_of"]), {"y": ("churned", spec.horizon_days)})
    y = label.column("y").to_numpy().astype(int)
    as_of = table.column("as_of").to_pandas()
    evaluation = (as_of == pd.Timestamp(times[0])).to_numpy()
    for where, rows in (("evaluation", evaluation), ("training", ~evaluation)):
        if len(np.unique(y[rows])) < 2:
            what = "nobody is left in" if not rows.any() else "all members share one outcome in"
            raise InputError(f"{what} the {where} period; widen the population `{spec.population}` or bring more data")
    wanted = dict.fromkeys([*names, RECENCY])
    X = to_frame(table, list(wanted))
    return ChurnData(X, y, table.column("member_id").to_numpy(zero_copy_only=False), as_of, evaluation)


def as_of_times(engine: Engine, spec: ChurnSpec) -> list[datetime]:
    """The evaluation time, then the training times, latest first; each has a full horizon of data after it.

    Training times lie at least one horizon before the evaluation time, so that no training label looks past it, and
    at least one horizon after the first order, so that there is a history to learn from.
    """
    horizon, step = timedelta(days=spec.horizon_days), timedelta(days=spec.step_days)
    evaluation = last_day(engine) - horizon
    first = observed_since(engine) or evaluation  # where there is a last order, there is a first one
    training = [evaluation - horizon - step * i for i in range(spec.cutoffs)]
    training = [t for t in training if t >= first + min(horizon, timedelta(days=30))]
    if not training:
        needed = 2 * spec.horizon_days + 30
        have = (evaluation + horizon - first).days
        raise InputError(
            f"churn over {spec.horizon_days} days needs at least {needed} days of orders, the data span {have}: "
            "shorten horizon_days or bring more history"
        )
    return [evaluation, *training]


def _params(spec: ChurnSpec, data: ChurnData, columns: list[str]) -> dict[str, object]:
    training = data.as_of[~data.evaluation]
    return {
        **{f"booster.{name}": value for name, value in spec.booster.model_dump().items()},
        "horizon_days": spec.horizon_days,
        "population": spec.population,
        "calibration": spec.calibration,
        "folds": spec.folds,
        "seed": spec.seed,
        "features": len(columns),
        "rows_train": int((~data.evaluation).sum()),
        "rows_evaluation": int(data.evaluation.sum()),
        "train_from": training.min().isoformat(),
        "train_to": training.max().isoformat(),
        "evaluated_at": data.as_of[data.evaluation].iloc[0].isoformat(),
    }


def _metrics(scored: ChurnMetrics, ruled: ChurnMetrics) -> dict[str, float]:
    values: dict[str, float] = {}
    for prefix, metrics in (("", scored), ("recency_rule.", ruled)):
        for name in ("auc", "average_precision", "lift", "ece", "brier"):
            metric = getattr(metrics, name)
            if metric is not None:
                values[prefix + name] = metric.value
                if metric.se is not None:
                    values[f"{prefix}{name}_se"] = metric.se
    values["base_rate"] = scored.base_rate.value
    return values


def _lines(run: Run) -> tuple[str, ...]:
    m = run.metrics
    return (
        f"evaluated at {run.params['evaluated_at'][:10]} on {run.params['rows_evaluation']:,} members, "
        f"trained on {run.params['rows_train']:,} rows up to {run.params['train_to'][:10]}",
        f"AUC {m['auc']:.3f} against the recency rule's {m['recency_rule.auc']:.3f}; "
        f"average precision {m['average_precision']:.3f} against {m['recency_rule.average_precision']:.3f}; "
        f"lift in the top decile {m['lift']:.2f} against {m['recency_rule.lift']:.2f}",
        f"expected calibration error {m['ece']:.4f}",
    )
