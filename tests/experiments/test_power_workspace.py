"""Power from a workspace's past: whole stores, segments, ratios, and the picture."""

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from scipy.special import ndtri

from uplift.cli import main
from uplift.config import Workspace
from uplift.data.simulator import simulate
from uplift.pipelines import experiment_power
from uplift.pipelines._experiment_powered import power_curve
from uplift.pipelines.experiment_define import define
from uplift.pipelines.experiment_power import power_from_workspace


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("power") / "shop"
    simulate(folder, members=1500, months=5, seed=1)
    workspace = Workspace.open(folder)
    halves = {"arms": ["control=1/2", "gift=1/2"], "control": "control", "metrics": ["ordered", "spend"]}
    define(workspace, "members", **halves, covariates=["spend_90d"], segments=["segment"])
    define(workspace, "stores", **halves, covariates=["spend_90d"], cluster="favourite_store")
    return workspace


def test_stores_cost_members(shop):
    one, whole = (power_from_workspace(shop, name, size=1000) for name in ("members", "stores"))
    assert whole.plans["spend"].deff >= 1.0
    assert whole.basis["spend"]["clusters"] > 1
    assert "deff" in whole.basis["spend"]["text"]
    assert one.basis["spend"]["icc"] is None
    ratio = whole.plans["spend"].arms[0].smallest_effect / one.plans["spend"].arms[0].smallest_effect
    assert ratio >= 0.9


def test_segments_show_less_than_everybody(shop):
    done = power_from_workspace(shop, "members")
    whole = done.plans["ordered"].arms[0].smallest_effect
    parts = done.segments["ordered"]
    assert len(parts) >= 2
    assert all(row["smallest_effect"] is None or row["n_arm"] < done.plans["ordered"].arms[0].n_arm for row in parts)
    assert max(row["smallest_effect"] for row in parts if row["smallest_effect"]) > whole


def test_whole_stores_cost_within_a_segment_too(shop, monkeypatch):
    spec = yaml.safe_load((shop.experiments / "stores.yaml").read_text(encoding="utf-8"))
    (shop.experiments / "parts.yaml").write_text(
        yaml.safe_dump(spec | {"id": "parts", "segments": ["segment"]}), encoding="utf-8"
    )
    stores = power_from_workspace(shop, "parts", size=1000).segments["spend"]
    monkeypatch.setattr(experiment_power, "_clustered", lambda part, cluster: {})
    alone = {row["segment"]: row for row in power_from_workspace(shop, "parts", size=1000).segments["spend"]}
    seen = [(row["smallest_effect"], alone[row["segment"]]["smallest_effect"]) for row in stores]
    assert len(seen) >= 2
    assert all(whole is None or whole > one for whole, one in seen)


def test_a_ratio_is_planned_per_its_denominator(shop):
    path = shop.experiments / "members.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["id"] = "ratio"
    spec["metrics"] = [
        {"name": "basket", "outcome": "spend", "denominator": "orders", "kind": "ratio", "unit": "money"}
    ]
    (shop.experiments / "ratio.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    plan = power_from_workspace(shop, "ratio").plans["basket"]
    spend = power_from_workspace(shop, "members").plans["spend"].baseline
    assert plan.kind == "mean"
    assert plan.baseline > spend  # per order, not per member
    assert plan.arms[0].smallest_effect > 0


def test_the_curve_falls_with_size_and_meets_the_plan(shop):
    plan = power_from_workspace(shop, "members", size=1000).plans["spend"]
    curve = power_curve(plan)
    effects = [row["smallest_effect"] for row in curve]
    assert effects == sorted(effects, reverse=True)
    assert min(effects) < plan.arms[0].smallest_effect < max(effects)


def test_the_picture_is_drawn_in_both_languages(shop):
    done = CliRunner().invoke(main, ["experiment", "power", "members", "-C", str(shop.root), "--json"])
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["files"]
    assert [file.rsplit("/")[-1] for file in files] == ["power.zh.html", "power.en.html"]
    pages = [Path(file).read_text(encoding="utf-8") for file in files]
    assert all("<svg" in page for page in pages)
    assert "消费金额" in pages[0]
    assert "Money spent" in pages[1]
    assert not re.findall(r"learnt|members in|smallest", pages[0])
    assert "能看到的最小效果" in pages[0]
    assert "Smallest effect" in pages[1]


def test_a_past_that_is_not_complete_is_refused(shop):
    done = CliRunner().invoke(main, ["experiment", "power", "members", "-C", str(shop.root), "--as-of", "2030-01-01"])
    assert done.exit_code == 2
    assert "or earlier" in done.output
    assert "come back" not in done.output
    done = CliRunner().invoke(main, ["experiment", "power", "members", "-C", str(shop.root), "--as-of", "2020-01-01"])
    assert done.exit_code == 2
    assert "begins before the first order" in done.output


def test_a_margin_says_how_many_members_prove_it(shop):
    define(
        shop, "guarded", arms=["control=1/2", "gift=1/2"], control="control", metrics=["ordered:14"],
        guardrails=["spend:14"], margins=["spend=3"],
    )  # fmt: skip
    done = power_from_workspace(shop, "guarded")
    basis, plan = done.basis["spend"], done.plans["spend"]
    z = ndtri(0.975) + ndtri(0.8)
    assert basis["margin_needs"] == pytest.approx((z * plan.sd * 2 / 3) ** 2, rel=1e-3)
    assert "to prove that harm stays within ¥3" in done.to_text()
    assert "ordered" in done.basis
    assert "margin_needs" not in done.basis["ordered"]
