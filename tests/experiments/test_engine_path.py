"""The engine's sums and the table in memory give the same analysis, up to rounding."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm

from uplift.data import as_arrow
from uplift.errors import DesignError, InputError
from uplift.experiments import Metric, analyze, analyze_table
from uplift.experiments import _table as reading
from uplift.experiments._leverage import WIDE

SHARES = {"control": 0.5, "gift": 0.25, "voucher": 0.25}


def campaign(n=6000, seed=0):
    """Every kind of column that a campaign's file may hold."""
    rng = np.random.default_rng(seed)
    arm = rng.choice(list(SHARES), n, p=list(SHARES.values()))
    past = rng.lognormal(3, 1, n)
    bought = rng.random(n) < 0.15 + 0.002 * np.minimum(past, 60) + 0.05 * (arm == "voucher")
    orders = bought * (1 + rng.poisson(0.4, n))
    table = pd.DataFrame(
        {
            "member": [f"m{i}" for i in range(n)],
            "arm": arm,
            "bought": bought.astype(np.int8),
            "cents": (bought * rng.lognormal(9, 1, n)).astype(np.int64),
            "spend": bought * rng.lognormal(3, 1.4, n),
            "kept": np.where(rng.random(n) < 0.5, 1.0, 0.0),
            "orders": orders.astype(np.int32),
            "visits": (orders + rng.poisson(2.0, n)).astype(np.int64),
            "sent": (arm != "control") & (rng.random(n) < 0.7),
            "past": past,
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.integers(18, 80, n)),
            "city": rng.choice(["北京", "上海", "广州"], n, p=[0.5, 0.3, 0.2]),
            "tier": rng.integers(1, 4, n),
            "new": rng.random(n) < 0.3,
        }
    )
    table.loc[table.index % 7 == 0, "city"] = None
    return table


@pytest.fixture(scope="module")
def table():
    return campaign()


@pytest.fixture
def parts(tmp_path):
    """Writes a table as three Parquet parts."""

    def write(table, name="parts"):
        folder = tmp_path / name
        folder.mkdir()
        for i, part in enumerate(np.array_split(np.arange(len(table)), 3)):
            pq.write_table(as_arrow(table.iloc[part]), folder / f"part-{i}.parquet")
        return folder

    return write


METRICS = [
    "bought", "cents", "spend", "kept",
    Metric("basket", "ratio", "money", column="cents", denominator="orders"),
    Metric("per visit", "ratio", column="orders", denominator="visits"),
    Metric("capped", "mean", column="spend", winsorize=0.99),
]  # fmt: skip
GIVEN = {"arm": "arm", "control": "control", "metrics": METRICS, "weights": SHARES, "unit": "member"}


def close(one, two, path="", scale=1.0):
    """Every number alike to eight digits (differences: to eight digits of the means), everything else the same."""
    if isinstance(one, dict):
        assert one.keys() == two.keys(), path
        scale = max(abs(one.get("control_mean") or 0.0), 1.0)
        for key in one:
            close(one[key], two[key], f"{path}.{key}", scale)
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), path
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            close(a, b, f"{path}[{i}]", scale)
    elif isinstance(one, float) and isinstance(two, float):
        assert math.isclose(one, two, rel_tol=1e-8, abs_tol=1e-8 * scale), (path, one, two)
    else:
        assert one == two, (path, one, two)


def compared(df, folder, variance="HC2", **changes):
    """Both results without what says how they were read, and the engine's."""
    given = GIVEN | changes | {"variance": variance}
    rows, sums = analyze(df, **given).to_dict(), analyze_table(folder, **given).to_dict()
    kept = {k: v for k, v in sums.items() if k != "notes"}
    for result in (rows, sums):
        result.pop("notes")
        result["provenance"].pop("data_hash")
    return rows, sums, kept


EVERYTHING = {
    "covariates": ["past", "age", "city", "new"], "segments": ["city", "tier", "new", "past"], "exposed": "sent",
}  # fmt: skip


def off(rows, sums):
    """How far the ends of intervals are from each other, at most, in standard errors."""
    return max(
        abs(a[name] - b[name]) / a["se"]
        for a, b in zip(rows["effects"], sums["effects"], strict=True)
        for name in ("raw", "effect", "low", "high")
        if a["se"]
    )


def test_both_paths_agree_on_everything(table, parts, proof):
    folder = parts(table)
    rows, sums, _ = compared(table, folder, **EVERYTHING)
    quantity = "effects, HC2 intervals, ratios, segments: sums in the engine against rows in memory"
    assert proof(
        "experiments/one-pass", quantity, method="exact sums, leverages at a second look",
        target="to eight digits of a standard error",
        figure="alike" if off(rows, sums) < 1e-8 else f"{off(rows, sums):.0e}", holds=off(rows, sums) < 1e-8,
    )  # fmt: skip
    close(rows, sums)
    assert {metric["kind"] for metric in sums["metrics"]} == {"rate", "mean", "ratio"}
    assert any(effect["suppressed"] is False and effect["segment"] == "(missing)" for effect in sums["effects"])
    assert len(sums["exposed"]) == 2 * len(METRICS)
    assert "HC2" in sums["provenance"]["methods"]["effect"]
    plain = analyze_table(folder, **GIVEN, **EVERYTHING, variance="moments").to_dict()
    assert proof(
        "experiments/one-pass", quantity, method="each arm's s² in the place of its leverages",
        target="to eight digits of a standard error", figure=f"off by {off(rows, plain):.1g}",
        holds=off(rows, plain) > 1e-3, planted=True,
    )  # fmt: skip


def test_both_paths_agree_on_moments(table, parts):
    rows, sums, _ = compared(table, parts(table), variance="moments", **EVERYTHING)
    close(rows, sums)
    assert "HC2" not in sums["provenance"]["methods"]["effect"]


def test_the_engine_agrees_with_statsmodels_hc2(table, parts):
    """Arms, centred covariates and their products, by ordinary least squares, HC2: to six digits."""
    x = table[["past", "new"]].astype(float)
    for city in ("上海", "北京", "广州"):
        x[city] = (table["city"] == city).astype(float)
    x -= x.mean()
    arms = pd.DataFrame({arm: (table["arm"] == arm).astype(float) for arm in ("gift", "voucher")})
    design = pd.concat([arms, x, *(x.mul(arms[arm], axis=0).add_prefix(arm) for arm in arms)], axis=1)
    result = analyze_table(parts(table), **GIVEN, covariates=["past", "city", "new"])
    checked = 0
    for metric in ("bought", "cents", "spend", "kept"):
        fit = sm.OLS(table[metric].astype(float), sm.add_constant(design)).fit(cov_type="HC2")
        for effect in (e for e in result.effects if e.metric == metric):
            assert effect.effect == pytest.approx(fit.params[effect.arm], rel=1e-6)
            assert effect.se == pytest.approx(fit.bse[effect.arm], rel=1e-6)
            checked += 1
    assert checked == 8


def test_leverages_of_few_rows_and_wild_values(tmp_path):
    """Forty rows an arm, covariates of twelve orders of magnitude, a row that its own fit all but passes through."""
    rng = np.random.default_rng(9)
    n = 80
    df = pd.DataFrame({"arm": np.where(np.arange(n) % 2, "a", "b"), "tiny": rng.normal(0, 1e-6, n)})
    df["huge"] = rng.lognormal(8, 3, n)
    df["flag"] = np.arange(n) == 7
    df["spend"] = rng.exponential(20, n) + 1e6 * (np.arange(n) == 11)
    df.to_parquet(tmp_path / "t.parquet")
    given = {"arm": "arm", "control": "b", "metrics": ["spend"], "covariates": ["tiny", "huge", "flag"], "min_cell": 5}
    rows, sums = analyze(df, **given).effects[0], analyze_table(tmp_path / "t.parquet", **given).effects[0]
    assert (sums.effect, sums.se, sums.p_value) == pytest.approx((rows.effect, rows.se, rows.p_value), rel=1e-6)


def test_many_categories_as_covariates(parts):
    """Sixty columns of covariates: vectors are then arrays of the engine, and still add up exactly."""
    rng = np.random.default_rng(5)
    df = campaign(3000)
    for name in ("region", "shop", "source"):
        df[name] = rng.choice([f"{name} {i}" for i in range(20)], len(df))
    given = {"covariates": ["past", "region", "shop", "source"], "segments": ["tier"], "metrics": ["spend", "bought"]}
    rows, sums, kept = compared(df, parts(df, "a"), **given)
    assert max(effect["covariates"] for effect in sums["effects"]) > WIDE
    close(rows, sums)
    again = analyze_table(parts(df.sample(frac=1, random_state=2), "b"), **(GIVEN | given), threads=2).to_dict()
    assert again["effects"] == kept["effects"]


def test_without_covariates_the_engine_gives_hc2_in_one_pass(table, parts, monkeypatch):
    folder = parts(table)
    rows = analyze(table, **GIVEN, segments=["city"]).to_dict()
    monkeypatch.setattr(reading, "hc2", None)
    sums = analyze_table(folder, **GIVEN, segments=["city"]).to_dict()
    close(rows["effects"], sums["effects"])
    close(rows["interactions"], sums["interactions"])


def test_variance_of_each_arm_comes_to_hc2_as_rows_grow(parts):
    gap = []
    for n in (1500, 60_000):
        df = campaign(n)
        given = GIVEN | {"covariates": ["past", "age", "new"]}
        hc2, sums = analyze(df, **given).effects, analyze(df, **given, variance="moments").effects
        assert [e.effect for e in sums] == pytest.approx([e.effect for e in hc2], rel=1e-9)
        gap.append(max(abs(a.se / b.se - 1) for a, b in zip(hc2, sums, strict=True)))
    assert gap[0] < 0.1
    assert gap[1] < 0.005


def holed(table):
    holes = table.copy()
    empty = np.random.default_rng(4).random(len(holes)) < 0.08
    holes["spend"] = holes["spend"].where(~empty)
    holes["orders"] = holes["orders"].where(np.arange(len(holes)) % 9 != 0)
    return holes


@pytest.mark.parametrize("missing", ["zero", "drop"])
def test_missing_outcomes_are_treated_alike(table, parts, missing):
    holes = holed(table)
    rows, sums, _ = compared(
        holes, parts(holes), missing=missing, covariates=["past", "age"], segments=["city"], exposed="sent"
    )
    close(rows, sums)
    assert sums["checks"]["missing"][2]["n"] == int(holes["spend"].isna().sum())


def test_nan_in_the_file_is_missing_though_footers_do_not_count_it(table, parts, tmp_path):
    holes = holed(table)
    folder = tmp_path / "nan"
    folder.mkdir()
    arrow = pa.Table.from_pandas(holes.drop(columns="spend"), preserve_index=False)
    pq.write_table(
        arrow.append_column("spend", pa.array(holes["spend"].to_numpy(), from_pandas=False)), folder / "t.parquet"
    )
    rows, sums, _ = compared(holes, folder, missing="drop")
    close(rows, sums)


def test_small_cells_are_hidden_alike(table, parts):
    small = table.copy()
    few = small.index[small["arm"] == "gift"][:9]
    small.loc[few, "city"] = "拉萨"
    small["area"] = np.where(small["city"].isin(["北京", "拉萨"]), "north", "south")
    rows, sums, _ = compared(small, parts(small), segments=["city", "area", "tier"])
    assert [e["suppressed"] for e in sums["effects"]] == [e["suppressed"] for e in rows["effects"]]
    assert sum(e["suppressed"] for e in sums["effects"]) >= 2
    close(rows, sums)


def test_a_segment_just_inside_another_is_hidden_alike(table, parts):
    nested = table.copy()
    nested["shop"] = np.where(nested["city"] == "北京", "a", "b")
    nested.loc[nested.index[nested["city"] == "北京"][:30], "shop"] = "b"
    rows, sums, _ = compared(nested, parts(nested), metrics=["visits"], segments=["city", "shop"], min_cell=40)
    assert [e["suppressed"] for e in sums["effects"]] == [e["suppressed"] for e in rows["effects"]]
    assert any(e["suppressed"] for e in sums["effects"])


def test_result_does_not_depend_on_threads_or_order(table, parts):
    given = GIVEN | {"covariates": ["past", "city"], "segments": ["tier"]}
    one = analyze_table(parts(table, "a"), **given, threads=1).to_dict()
    two = analyze_table(parts(table.sample(frac=1, random_state=1), "b"), **given, threads=2).to_dict()
    assert json.dumps(one) == json.dumps(two)
    changed = table.copy()
    changed.loc[5, "cents"] += 1
    assert analyze_table(parts(changed, "c"), **given).provenance["data_hash"] != one["provenance"]["data_hash"]


def test_csv_is_summed_too(table, tmp_path):
    table.drop(columns=["city"]).to_csv(tmp_path / "t.csv", index=False)
    given = GIVEN | {"segments": ["tier"], "covariates": ["past"]}
    close(
        analyze(table, **given).to_dict()["effects"],
        analyze_table(tmp_path / "t.csv", **given).to_dict()["effects"],
    )


def test_money_in_cents_keeps_every_digit(tmp_path, proof):
    """Large amounts with a tiny spread: differences of squares in floating point would have no digit left."""
    n = 200_000
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"arm": np.where(rng.random(n) < 0.5, "a", "b"), "cents": 900_000_000 + rng.integers(0, 3, n)})
    df["units"] = df["cents"] / 100
    df.to_parquet(tmp_path / "t.parquet")
    result = analyze_table(tmp_path / "t.parquet", arm="arm", control="a", metrics=["cents", "units"])
    for effect, scale in zip(result.effects, (1, 100), strict=True):
        parts = [[int(c) for c in df.loc[df["arm"] == arm, "cents"]] for arm in ("a", "b")]
        exact = [(sum(part), sum(c * c for c in part), len(part)) for part in parts]  # Python's whole numbers are exact
        variance = sum((q * m - s * s) / m / (m - 1) / m for s, q, m in exact)
        assert effect.se * scale == pytest.approx(math.sqrt(variance), rel=1e-12 if scale == 1 else 1e-6)
        gap = (exact[1][0] * exact[0][2] - exact[0][0] * exact[1][2]) / (exact[0][2] * exact[1][2])
        assert effect.effect * scale == pytest.approx(gap, abs=2 * math.ulp(9e8))  # as near as two means can be
    assert proof(
        "experiments/one-pass", "standard error of amounts near nine million that differ by cents",
        method="exact sums of whole numbers", target="all digits", figure="all digits", holds=True,
    )  # fmt: skip
    squares = (df["units"] ** 2).sum() / n - df["units"].mean() ** 2
    off = abs(squares / df["units"].var() - 1)
    assert proof(
        "experiments/one-pass", "standard error of amounts near nine million that differ by cents",
        method="squares summed in floating point", target="all digits",
        figure="no digit" if off > 0.5 else f"{off:.0e}",
        holds=off > 0.01, planted=True,
    )  # fmt: skip


def refused(match, folder, **changes):
    with pytest.raises(DesignError, match=match):
        analyze_table(folder, **(GIVEN | changes))


def test_mistakes_get_the_same_messages(table, parts):
    folder = parts(table)
    refused("did you mean 'bought'", folder, metrics=["bougth"])
    refused("did you mean 'control'", folder, control="contrl")
    refused("'voucher' is in 'arm' but has no designed share", folder, weights={"control": 0.5, "gift": 0.5})
    refused("'city' holds VARCHAR in the file", folder, metrics=["city"])
    refused("more than 50 different values", folder, segments=["member"])
    refused("analysed row by row", folder, cluster="city")
    refused("analysed row by row", folder, metrics=[Metric("t", "time", column="past", window_days=9)])
    refused("declared a rate but holds other values than 0 and 1", folder, metrics=[Metric("visits", "rate")])
    refused("is 1 for members who were reached", folder, exposed="visits")
    refused(r"no value in .* rows \(", parts(holed(table), "holed"))
    refused("2 members are in more than one arm", parts(twice(table), "twice"))
    refused("it is an outcome, not a covariate", folder, covariates=["sent"])
    with pytest.raises(InputError, match="no such file"):
        analyze_table(folder / "none.parquet", **GIVEN)
    with pytest.raises(InputError, match=r"holds no \.parquet file"):
        analyze_table(folder.parent, **GIVEN)


def twice(table):
    moved = table.head(2).assign(arm=["gift" if arm == "control" else "control" for arm in table["arm"].head(2)])
    return pd.concat([table, moved])


def test_times_are_checked_in_the_engine(table, parts):
    timed = table.assign(
        start=pd.Timestamp("2026-05-01", tz="UTC"),
        at=pd.Timestamp("2026-05-03", tz="UTC"),
        days=np.where(table["arm"] == "gift", 7, 14),
    )
    early = timed.assign(at=timed["at"].where(timed.index > 3, pd.Timestamp("2026-04-30", tz="UTC")))
    folder = parts(timed)
    analyze_table(folder, **GIVEN, assigned_at="start", happened_at={"bought": "at"})
    refused("for 4 rows metric 'bought' happened", parts(early, "e"), assigned_at="start", happened_at={"bought": "at"})
    refused("unequal windows, 7 to 14 days", folder, followed="days", metrics=["bought"])
    refused(
        "followed for less than the 14 days of metric 'bought'", folder, followed="days",
        metrics=[Metric("bought", "rate", window_days=14)],
    )  # fmt: skip
