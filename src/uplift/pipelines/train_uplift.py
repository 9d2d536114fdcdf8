"""Train the uplift model: learners chosen out of fold, valued on members that nothing was fitted on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uplift import __version__
from uplift.config import UpliftSpec, Workspace
from uplift.data import Engine, fingerprint
from uplift.errors import InputError
from uplift.evaluation import GainUnit, GateResult, PolicyGain, UpliftSearchCV, gain_curve, uplift_gate
from uplift.features import OUTCOMES
from uplift.learners import BaseUpliftLearner, EnsembleLearner, make_learner
from uplift.learners.bundle import load_bundle, output_columns, save_bundle
from uplift.pipelines._training import Progress, Trained, as_csv, find_spec, informative, silent
from uplift.pipelines._uplift_data import CONTROL, UpliftData, uplift_data
from uplift.pipelines._valuing import Valuing, effects_of, gain_unit
from uplift.tracking import (
    PinnedModel,
    Registry,
    Run,
    open_registry,
    policy_metrics,
    run_key,
    search_artifacts,
    signature,
)

Floats = npt.NDArray[np.float64]

UPLIFT = "uplift"
IDLE = "none"
BASELINES = ("none", "constant", "ensemble", "logistic_T", "linear_DR", "response")
LEAST_OF_ALL = 0.1
"""Members of an ensemble that hold a smaller share of its weights are not fitted for other outcomes."""


def train_uplift(
    workspace: Workspace,
    spec_path: str | Path | None = None,
    *,
    registry: Registry | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train, choose, evaluate, log and register as challenger.

    Raises
    ------
    InputError
        If the workspace has no experiment with complete windows.
    """
    spec = find_spec(workspace, UPLIFT, UpliftSpec, spec_path)
    registry = registry or open_registry(workspace)
    with Engine.open(workspace) as engine:
        data = uplift_data(engine, workspace, spec, progress)
    digest = data_fingerprint(data)
    key = run_key(UPLIFT, spec.model_dump(mode="json"), digest, __version__)
    known = registry.find(key)
    if known is not None:
        progress("the same data, specification and code were trained before")
        registered = registry.deliver(known, repeated=True)
        return Trained(registered, known.run.metrics, known.run.gate, _lines(known.run, workspace.config.currency))

    columns = informative(data.X[~data.held_out])
    search = search_learners(data, spec, columns, progress)
    models = fit_outcomes(data, spec, columns, search, progress)
    progress("valuing the policy on members that nothing was fitted on")
    valuing = Valuing(data, columns, seed=spec.seed, n_jobs=os.cpu_count() or 1)
    single = valuing.best_single(spec.value_outcome)
    effects = models[spec.value_outcome].predict(data.X.loc[data.held_out, columns])
    gain = valuing.gain(spec.value_outcome, effects, single=single)
    champion = registry.champion(UPLIFT)
    unit = gain_unit(spec.model_dump(mode="json"), workspace.config.currency)
    gate = _gate(gain, champion, valuing, data, spec, unit)
    learner = search.best_name_
    if champion is None and not gate.passed:
        progress(f"{learner} is worth less than offering nothing; until a model passes, nothing is offered by policy")
        refused, learner = gate, IDLE
        models = {outcome.name: fit_idle(data, outcome.name, columns) for outcome in spec.outcomes}
        effects = models[spec.value_outcome].predict(data.X.loc[data.held_out, columns])
        gain = valuing.gain(spec.value_outcome, effects, single=single)
        gate = _instead(refused, uplift_gate(gain, z=spec.gate_z, unit=unit), search.best_name_)
    segments = valuing.segments(workspace.config.min_cell)
    chosen_in = gain_unit(spec.model_dump(mode="json"), workspace.config.currency, "choose_on")
    run = Run(
        name=UPLIFT,
        key=key,
        params={**_params(spec, data, columns), "learner": learner},
        metrics={**policy_metrics(gain), "outcome.mean": float(np.mean(next(iter(data.outcomes.values()))))},
        curves={"gain": gain_curve(gain, effects)},
        artifacts={
            **search_artifacts(search, ~data.held_out, chosen_in),
            "segment_effects.csv": as_csv(segments),
            "importance.csv": _importance(models),
        },
        tags={"data_fingerprint": digest, "version": __version__, "verdict": search.verdict_in(chosen_in).en},
        inputs=signature(data.X[columns]),
        outputs=[(name, "double") for name in output_columns(UPLIFT, tuple(models), data.arms)],
        spec=spec.model_dump(mode="json"),
        gate=gate.to_dict(),
    )
    meta = {
        "kind": UPLIFT,
        "features": columns,
        "outcomes": list(models),
        "value_outcome": spec.value_outcome,
        "windows": {outcome.name: outcome.window_days for outcome in spec.outcomes},
        "sources": {outcome.name: outcome.outcome for outcome in spec.outcomes},
        "arms": list(data.arms),
        "experiments": list(data.experiments),
        "effect_se": segment_lookup(segments),
        "data_fingerprint": digest,
    }
    registered = registry.record(run, lambda folder: save_bundle(folder, models, meta))
    return Trained(registered, run.metrics, run.gate, _lines(run, workspace.config.currency))


def data_fingerprint(data: UpliftData) -> str:
    """Over every row: features, outcomes, arms and propensities."""
    frame = data.X.assign(**{f"_y_{name}": values for name, values in data.outcomes.items()})
    frame = frame.assign(_arm=data.treatment, _member=data.member_id, _segment=data.segment)
    return fingerprint(frame.assign(**{f"_p_{i}": data.propensity[:, i] for i in range(data.propensity.shape[1])}))


def search_learners(data: UpliftData, spec: UpliftSpec, columns: list[str], progress: Progress) -> UpliftSearchCV:
    """Choose among the specification's learners and the baselines by out-of-fold policy value."""
    candidates = {name: _learner(name, spec) for name in (*BASELINES, *spec.learners)}
    rows = int((~data.held_out).sum())
    progress(f"choosing among {len(candidates)} learners on {rows:,} rows × {len(columns)} features")
    return _search(candidates, spec.choose_on, data, spec, columns)


def fit_outcomes(
    data: UpliftData, spec: UpliftSpec, columns: list[str], search: UpliftSearchCV, progress: Progress
) -> dict[str, Any]:
    """The chosen learner for every outcome, shrunk for each by itself, fitted on the members that are not held out."""
    models: dict[str, Any] = {}
    for outcome in spec.outcomes:
        if outcome.name == spec.choose_on:
            models[outcome.name] = search.best_estimator_
            continue
        progress(f"fitting {search.best_name_} for {outcome.name}")
        chosen = _again(search, spec)
        models[outcome.name] = _search({search.best_name_: chosen}, outcome.name, data, spec, columns).best_estimator_
    return models


def _again(search: UpliftSearchCV, spec: UpliftSpec) -> BaseUpliftLearner:
    """The chosen learner for another outcome; of an ensemble the members that matter."""
    learner = _learner(search.best_name_, spec)
    if not isinstance(learner, EnsembleLearner):
        return learner
    weights = {name: sum(kept.values()) for name, kept in search.best_estimator_.weights_.items()}
    least = LEAST_OF_ALL * sum(weights.values())
    kept = [name for name, weight in weights.items() if weight and weight >= least]
    return learner.set_params(members=tuple(kept)) if kept else _learner("constant", spec)


def _search(
    candidates: Mapping[str, Any], outcome: str, data: UpliftData, spec: UpliftSpec, columns: list[str]
) -> UpliftSearchCV:
    """Not nested: the gate's rows are held out from all of it."""
    train = ~data.held_out
    y = data.outcomes[outcome][train]
    if OUTCOMES[next(o for o in spec.outcomes if o.name == outcome).outcome].unit == "money":
        y = winsorised(y, spec.winsorize)
    return UpliftSearchCV(
        candidates,
        folds=spec.folds,
        n_repeats=spec.n_repeats,
        random_state=spec.seed,
        nested=False,
        n_jobs=os.cpu_count() or 1,
    ).fit(
        data.X.loc[train, columns],
        y,
        data.treatment[train],
        propensity=data.propensity[train],
        control=CONTROL,
        groups=data.member_id[train],
    )


def winsorised(amounts: Floats, share: float) -> Floats:
    """Amounts of which the given share at either end is moved to the next one, ``(n,)``.

    Where few rows have any, it is of these that at most a tenth is moved, so that not all of them become nothing.
    """
    share = min(share, 0.1 * float(np.mean(amounts != 0)))
    return np.clip(amounts, *np.quantile(amounts, [share, 1 - share]))


def _learner(name: str, spec: UpliftSpec) -> BaseUpliftLearner:
    return make_learner(name, control=CONTROL, random_state=spec.seed, **spec.booster.model_dump())


def segment_lookup(segments: list[dict[str, Any]]) -> dict[str, Any]:
    """Outcome → arm → segment → effect and standard error; suppressed cells are left out, the whole is ``"*"``."""
    found: dict[str, Any] = {}
    for row in segments:
        if row["effect"] is None or row["se"] is None:
            continue
        cell = {"effect": row["effect"], "se": row["se"]}
        found.setdefault(row["outcome"], {}).setdefault(row["arm"], {})[row["group"] or "*"] = cell
    return found


def _gate(
    gain: PolicyGain,
    champion: PinnedModel | None,
    valuing: Valuing,
    data: UpliftData,
    spec: UpliftSpec,
    unit: GainUnit,
) -> GateResult:
    if champion is None:
        return uplift_gate(gain, z=spec.gate_z, unit=unit)
    try:
        effects = effects_of(load_bundle(champion.folder), spec.value_outcome, data)
    except (InputError, KeyError) as error:  # it was trained on other features or outcomes
        result = uplift_gate(gain, z=spec.gate_z, unit=unit)
        why = f"version {champion.version} could not be compared with: {error}"
        return replace(
            result, reasons_en=(*result.reasons_en, why), reasons_zh=(*result.reasons_zh, f"无法与现用模型比较：{why}")
        )
    return uplift_gate(gain, valuing.gain(spec.value_outcome, effects), z=spec.gate_z, unit=unit)


def fit_idle(data: UpliftData, outcome: str, columns: list[str]) -> BaseUpliftLearner:
    """No effect of anything: what serves while no model is worth more than offering nothing.

    Exploration and the control group go on under it, so the next training has more to learn from.
    """
    train = ~data.held_out
    return make_learner(IDLE, control=CONTROL).fit(
        data.X.loc[train, columns],
        data.outcomes[outcome][train],
        data.treatment[train],
        propensity=data.propensity[train],
        groups=data.member_id[train],
    )


def _instead(refused: GateResult, passed: GateResult, learner: str) -> GateResult:
    """The gate of what serves instead, with the reasons for which the chosen learner does not."""
    return GateResult(
        passed.passed,
        (
            *passed.reasons_en,
            *(f"{learner} was refused: {reason}; no effect serves instead" for reason in refused.reasons_en),
        ),
        (*passed.reasons_zh, *(f"{learner} 未通过：{reason}；暂以“无效果”代替" for reason in refused.reasons_zh)),
    )


def _params(spec: UpliftSpec, data: UpliftData, columns: list[str]) -> dict[str, Any]:
    return {
        **{f"booster.{name}": value for name, value in spec.booster.model_dump().items()},
        "candidates": ", ".join((*BASELINES, *spec.learners)),
        "chosen_on": spec.choose_on,
        "value_outcome": spec.value_outcome,
        "arms": len(data.arms),
        "experiments": ", ".join(data.experiments),
        "features": len(columns),
        "rows_train": int((~data.held_out).sum()),
        "rows_held_out": int(data.held_out.sum()),
        "folds": spec.folds,
        "seed": spec.seed,
    }


def _importance(models: Mapping[str, Any]) -> str:
    frames = []
    for outcome, model in models.items():
        if hasattr(model, "feature_importance"):
            frames.append(model.feature_importance().assign(outcome=outcome))
    return pd.concat(frames).to_csv(index=False) if frames else ""


def _lines(run: Run, currency: str) -> tuple[str, ...]:
    m, p = run.metrics, run.params
    unit = gain_unit(run.spec, currency)

    def shown(name: str) -> str:
        return unit.text(m[name], m.get(f"{name}_se")).en

    return (
        f"learned from {p['rows_train']:,} assignments, {p['arms']} offers; "
        f"valued on {p['rows_held_out']:,} assignments of members that nothing was fitted on",
        f"chosen: {p['learner']} among {p['candidates']}; {run.tags['verdict']}",
        f"{p['value_outcome']} per member against nobody: {shown('policy.gain')}; "
        f"best single offer for all: {shown('policy.best_single_gain')}; difference {shown('policy.over_single')}",
    )
