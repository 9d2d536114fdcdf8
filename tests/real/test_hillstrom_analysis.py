"""The e-mail test of 64,000 customers, from the original file, from a workspace, and against statsmodels."""

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from click.testing import CliRunner

from uplift.cli import main
from uplift.experiments import analyze

SHARES = {"No E-Mail": 1 / 3, "Mens E-Mail": 1 / 3, "Womens E-Mail": 1 / 3}
# visit in points, spend in dollars, without covariates
KNOWN = {
    ("Mens E-Mail", "visit"): 0.0766, ("Womens E-Mail", "visit"): 0.0452,
    ("Mens E-Mail", "spend"): 0.770, ("Womens E-Mail", "spend"): 0.424,
}  # fmt: skip


@pytest.fixture(scope="module")
def csv(real_data):
    path = real_data / "hillstrom" / "hillstrom.csv"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return path


@pytest.fixture(scope="module")
def table(csv):
    return pd.read_csv(csv)


def check(result, best="Mens E-Mail"):
    assert {arm: v["n"] for arm, v in result["design"]["arms"].items()} == {
        "No E-Mail": 21306, "Mens E-Mail": 21307, "Womens E-Mail": 21387,
    }  # fmt: skip
    assert result["checks"]["srm"]["passed"] is True
    assert result["checks"]["balance_test"]["passed"] is True
    assert result["verdict"]["status"] == "effective"
    assert f"The best is {best}" in result["verdict"]["en"]
    whole = {(e["arm"], e["metric"]): e for e in result["effects"] if e["segment"] is None}
    for key, expected in KNOWN.items():
        assert whole[key]["raw"] == pytest.approx(expected, abs=6e-4)
        assert whole[key]["effect"] == pytest.approx(expected, abs=2e-3)
        assert whole[key]["low"] < expected < whole[key]["high"]
        assert whole[key]["p_adjusted"] < 0.01
    return whole


def test_flat_form_on_the_original_file(csv, tmp_path):
    arguments = ["experiment", "analyze", "--data", csv, "--arm", "segment", "--control", "No E-Mail"]
    arguments += ["--metric", "visit", "--metric", "spend"]
    for arm in SHARES:
        arguments += ["--share", f"{arm}=1/3"]
    arguments += ["--covariate", "recency", "--covariate", "history", "--segment", "channel", "--out", tmp_path / "out"]
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    check(result)
    segments = {e["segment"] for e in result["effects"] if e["segment_column"] == "channel"}
    assert segments == {"Phone", "Web", "Multichannel"}
    assert len(result["interactions"]) == 4
    for language in ("zh", "en"):
        assert "Mens E-Mail" in (tmp_path / "out" / f"report.{language}.html").read_text(encoding="utf-8")


def test_workspace_form(csv, tmp_path):
    assert CliRunner().invoke(main, ["import", "hillstrom", str(csv), "--out", str(tmp_path / "w")]).exit_code == 0
    done = CliRunner().invoke(main, ["experiment", "analyze", "hillstrom", "-C", str(tmp_path / "w")])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "w" / "reports" / "experiments" / "hillstrom" / "result.json").read_text())
    whole = check(result, best="E-mail with men's merchandise")
    assert whole["Mens E-Mail", "conversion"]["raw"] == pytest.approx(0.01253 - 0.00573, abs=2e-5)
    assert next(m for m in result["metrics"] if m["name"] == "spend")["currency"] == "USD"


def test_agrees_with_statsmodels_to_six_digits(table):
    result = analyze(
        table, arm="segment", control="No E-Mail", metrics=["visit", "spend"],
        covariates=["recency", "history", "newbie"], weights=SHARES,
    )  # fmt: skip
    x = table[["recency", "history", "newbie"]].to_numpy(float)
    x = x - x.mean(axis=0)
    arms = np.column_stack([(table["segment"] == arm).to_numpy(float) for arm in list(SHARES)[1:]])
    design = np.column_stack([arms, x, *(x * arm[:, None] for arm in arms.T)])
    for metric in ("visit", "spend"):
        fit = sm.OLS(table[metric].to_numpy(float), sm.add_constant(design)).fit(cov_type="HC2")
        for place, arm in enumerate(list(SHARES)[1:], start=1):
            effect = next(e for e in result.effects if (e.arm, e.metric) == (arm, metric))
            assert effect.effect == pytest.approx(fit.params[place], rel=1e-6)
            assert effect.se == pytest.approx(fit.bse[place], rel=1e-6)
            low, high = fit.conf_int()[place]
            assert (effect.low, effect.high) == pytest.approx((low, high), rel=1e-4)  # Welch's t against the normal


def test_no_percentages_where_spend_is_not_clearly_above_zero(table):
    rare = table[table["segment"] != "Womens E-Mail"].groupby("segment").head(600)
    effect = analyze(rare, arm="segment", control="No E-Mail", metrics=["spend"], min_cell=5).effects[0]
    assert effect.relative is None or effect.relative_low > -1


CUTS = ["channel", "band", "newbie"]


def banded(table):
    return table.assign(band=pd.cut(table["recency"], [0, 3, 6, 9, 12]).astype(str))


def test_by_channel_recency_band_new_or_not(table):
    result = analyze(
        banded(table), arm="segment", control="No E-Mail", metrics=["visit", "spend"], weights=SHARES, segments=CUTS,
        covariates=["recency", "history"],
    )  # fmt: skip
    assert len(result.interactions) == 2 * 2 * 3
    by = {(t.arm, t.metric, t.segment_column): t for t in result.interactions}
    assert all(t.p_adjusted >= t.p_value for t in by.values())
    nearest = min(by, key=lambda key: by[key].p_value)  # it would be told as a finding if the other eleven were not
    assert nearest == ("Womens E-Mail", "spend", "newbie")
    assert by[nearest].p_value == pytest.approx(0.0178, abs=1e-3)
    assert min(t.p_adjusted for t in by.values()) > 0.2
    assert "differs by" not in result.verdict.en
    parts = [e for e in result.effects if e.segment is not None]
    assert len(parts) == 2 * 2 * (3 + 4 + 2)
    for effect in parts:
        assert effect.shrunk_low < effect.shrunk < effect.shrunk_high
        assert effect.p_adjusted >= effect.p_value


@pytest.mark.parametrize("repeats", [10, pytest.param(200, marks=pytest.mark.proof)])
def test_permuted_labels_leave_nothing(table, repeats, proof):
    """With no effect anywhere every discovery is false, so the false discovery rate is the share with any."""
    rng = np.random.default_rng(0)
    bands = banded(table)
    found = {"segments": 0, "interactions": 0, "naive": 0}
    for _ in range(repeats):
        mixed = bands.assign(segment=rng.permutation(bands["segment"]))
        result = analyze(
            mixed, arm="segment", control="No E-Mail", metrics=["visit", "spend"], weights=SHARES, segments=CUTS,
            variance="moments",
        )  # fmt: skip
        parts = [e for e in result.effects if e.segment is not None and e.p_value is not None]
        found["segments"] += min(e.p_adjusted for e in parts) < 0.05
        found["naive"] += min(e.p_value for e in parts) < 0.05
        found["interactions"] += min(t.p_adjusted for t in result.interactions) < 0.05
    share = {name: count / repeats for name, count in found.items()}
    allowed = 0.05 + 3 * (0.05 * 0.95 / repeats) ** 0.5
    quantity = "Hillstrom by channel, recency band, new or not; labels permuted"
    for name, method in (("segments", "Benjamini–Hochberg"), ("interactions", "Holm over all interaction tests")):
        assert proof(
            "experiments/segments", f"{quantity}: {name} discovered", method=method, target="FDR ≤ 5 %",
            figure=f"{100 * share[name]:.1f} % of {repeats}", holds=share[name] <= allowed,
        ), share  # fmt: skip
    assert proof(
        "experiments/segments", f"{quantity}: segments discovered", method="unadjusted", target="FDR ≤ 5 %",
        figure=f"{100 * share['naive']:.1f} % of {repeats}", holds=share["naive"] > 0.3, planted=True,
    ), share  # fmt: skip
