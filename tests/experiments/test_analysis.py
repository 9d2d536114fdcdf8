import json
import re

import numpy as np
import pandas as pd
import pytest

from uplift.config import MetricSpec
from uplift.errors import DesignError
from uplift.experiments import Metric, Text, analyze, benjamini_hochberg, holm

FIELDS = [
    "arm", "metric", "segment_column", "segment", "n_control", "n_arm", "control_mean", "arm_mean",
    "raw", "raw_low", "raw_high", "effect", "low", "high", "p_value", "p_adjusted",
    "relative", "relative_low", "relative_high", "shrunk", "shrunk_low", "shrunk_high",
]  # fmt: skip


@pytest.fixture
def run(table, shares):
    def go(df=table, **changes):
        given = {
            "arm": "arm", "control": "control", "metrics": ["bought", "spend"], "covariates": ["past", "city"],
            "segments": ["city"], "weights": shares, "unit": "member",
        }  # fmt: skip
        return analyze(df, **(given | changes))

    return go


def test_result_has_the_documented_shape(run):
    result = run().to_dict()
    json.dumps(result, allow_nan=False)
    assert {"design", "checks", "effects", "interactions", "verdict", "provenance"} <= set(result)
    assert result["design"]["arms"]["voucher"] == {"n": (run().design["arms"]["voucher"]["n"]), "share": 0.25}
    assert result["design"]["n"] == 4000
    assert result["design"]["control"] == "control"
    assert len(result["effects"]) == 2 * 2 * (1 + 3)
    for effect in result["effects"]:
        assert list(effect)[: len(FIELDS)] == FIELDS
    for test in result["interactions"]:
        assert list(test)[:5] == ["arm", "metric", "segment_column", "p_value", "p_adjusted"]
    assert set(result["verdict"]) == {"status", "zh", "en"}
    assert {"data_hash", "version", "seed"} <= set(result["provenance"])


def test_to_pandas_has_the_fields_of_effects(run):
    table = run().to_pandas()
    assert list(table.columns)[: len(FIELDS)] == FIELDS
    assert len(table) == 16


def test_numbers_are_those_of_the_table(run, table):
    effect = next(e for e in run().effects if e.arm == "voucher" and e.metric == "spend" and e.segment is None)
    means = table.groupby("arm")["spend"].mean()
    assert effect.control_mean == pytest.approx(means["control"])
    assert effect.arm_mean == pytest.approx(means["voucher"])
    assert effect.raw == pytest.approx(means["voucher"] - means["control"])
    assert effect.n_arm == (table["arm"] == "voucher").sum()
    inside = next(e for e in run().effects if e.arm == "gift" and e.metric == "bought" and e.segment == "上海")
    own = table[table["city"] == "上海"].groupby("arm")["bought"].mean()
    assert inside.raw == pytest.approx(own["gift"] - own["control"])


def test_same_input_same_bytes_and_every_row_counts(run, table):
    once, again = json.dumps(run().to_dict()), json.dumps(run(table.copy()).to_dict())
    assert once == again
    changed = table.copy()
    changed.loc[3999, "spend"] += 1
    assert run(changed).provenance["data_hash"] != run().provenance["data_hash"]


def test_row_order_does_not_matter(run, table):
    shuffled = run(table.sample(frac=1, random_state=1)).to_pandas()[["effect", "low", "p_adjusted"]]
    pd.testing.assert_frame_equal(run().to_pandas()[["effect", "low", "p_adjusted"]], shuffled, rtol=1e-9)


def test_without_shares_the_sample_ratio_is_not_checked(run):
    assert run(weights=None).to_dict()["checks"]["srm"] == {
        "p_value": None, "passed": None, "statistic": None, "df": None, "threshold": 0.001, "unit": "member",
        "expected": None, "e_value": None, "running": False,
    }  # fmt: skip


def test_families_are_adjusted_as_stated(run, table):
    three = table.assign(visits=table["bought"] + np.arange(len(table)) % 3)
    result = run(three, metrics=["bought", "spend", "visits"])
    whole = [e for e in result.effects if e.segment is None]
    for names in (["bought"], ["spend", "visits"]):
        own = [e for e in whole if e.metric in names]
        np.testing.assert_allclose([e.p_adjusted for e in own], holm([e.p_value for e in own]))
    parts = [e for e in result.effects if e.segment is not None]
    np.testing.assert_allclose([e.p_adjusted for e in parts], benjamini_hochberg([e.p_value for e in parts]))
    tests = result.interactions
    np.testing.assert_allclose([t.p_adjusted for t in tests], holm([t.p_value for t in tests]))
    sizes = {name: family["size"] for name, family in result.families.items()}
    assert sizes == {"primary": 2, "secondary": 4, "guardrail": 0, "segments": 18, "interactions": 6, "winner": 1}
    assert [metric["role"] for metric in result.metrics] == ["primary", "secondary", "secondary"]


def test_the_primary_metric_decides_and_the_others_stand_beside_it(run, table):
    rng = np.random.default_rng(3)
    noise = table.assign(visited=(rng.random(len(table)) < 0.4).astype(int))
    verdict = run(noise, metrics=["visited", "bought"]).verdict
    assert verdict.status == "no_evidence"
    assert "Secondary: voucher against control changes bought by" in verdict.en
    assert "次要指标：voucher" in verdict.zh


def test_an_arm_that_pays_for_the_primary_metric_with_another_goal_is_harmful(run, table):
    paid = table.assign(kept=np.where(table["arm"] == "voucher", 0.5, 1.0) * (1 + np.arange(len(table)) % 2))
    result = run(paid, metrics=["bought", "kept"])
    assert result.verdict.status == "harmful"
    assert "kept" in result.verdict.en


def test_covariates_narrow_the_interval_and_raw_stays(run):
    plain, adjusted = run(covariates=()), run()
    assert [e.raw for e in plain.effects] == [e.raw for e in adjusted.effects]
    assert all(e.effect == e.raw for e in plain.effects)
    assert adjusted.effects[0].se < plain.effects[0].se


def test_interaction_finds_an_effect_that_differs(run, table):
    changed = table.copy()
    lucky = (changed["arm"] == "gift") & (changed["city"] == "广州")
    changed.loc[lucky, "bought"] = np.maximum(changed.loc[lucky, "bought"], np.arange(lucky.sum()) % 2)
    before, after = ({(t.arm, t.metric): t for t in run(df).interactions} for df in (table, changed))
    assert before["gift", "bought"].p_adjusted > 0.05
    assert after["gift", "bought"].p_adjusted < 0.001
    assert after["voucher", "bought"].p_value == pytest.approx(before["voucher", "bought"].p_value)


def test_interaction_by_hand_for_two_segments(run, table):
    two = table.assign(city=np.where(table["city"] == "北京", "a", "b"))
    result = run(two, covariates=())
    test = next(t for t in result.interactions if (t.arm, t.metric) == ("gift", "spend"))
    a, b = [e for e in result.effects if (e.arm, e.metric) == ("gift", "spend") and e.segment is not None]
    assert test.statistic == pytest.approx((a.effect - b.effect) ** 2 / (a.se**2 + b.se**2))


def test_small_cells_have_null_numbers_and_cannot_be_worked_out(run, table):
    small = table.copy()
    few = small.index[(small["arm"] == "gift")][:7]
    small.loc[few, "city"] = "拉萨"
    rows = [e for e in run(small).to_dict()["effects"] if e["arm"] == "gift" and e["metric"] == "bought"]
    hidden = {row["segment"] for row in rows if row["suppressed"]}
    assert "拉萨" in hidden
    assert len(hidden) == 2
    for row in rows:
        if row["suppressed"]:
            assert all(row[name] is None for name in FIELDS[4:])


def test_few_buyers_are_small_cells_too(run, table):
    rare = table.copy()
    rare["bought"] = 0
    rare.loc[rare.index[rare["arm"] == "control"][:9], "bought"] = 1
    result = run(rare, metrics=["bought"])
    assert all(effect.suppressed for effect in result.effects)
    assert result.verdict.status == "too_early"
    assert not re.search(r"\b9\b", result.verdict.en)


def test_a_tiny_arm_is_not_shown(run, table, shares):
    small = table[(table["arm"] != "gift") | (table.groupby("arm").cumcount() < 8)]
    design = run(small, weights=None).to_dict()["design"]
    assert design["arms"]["gift"]["n"] is None
    assert design["n"] is None


def test_segments_are_shrunk_and_the_whole_is_not(run):
    for effect in run().effects:
        assert (effect.shrunk is None) == (effect.segment is None)
        if effect.shrunk is not None:
            assert effect.shrunk_low < effect.shrunk < effect.shrunk_high


def test_many_valued_numbers_are_cut_at_quartiles(run):
    result = run(segments=["past"])
    cells = [e for e in result.effects if e.segment_column == "past" and (e.arm, e.metric) == ("gift", "spend")]
    assert len(cells) == 4
    assert sum(e.n_control for e in cells) == result.effects[0].n_control
    assert any("past" in note["en"] for note in result.notes)


def test_relative_effect_is_null_where_it_cannot_be_stated(run, table):
    shifted = table.assign(margin=table["spend"] - table["spend"].mean())
    effect = run(shifted, metrics=["margin"]).effects[0]
    assert effect.relative is None
    assert effect.effect is not None


def test_verdict_effective_names_the_winner_only_if_it_is_one(run):
    verdict = run().verdict
    assert verdict.status == "effective"
    assert "The best is voucher" in verdict.en


def test_no_winner_between_equals(run, table):
    named = 0
    for seed in range(30):
        rng = np.random.default_rng([seed, 1])
        chance = np.where(table["arm"] == "control", 0.15, 0.3)
        both = table.assign(bought=(rng.random(len(table)) < chance).astype(int))
        verdict = run(both, metrics=["bought"], covariates=(), segments=()).verdict
        assert verdict.status == "effective"
        assert ("No single best arm" in verdict.en) == ("尚不能确定" in verdict.zh)
        named += "No single best arm" not in verdict.en
    assert named <= 4  # 5 % of 30, within three standard errors


def test_verdict_on_noise_is_no_evidence(run, table):
    rng = np.random.default_rng(7)
    verdict = run(table.assign(arm=rng.permutation(table["arm"]))).verdict
    assert verdict.status == "no_evidence"


def test_verdict_harmful_when_less_is_what_happens_and_effective_when_less_is_wanted(run, table):
    worse = table.assign(left=np.where(table["arm"] == "voucher", 1 - table["bought"] // 2, table["bought"]))
    assert run(
        worse, metrics=["left"], metric_specs={"left": Metric("left", "rate", increase=False)}
    ).verdict.status == ("harmful")
    assert run(worse, metrics=["left"]).verdict.status == "effective"


def test_a_harmed_guardrail_keeps_an_arm_from_being_effective(run, table):
    harmed = table.assign(refund=(table["arm"] == "voucher") * (np.arange(len(table)) % 3 == 0) * 1.0)
    harmed.loc[harmed.index[harmed["arm"] != "voucher"][:200], "refund"] = 1.0
    specs = [
        MetricSpec(name="bought", outcome="ordered"),
        MetricSpec(name="refund", outcome="refunded", goal="decrease", guardrail=True),
    ]
    result = run(harmed, metrics=["bought", "refund"], metric_specs=specs)
    assert result.verdict.status == "harmful"
    assert "refund" in result.verdict.en


def test_verdict_invalid_when_arms_are_not_as_large_as_designed(run):
    result = run(weights={"control": 0.4, "gift": 0.3, "voucher": 0.3})
    assert result.checks["srm"]["passed"] is False
    assert result.verdict.status == "invalid"


def test_a_covariate_measured_after_treatment_is_refused(run, table):
    after = table.assign(opened=(table["arm"] != "control") * np.random.default_rng(0).random(len(table)))
    with pytest.raises(DesignError, match=r"'opened'.*it is an outcome, not a covariate"):
        run(after, covariates=["opened"])


def test_a_covariate_that_differs_more_than_chance_makes_the_result_invalid(run, table):
    drifted = table.assign(past=table["past"] + 8.0 * (table["arm"] == "gift"))
    result = run(drifted, covariates=["past"])
    assert result.verdict.status == "invalid"
    assert "past" in result.verdict.en
    assert all(effect.effect is None and effect.p_value is None for effect in result.effects)
    assert result.effects[0].control_mean is not None


def test_before_the_planned_size_only_a_confidence_sequence_counts(run, table):
    certain = run(planned_size=4000)
    assert certain.verdict.status == "effective"
    weak = run(metrics=["spend"], planned_size=20_000)
    assert weak.effects[1].p_value is not None
    early = run(table.head(700), planned_size=20_000)
    assert early.verdict.status == "too_early"
    assert "20,000" in early.verdict.en


def test_what_the_caller_knows_reaches_the_verdict(run, table):
    assert run(invalid=[Text("坏", "broken")]).verdict.en == "Invalid: broken."
    noise = table.assign(arm=np.random.default_rng(7).permutation(table["arm"]))
    verdict = run(noise, early=[Text("等", "the window is open")]).verdict
    assert verdict.status == "too_early"
    assert "the window is open" in verdict.en


def numbers(text):
    return re.findall(r"[-+]?\d[\d,]*\.?\d*", text)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("metrics", [["bought", "spend"], ["spend"]])
def test_both_languages_state_identical_numbers(run, table, seed, metrics):
    rng = np.random.default_rng(seed)
    arm = table["arm"] if seed % 2 else rng.permutation(table["arm"])
    planned = 9000 if seed == 4 else None
    specs = {"spend": MetricSpec(name="spend", outcome="spend", kind="mean", unit="money")}
    verdict = run(
        table.assign(arm=arm), metrics=metrics, planned_size=planned, metric_specs=specs, currency="CNY"
    ).verdict
    assert numbers(verdict.zh) == numbers(verdict.en)
    assert len(numbers(verdict.en)) >= 3
    if metrics == ["spend"] and verdict.status != "invalid":
        assert "¥" in verdict.zh


def test_clusters_widen_what_repeats_narrow(run, table):
    twice = pd.concat([table, table, table], ignore_index=True)
    once = run(covariates=()).effects[0]
    clustered = run(twice, covariates=(), cluster="member", weights=None).effects[0]
    assert clustered.se == pytest.approx(once.se, rel=0.01)


def test_sample_ratio_counts_what_was_assigned(run, table, shares):
    stores = table.assign(store=table["arm"] + (np.arange(len(table)) % 40).astype(str))
    assert run(stores, cluster="store", weights=None).design["unit"] == "cluster"


def test_missing_outcomes_are_treated_as_said(run, table):
    holes = table.copy()
    holes["spend"] = holes["spend"].where(np.arange(len(holes)) % 10 != 0)
    zero, drop = run(holes, missing="zero"), run(holes, missing="drop")
    by = {e.metric: e for e in drop.effects if e.segment is None and e.arm == "gift"}
    assert by["spend"].n_arm < by["bought"].n_arm
    assert drop.checks["missing"][1] | {"p_value": 0} == {
        "metric": "spend", "n": 400, "treated_as": "drop", "p_value": 0, "passed": True,
    }  # fmt: skip
    filled = run(holes.fillna({"spend": 0.0}))
    assert [e.effect for e in zero.effects] == [e.effect for e in filled.effects]


def test_outcomes_missing_in_one_arm_make_the_result_invalid(run, table):
    holes = table.copy()
    holes["spend"] = holes["spend"].where((holes["arm"] != "gift") | (np.arange(len(holes)) % 3 != 0))
    assert run(holes, missing="drop").verdict.status == "invalid"


def test_missing_covariates_and_segments_lose_no_row(run, table):
    holes = table.copy()
    holes["past"] = holes["past"].where(np.arange(len(holes)) % 7 != 0)
    holes["city"] = holes["city"].where(np.arange(len(holes)) % 5 != 0)
    result = run(holes)
    cells = [e for e in result.effects if e.segment is not None and (e.arm, e.metric) == ("gift", "spend")]
    assert {e.segment for e in cells} == {"北京", "上海", "广州", "(missing)"}
    assert sum(e.n_control for e in cells) == result.effects[0].n_control


def test_strata_of_unequal_shares_are_compared_within(run):
    rng = np.random.default_rng(0)
    old = rng.random(6000) < 0.5
    arm = np.where(rng.random(6000) < np.where(old, 0.8, 0.2), "offer", "control")
    y = 10 * old + rng.normal(size=6000)
    df = pd.DataFrame({"arm": arm, "old": old, "y": y})
    given = {"arm": "arm", "control": "control", "metrics": ["y"]}
    assert abs(analyze(df, **given).effects[0].effect) > 4
    within = analyze(df, **given, strata="old")
    assert within.effects[0].low < 0 < within.effects[0].high
    assert within.verdict.status == "no_evidence"


def test_arms_that_are_numbers(table):
    coded = table.assign(arm=(table["arm"] == "voucher").astype(int))
    result = analyze(coded, arm="arm", control=0, metrics=["bought"], weights={0: 0.75, 1: 0.25})
    assert result.checks["srm"]["passed"]
    assert result.effects[0].arm == "1"


def test_every_kind_of_column(table):
    kinds = table.assign(
        arm=pd.Categorical(table["arm"], categories=["voucher", "gift", "control", "unused"]),
        bought=table["bought"].astype("boolean"),
        city=table["city"].astype("category"),
        band=pd.cut(table["past"], [0, 10, 30, 1e9]),
        regular=table["past"] > 20,
        group=pd.array(table.index % 5, dtype="Int64"),
        mixed=pd.Series([1, "x"] * (len(table) // 2), dtype=object),
    )
    columns = ["band", "regular", "group", "city", "mixed"]
    result = analyze(kinds, arm="arm", control="control", metrics=["bought"], covariates=columns, segments=columns)
    plain = analyze(table, arm="arm", control="control", metrics=["bought"])
    assert [e.raw for e in result.effects if e.segment is None] == [e.raw for e in plain.effects]
    values = {cut["column"]: cut["values"] for cut in result.design["segments"]}
    assert values["regular"] == ["false", "true"]
    assert values["band"][0] == "(0.0, 10.0]"
    assert values["group"] == ["0", "1", "2", "3", "4"]
    assert values["mixed"] == ["1", "x"]


def test_shows_itself(run):
    assert "voucher" in run()._repr_html_()
    assert "effect" in run().to_markdown()
