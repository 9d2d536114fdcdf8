"""The true effects that the simulator writes are the effects of the campaigns that it draws.

Outcomes are counted from the tables by SQL of this file's own, over the randomised assignments. Tolerance: 4 standard
errors for each comparison; of a thousand, all right, one would be beyond 4 in 6 % of seeds, and the seed is fixed. Each
test is shown a planted defect that it must catch.
"""

from __future__ import annotations

from dataclasses import fields

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from uplift.data.simulator import INDUSTRIES, simulate
from uplift.data.simulator._chunk import live
from uplift.data.simulator._members import Members, State
from uplift.data.simulator._purchases import draw_orders
from uplift.data.simulator._response import Response, demand, effects, traits_of
from uplift.data.simulator.chain import _plan

LIMIT = 4.0
OUTCOMES = ("conversion", "spend", "margin")
MEMBERS, MONTHS = 20_000, 8
SMALLEST_CELL = 150

REALISED = """
    SELECT e.experiment_id, e.offer_id, e.life, a.arm <> 'control' AS treated, a.propensity,
           e.effect_conversion, e.effect_spend, e.effect_margin,
           coalesce(y.n > 0, false)::DOUBLE AS conversion,
           coalesce(y.spend, 0)::DOUBLE AS spend, coalesce(y.margin, 0)::DOUBLE AS margin
    FROM read_parquet('{folder}/truth/effects.parquet') e
    JOIN read_parquet('{folder}/data/assignments.parquet') a
      ON a.experiment_id = e.experiment_id AND a.member_id = e.member_id AND a.arm IN ('control', e.offer_id)
    LEFT JOIN (
        SELECT a.experiment_id, a.member_id, count(*) AS n, sum(o.amount) AS spend, sum(o.amount - o.cost) AS margin
        FROM read_parquet('{folder}/data/assignments.parquet') a
        JOIN read_parquet('{folder}/data/orders.parquet') o
          ON o.member_id = a.member_id AND o.ordered_at > a.assigned_at
         AND o.ordered_at <= a.assigned_at + INTERVAL 14 DAY
         AND coalesce(o.status, 'paid') NOT IN ('cancelled', 'refunded')
        GROUP BY ALL
    ) y ON y.experiment_id = e.experiment_id AND y.member_id = e.member_id
"""


@pytest.fixture(scope="module", params=INDUSTRIES)
def realised(request, tmp_path_factory) -> pd.DataFrame:
    """One row for each member, experiment and offer where the member had that offer or none."""
    folder = tmp_path_factory.mktemp("truth") / request.param
    simulate(folder, members=MEMBERS, months=MONTHS, seed=2, industry=request.param)
    with duckdb.connect() as connection:
        return connection.sql(REALISED.format(folder=folder)).df()


def z_of_cells(rows: pd.DataFrame, outcome: str, by: list[str]) -> pd.Series:
    """(Arm minus control, minus the mean true effect) in standard errors, per cell."""
    arms = rows.groupby([*by, "treated"])[outcome].agg(["mean", "var", "count"]).unstack("treated")
    truth = rows.groupby(by)[f"effect_{outcome}"].mean()
    error = np.sqrt(sum(arms["var"][side] / arms["count"][side] for side in (False, True)))
    z = (arms["mean"][True] - arms["mean"][False] - truth) / error
    large = (arms["count"] >= SMALLEST_CELL).all(axis=1) & (error > 0)
    return z[large]


def z_of_slope(rows: pd.DataFrame, outcome: str) -> float:
    """Does the realised effect grow one for one with the true one? 0 in standard errors if it does.

    The transformed outcome (Horvitz–Thompson, around the control's mean of each life) is unbiased for each member's
    effect, so its error must be uncorrelated with the true effect.
    """
    key = [rows["experiment_id"], rows["offer_id"], rows["life"]]
    control = rows[outcome].where(~rows["treated"]).groupby(key).transform("mean").fillna(0.0)
    sizes = rows.groupby(["experiment_id", "offer_id", "treated"])[outcome].transform("size")
    cell = rows.groupby(["experiment_id", "offer_id"])[outcome].transform("size")
    share = sizes / cell
    scores = (rows[outcome] - control) * np.where(rows["treated"], 1 / share, -1 / share)
    truth = rows[f"effect_{outcome}"]
    products = (scores - truth) * (truth - truth.mean())
    return float(products.mean() / (products.std() / np.sqrt(len(products))))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_arm_minus_control_is_the_mean_true_effect(realised, outcome):
    every = z_of_cells(realised, outcome, ["experiment_id", "offer_id"])
    assert len(every) >= 20
    assert every.abs().max() < LIMIT
    shifted = realised.assign(**{f"effect_{outcome}": realised[f"effect_{outcome}"] + 0.25 * realised[outcome].std()})
    caught = z_of_cells(shifted, outcome, ["experiment_id", "offer_id"])
    assert (caught < -LIMIT).mean() > 0.9, "a truth shifted by a quarter of a standard deviation must be caught"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_within_lives_too(realised, outcome):
    every = z_of_cells(realised, outcome, ["experiment_id", "offer_id", "life"])
    assert len(every) >= 100
    limit = norm.isf(0.0005 / len(every))  # the largest of hundreds of cells: Bonferroni, 0.1 % for all of them
    assert every.abs().max() < limit
    assert 0.85 < every.std() < 1.15
    lives = realised["life"].unique()
    moved = dict(zip(lives, np.roll(lives, 1), strict=True))
    mean = realised.groupby(["experiment_id", "offer_id", "life"])[f"effect_{outcome}"].mean()
    index = pd.MultiIndex.from_arrays([realised["experiment_id"], realised["offer_id"], realised["life"].map(moved)])
    wrong = realised.assign(**{f"effect_{outcome}": mean.reindex(index).to_numpy()}).dropna()
    caught = z_of_cells(wrong, outcome, ["experiment_id", "offer_id", "life"])
    assert caught.abs().max() > limit, "the effects of another life must be caught"


def test_realised_effects_grow_one_for_one_with_true_ones(realised):
    for outcome in OUTCOMES:
        assert abs(z_of_slope(realised, outcome)) < LIMIT, outcome
    doubled = realised.assign(effect_conversion=2 * realised["effect_conversion"])
    assert abs(z_of_slope(doubled, "conversion")) > LIMIT, "effects twice as large must be caught"


def take(held, rows: np.ndarray):
    """The same dataclass with the rows taken from each of its arrays."""
    values = {f.name: getattr(held, f.name)[rows] for f in fields(held) if f.init}
    return type(held)(**values)


def replay(industry: str, members: int, repeats: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Stated and realised effects as of the end, (members, offers) each: the window after the end, drawn many times."""
    plan = _plan(members * 3, 6, 7, industry, None)
    chunk = live(plan, 0)
    window = plan.calendar.windows
    season = float(plan.calendar.factor[window])
    rows = np.repeat(np.arange(members), repeats)
    many: Members = take(chunk.members, rows)
    state: State = take(chunk.state, rows)
    base = demand(plan.industry, many, state, window, season, np.ones(len(rows)))
    offers = range(len(plan.offers.ids))
    rates, dues = plan.offers.response(traits_of(plan.industry, many, state, window), base, offers)
    first = np.arange(members) * repeats
    stated = effects(plan.industry, plan.offers, Response(rates[first], dues[first]), base.of(first), offers)._asdict()
    rng = np.random.default_rng(3)
    nobody = np.zeros(len(rows), dtype=bool)

    def drawn(offer: int) -> dict[str, np.ndarray]:
        rate, due = (base.rate, base.due) if offer < 0 else (rates[:, offer], dues[:, offer])
        orders = draw_orders(
            plan.industry, plan.calendar, many, state, window, base, rate, due, nobody,
            np.full(len(rows), offer), plan.offers, rng,
        )  # fmt: skip
        kept = orders.counts
        money = {"spend": orders.amount[kept], "margin": (orders.amount - orders.cost)[kept]}
        sums = {k: np.bincount(orders.member[kept], weights=v, minlength=len(rows)) for k, v in money.items()}
        sums["conversion"] = (np.bincount(orders.member[kept], minlength=len(rows)) > 0).astype(float)
        return {k: v.reshape(members, repeats) for k, v in sums.items()}

    none = drawn(-1)
    z = {name: np.empty((members, len(plan.offers.ids))) for name in OUTCOMES}
    for offer in range(len(plan.offers.ids)):
        given = drawn(offer)
        for name in OUTCOMES:
            difference = given[name].mean(axis=1) - none[name].mean(axis=1)
            error = np.sqrt((given[name].var(axis=1) + none[name].var(axis=1)) / repeats)
            z[name][:, offer] = (difference - stated[name][:, offer]) / np.where(error > 0, error, np.nan)
    return stated, z


@pytest.mark.parametrize("industry", INDUSTRIES)
def test_the_truth_as_of_the_end_is_each_members_own(industry):
    """The window after the end, drawn 400 times for each of 150 members under every offer and under none."""
    stated, z = replay(industry, members=150, repeats=400)
    for name in OUTCOMES:
        seen = z[name][~np.isnan(z[name])]
        assert len(seen) > 800
        assert abs(np.median(seen)) < 0.25, name
        assert 0.8 < seen.std() < 1.25, name
    large = np.abs(stated["conversion"]) > 0.05
    assert large.sum() > 50
    assert np.nanmax(np.abs(z["conversion"][large])) < 5


@pytest.mark.parametrize("industry", INDUSTRIES)
def test_a_wrong_formula_would_be_seen(industry, monkeypatch):
    """Means that take half of the orders for cancelled must fail the test above."""
    import uplift.data.simulator._response as response

    honest = response.means

    def forgetful(industry, *arguments, **keywords):
        return honest(industry.model_copy(update={"cancelled": 0.5}), *arguments, **keywords)

    monkeypatch.setattr(response, "means", forgetful)
    stated, z = replay(industry, members=100, repeats=300)
    large = np.abs(stated["conversion"]) > 0.02
    assert np.nanmax(np.abs(z["conversion"][large])) > 5


def test_truth_is_of_the_drawn_state_only():
    """Two chains that differ in their seed alone have the same law: their mean effects agree."""
    means = []
    for seed in (1, 2):
        plan = _plan(8_000, 6, seed, "grocery", None)
        end = live(plan, 0).truth[-1]
        means.append((end.effects.conversion.mean(axis=0), end.effects.conversion.std(axis=0) / np.sqrt(8_000)))
    (first, error), (second, other) = means
    assert (np.abs(first - second) < LIMIT * np.hypot(error, other)).all()
