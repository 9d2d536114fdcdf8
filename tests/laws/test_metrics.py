"""Invariances that every registered metric keeps, and a test that none was forgotten."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift import metrics
from uplift.metrics import METRICS

KINDS = {"ranking", "curve", "budget", "calibration", "policy", "classification", "reliability", "comparison"}
ARMS = ("none", "a", "b")
SHARES = {"none": 0.4, "a": 0.35, "b": 0.25}
COSTS = {"a": 1.0, "b": 0.5}


@dataclass(frozen=True)
class Case:
    """Members with everything that any metric needs."""

    effect: np.ndarray  # (n, 2), with ties
    other: np.ndarray
    y: np.ndarray
    label: np.ndarray  # 0/1
    risk: np.ndarray
    rival: np.ndarray
    treatment: np.ndarray
    weight: np.ndarray
    shares: dict[str, float]
    costs: dict[str, float]
    control: str = "none"

    def take(self, rows: np.ndarray) -> Case:
        names = ("effect", "other", "y", "label", "risk", "rival", "treatment", "weight")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def make_case(seed: int = 0, n: int = 240) -> Case:
    rng = np.random.default_rng(seed)
    effect = np.round(rng.normal(size=(n, 2)), 1)
    given = np.append([0, 1, 2], rng.choice(3, size=n - 3, p=list(SHARES.values())))
    y = np.column_stack([np.zeros(n), effect])[np.arange(n), given] + rng.normal(size=n)
    risk = np.round(rng.random(n), 1)
    label = np.append([0.0, 1.0], (rng.random(n - 2) < risk[2:]).astype(float))
    names = np.array(ARMS, dtype=object)[given]
    other = np.round(effect + rng.normal(size=(n, 2)), 1)
    rival, weight = np.round(rng.random(n), 1), rng.integers(1, 4, n).astype(float)
    return Case(effect, other, y, label, risk, rival, names, weight, SHARES, COSTS)


def numbers(name: str, case: Case) -> np.ndarray:
    """What a metric gives for a case, as a vector: the value, or the heights of a curve with its area."""
    entry = METRICS[name]
    common: dict[str, Any] = {"sample_weight": case.weight}
    trial = {**common, "control": case.control, "propensity": case.shares}
    if entry.kind in ("ranking", "curve"):
        result = entry.function(case.effect, case.y, case.treatment, n_bootstrap=0, **trial)
        return np.append(result.value, result.area) if entry.kind == "curve" else np.array([result.value])
    if entry.kind == "budget":
        result = entry.function(case.effect, case.costs, case.y, case.treatment, n_bootstrap=0, **trial)
        return np.append(result.value, result.area)
    if entry.kind == "calibration":
        result = entry.function(case.effect, case.y, case.treatment, **trial)
        observed = [g.observed for g in result.groups if g.observed is not None]
        slope = [] if result.slope is None else [result.slope.value, result.intercept.value]
        return np.array([result.observed.value, *slope, *observed])
    if entry.kind == "policy":
        arms = np.array([case.control, *sorted(case.costs)], dtype=object)
        policy = arms[np.where(case.effect.max(axis=1) > 0, 1 + case.effect.argmax(axis=1), 0)]
        return np.array([entry.function(policy, case.y, case.treatment, method=m, **trial) for m in ("ipw", "snips")])
    if entry.kind == "classification":
        return np.array([entry.function(case.label, case.risk, **common).value])
    if entry.kind == "reliability":
        result = entry.function(case.label, case.risk, **common)
        return np.array([[p.predicted, p.observed] for p in result]).ravel()
    if name == "compare_budgets":
        given = (case.effect, case.other, case.costs, case.y, case.treatment)
        return np.array([entry.function(*given, n_bootstrap=0, budget=b, **trial) for b in (None, 0.2)])
    if name == "compare":
        return np.array([entry.function(case.effect, case.other, case.y, case.treatment, n_bootstrap=0, **trial)])
    return np.array([entry.function(case.label, case.risk, case.rival, **common)])


def scaled(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> Case:
    return replace(
        case,
        effect=change(case.effect),
        other=change(case.other),
        risk=change(case.risk),
        rival=change(case.rival),
    )


def record(proof: Callable[..., bool], name: str, law: str) -> None:
    """A law that has just been held."""
    proof("metrics/invariances", law, method=name, target="the same number", figure="the same", holds=True)


every = pytest.mark.parametrize("name", sorted(METRICS))
RANK_ONLY = sorted(
    name
    for name, entry in METRICS.items()
    if (entry.kind in ("ranking", "curve", "comparison") and name != "compare_budgets")  # gains over costs count there
    or name in ("roc_auc", "average_precision", "lift_at_k")
)
OF_OUTCOMES = sorted(
    name
    for name, entry in METRICS.items()
    if entry.kind in ("ranking", "curve", "budget", "calibration", "policy") or name in ("compare", "compare_budgets")
)


def test_no_metric_was_forgotten():
    aggregates = {"churn_metrics"}  # several registered metrics at once
    public = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
    assert public - aggregates == set(METRICS)
    assert {entry.kind for entry in METRICS.values()} == KINDS
    for name, entry in METRICS.items():
        assert entry.name == name
        assert entry.function is getattr(metrics, name)
        assert entry.name_en
        assert entry.name_zh


@every
def test_rows_may_come_in_any_order(name, proof):
    case = make_case()
    expected = numbers(name, case)
    for seed in range(3):
        rows = np.random.default_rng(seed).permutation(len(case.y))
        np.testing.assert_allclose(numbers(name, case.take(rows)), expected, rtol=1e-9, atol=1e-9)
    record(proof, name, "rows in another order")


@every
def test_a_row_twice_is_a_row_of_weight_two(name, proof):
    case = make_case(1)
    twice = case.take(np.repeat(np.arange(len(case.y)), 2))
    heavy = replace(case, weight=2 * case.weight)
    np.testing.assert_allclose(numbers(name, twice), numbers(name, heavy), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(numbers(name, heavy), numbers(name, case), rtol=1e-9, atol=1e-9)
    rows = np.append(np.arange(len(case.y)), 7)
    one_twice = case.take(rows)
    weight = case.weight.copy()
    weight[7] *= 2
    heavier = replace(case, weight=weight)
    np.testing.assert_allclose(numbers(name, one_twice), numbers(name, heavier), rtol=1e-9, atol=1e-9)
    record(proof, name, "a row twice against a row of weight two")


@every
def test_rows_without_weight_do_not_exist(name):
    case = make_case(2)
    weight = case.weight.copy()
    weight[::7] = 0.0
    kept = np.flatnonzero(weight > 0)
    empty = numbers(name, replace(case, weight=weight))
    np.testing.assert_allclose(empty, numbers(name, replace(case, weight=weight).take(kept)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", RANK_ONLY)
@settings(max_examples=15, deadline=None)
@given(power=st.sampled_from([0.5, 1.0, 3.0]), shift=st.floats(-2, 2), factor=st.floats(0.01, 100))
def test_only_the_order_of_predictions_counts(name, power, shift, factor):
    case = make_case(3)

    def monotone(x: np.ndarray) -> np.ndarray:
        return np.round(factor * np.sign(x) * np.abs(x) ** power + shift, 9)

    np.testing.assert_allclose(numbers(name, scaled(case, monotone)), numbers(name, case), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", OF_OUTCOMES)
@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.01, 1000))
def test_values_are_in_the_units_of_the_outcome(name, factor):
    case = make_case(4)
    value = numbers(name, case)
    np.testing.assert_allclose(numbers(name, replace(case, y=factor * case.y)), factor * value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in OF_OUTCOMES if METRICS[n].kind != "policy"])
def test_effects_do_not_see_a_shift_of_the_outcome(name):
    case = make_case(5)
    shifted = replace(case, y=case.y + 1000)
    np.testing.assert_allclose(numbers(name, shifted), numbers(name, case), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OF_OUTCOMES)
def test_arms_may_have_any_name(name):
    case = make_case(6)
    rename = {"none": "zz", "a": "q", "b": "c"}  # also swaps the order of the arms
    renamed = replace(
        case,
        treatment=np.array([rename[t] for t in case.treatment], dtype=object),
        effect=case.effect[:, ::-1],
        other=case.other[:, ::-1],
        shares={rename[k]: v for k, v in case.shares.items()},
        costs={rename[k]: v for k, v in case.costs.items()},
        control="zz",
    )
    # where both arms tie, either may be taken
    unique = (np.abs(np.diff(case.effect)) > 1e-9)[:, 0] & (np.abs(np.diff(case.other)) > 1e-9)[:, 0]
    np.testing.assert_allclose(
        numbers(name, renamed.take(unique)), numbers(name, case.take(unique)), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_constant_prediction_says_nothing(name, proof):
    case = make_case(7)
    flat = replace(
        case, effect=np.tile([0.3, 0.1], (len(case.y), 1)), other=np.tile([0.2, 0.1], (len(case.y), 1)),
        risk=np.full(len(case.y), 0.5), rival=np.full(len(case.y), 0.2),
    )  # fmt: skip
    value = numbers(name, flat)
    kind, base = METRICS[name].kind, np.average(case.label, weights=case.weight)
    total = numbers("qini_curve", flat)[1]
    if name in ("qini", "autoc", "qini_rate", "compare", "compare_classifiers"):  # compare_budgets: see below
        assert value.tolist() == [0.0]
    elif name == "auuc":
        assert value[0] == pytest.approx(total / 2)
    elif name == "uplift_at_k":
        assert value[0] == pytest.approx(total / 1000)
    elif name == "lift_at_k":
        assert value[0] == pytest.approx(1.0)
    elif name == "roc_auc":
        assert value[0] == pytest.approx(0.5)
    elif name == "average_precision":
        assert value[0] == pytest.approx(base)
    elif name == "calibration_error":
        assert value[0] == pytest.approx(abs(0.5 - base))
    elif name == "brier_score":
        assert value[0] == pytest.approx(0.25)
    elif name == "reliability":
        np.testing.assert_allclose(value, [0.5, base])
    elif name in ("qini_curve", "uplift_curve"):
        np.testing.assert_allclose(value[:-1], [0.0, total])
    elif name == "toc":
        assert value.tolist() == [0.0, 0.0]
    elif kind == "calibration":
        np.testing.assert_allclose(value, [total / 1000] * 2)  # the mean effect, and one group
    else:
        assert (
            kind in ("policy", "budget") or name == "compare_budgets"
        )  # a constant policy has a value, a constant effect a place in a budget
        return
    proof(
        "metrics/ties", "a constant prediction", method=name, target="what says nothing: 0, the mean, or chance",
        figure=", ".join(f"{number:.4g}" for number in value), holds=True,
    )  # fmt: skip


def test_scalars_have_all_their_parts():
    case = make_case(8, n=600)
    for name, entry in METRICS.items():
        if entry.kind in ("ranking", "comparison", "classification", "policy"):
            if entry.kind == "classification":
                value = entry.function(case.label, case.risk)
            elif name == "compare_classifiers":
                value = entry.function(case.label, case.risk, case.rival)
            else:
                args = {"policy": (np.array(["a"] * 600),), "comparison": (case.effect, case.other)}
                first = args.get(entry.kind, (case.effect,))
                first += (case.costs,) if name == "compare_budgets" else ()
                value = entry.function(*first, case.y, case.treatment, case.shares, control="none")
            assert isinstance(value, metrics.Metric), name
            assert value.low <= value.value <= value.high
            assert value.se >= 0
            assert value.n > 0
            assert value.unit
            assert value.p_value is None or 0 <= value.p_value <= 1
