from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift.errors import InputError
from uplift.policy import decide, explore, holdout, plan_exploration

IDS = [f"m{i:05d}" for i in range(4_000)]


def test_holdout_is_stable_nested_and_of_the_asked_size() -> None:
    five, ten = holdout(IDS, 0.05), holdout(IDS, 0.10)
    assert abs(ten.mean() - 0.10) < 0.02
    assert not (five & ~ten).any()  # a larger share keeps everybody whom a smaller one held out
    backwards = holdout(IDS[::-1], 0.10)
    assert backwards[::-1].tolist() == ten.tolist()
    assert (holdout(IDS, 0.10, salt="other") != ten).any()
    assert not holdout(IDS, 0).any()
    assert holdout(IDS, 1).all()
    with pytest.raises(InputError, match="between 0 and 1"):
        holdout(IDS, 1.5)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_is_drawn_fits_what_was_set_aside(data: st.DataObject) -> None:
    n, m = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    eligible = rng.random((n, m)) < data.draw(st.sampled_from([0.2, 0.6, 1.0]))
    cost = np.round(rng.normal(1, 1.5, (n, m)), 1)
    rate = data.draw(st.sampled_from([0.05, 0.3, 0.7, 1.0]))
    plan = plan_exploration(eligible, cost, rate, budget=1e9, quotas=np.full(m, 1e9))
    assert plan.rate == rate
    choice = np.where(eligible.any(axis=1), eligible.argmax(axis=1), -1)  # any feasible choice will do
    base = sum(cost[i, j] for i, j in enumerate(choice) if j >= 0)
    for seed in range(25):
        drawn = explore(choice, plan, IDS[:n], str(seed))
        spent = sum(cost[i, j] for i, j in enumerate(drawn.offer) if j >= 0)
        assert spent - base <= plan.reserved_budget + 1e-9  # negative costs that explorers give up included
        taken = np.bincount(drawn.offer[drawn.explored & (drawn.offer >= 0)], minlength=m)
        assert (taken <= plan.reserved_quotas).all()
        given_to = np.flatnonzero(drawn.offer >= 0)
        assert eligible[given_to, drawn.offer[given_to]].all()
        assert (drawn.propensity > 0).all()
        assert (drawn.propensity <= 1).all()


def test_propensities_of_all_options_add_up_to_one() -> None:
    rng = np.random.default_rng(0)
    eligible = rng.random((500, 4)) < 0.5
    plan = plan_exploration(eligible, np.ones(4), 0.2, quotas=[np.inf, 3, np.inf, np.inf])
    choice = np.where(eligible.any(axis=1), eligible.argmax(axis=1), -1)
    total = sum(plan.probability(np.full(500, j), choice) for j in range(-1, 4))
    assert total == pytest.approx(np.ones(500))
    assert plan.left_out == (1,)


def test_rate_falls_until_the_draw_fits_the_budget() -> None:
    plan = plan_exploration(np.ones((1_000, 3), bool), [2.0, 2.0, 2.0], 0.5, budget=300)
    assert 0 < plan.rate < 0.5
    assert plan.reserved_budget <= 60
    nothing = plan_exploration(np.ones((1_000, 3), bool), [2.0, 2.0, 2.0], 0.5, budget=0)
    assert (nothing.rate, nothing.reserved_budget) == (0.0, 0.0)
    free = plan_exploration(np.ones((1_000, 3), bool), [0.0, 0.0, 0.0], 0.5, budget=0)
    assert free.rate == 0.5


def test_a_member_with_nothing_feasible_is_certain() -> None:
    plan = plan_exploration(np.zeros((5, 2), bool), [1.0, 1.0], 0.5)
    drawn = explore(np.full(5, -1), plan, IDS[:5], "s")
    assert drawn.propensity.tolist() == [1.0] * 5
    assert not drawn.explored.any()


def test_draw_does_not_depend_on_row_order() -> None:
    rng = np.random.default_rng(1)
    ids = IDS[:800]
    value, eligible = rng.gamma(1, 2, (800, 3)), rng.random((800, 3)) < 0.7
    order = rng.permutation(800)
    arguments = {"seed": "r", "budget": 200.0, "quotas": [50, None, 80], "explore_share": 0.2}
    a = decide(ids, value, np.ones(3), eligible=eligible, **arguments)
    b = decide([ids[i] for i in order], value[order], np.ones(3), eligible=eligible[order], **arguments)
    assert a.offer[order].tolist() == b.offer.tolist()
    assert a.source[order].tolist() == b.source.tolist()
    assert a.propensity[order].tolist() == b.propensity.tolist()


def test_decisions_keep_budget_and_quotas_and_the_documented_probability() -> None:
    rng = np.random.default_rng(2)
    n = len(IDS)
    value, eligible = rng.gamma(1, 2, (n, 4)) - 1, rng.random((n, 4)) < 0.8
    cost, quotas = np.array([1.0, 2.0, 0.5, 3.0]), [300, None, 40, 500]
    d = decide(
        IDS,
        value,
        cost,
        eligible=eligible,
        seed="x",
        budget=1_500,
        quotas=quotas,
        holdout_share=0.1,
        explore_share=0.06,
    )
    given_to = np.flatnonzero(d.offer >= 0)
    counts = np.bincount(d.offer[given_to], minlength=4)
    assert cost[d.offer[given_to]].sum() == pytest.approx(d.cost)
    assert d.cost <= 1_500
    assert all(q is None or c <= q for c, q in zip(counts, quotas, strict=True))
    assert set(d.source) == {"policy", "explore", "holdout", "none"}
    held = holdout(IDS, 0.1)
    assert (d.source[held] == "holdout").all()
    assert (d.offer[held] == -1).all()
    assert (d.propensity[held] == 0.1).all()
    rate, size = d.exploration.rate, d.exploration.options.sum(axis=1)
    share = np.where(size > 0, rate, 0)
    policy_rows = np.isin(d.source, ["policy", "none"])
    in_draw = np.array([j < 0 or d.exploration.options[k, j] for k, j in enumerate(d.offer[~held])])
    expected = share / (size + 1) * in_draw + (1 - share) * (d.offer[~held] == d.choice[~held])
    assert d.propensity[~held] == pytest.approx(expected)
    assert (d.offer[policy_rows] == d.choice[policy_rows]).all()


def test_explorers_do_not_change_the_policys_choice() -> None:
    rng = np.random.default_rng(3)
    value = rng.gamma(1, 2, (1_000, 3))
    arguments = {"eligible": np.ones((1_000, 3), bool), "budget": 300.0, "explore_share": 0.2}
    one, two = (decide(IDS[:1_000], value, np.ones(3), seed=seed, **arguments) for seed in ("a", "b"))
    assert one.choice.tolist() == two.choice.tolist()
    assert (one.source != two.source).any()


def test_bad_input() -> None:
    with pytest.raises(InputError, match="repeat"):
        decide(["a", "a"], np.ones((2, 1)), [1.0], eligible=np.ones((2, 1), bool), seed="s")
    with pytest.raises(InputError, match="eligible"):
        decide(["a"], np.ones((1, 1)), [1.0], eligible=np.ones((2, 1), bool), seed="s")
    with pytest.raises(InputError, match="share"):
        plan_exploration(np.ones((2, 1), bool), [1.0], -0.1)
