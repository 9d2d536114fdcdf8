"""BG/NBD against published answers and against histories drawn from the model itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uplift.errors import InputError
from uplift.learners import BGNBD, histories_from_orders
from uplift.learners.bgnbd import log_likelihood

PUBLISHED = {"r_": 0.243, "alpha_": 4.414, "a_": 0.793, "b_": 2.426}


def published(horizon: float = 39.0) -> BGNBD:
    """The model with the parameters of Fader, Hardie & Lee (2005)."""
    model = BGNBD(horizon)
    model._restore({**PUBLISHED, "log_likelihood_": -9582.4}, {})
    return model


def simulate(n: int, r: float, alpha: float, a: float, b: float, age: float, ahead: float, seed: int):
    """Histories up to ``age`` and numbers of purchases in the time ``ahead`` after it."""
    rng = np.random.default_rng(seed)
    rate, chance = rng.gamma(r, 1 / alpha, n), rng.beta(a, b, n)
    ages = rng.uniform(age / 2, age, n)
    x, t, later = np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(n):
        now = 0.0
        while True:
            now += rng.exponential(1 / rate[i]) if rate[i] > 0 else np.inf
            if now > ages[i] + ahead:
                break
            if now <= ages[i]:
                x[i], t[i] = x[i] + 1, now
            else:
                later[i] += 1
            if rng.random() < chance[i]:
                break
    return pd.DataFrame({"frequency": x, "recency": t, "T": ages}), later


def test_published_answer_for_one_member():
    """2 repeat purchases, the last in week 30.43 of 38.86: 1.226 purchases expected in the next 39 weeks."""
    member = pd.DataFrame({"frequency": [2], "recency": [30.43], "T": [38.86]})
    assert published().expected_purchases(39, member)[0] == pytest.approx(1.226, abs=5e-4)


def test_log_likelihood_by_hand():
    """x = 0: (α / (α + T))^r."""
    value = log_likelihood(np.array([0.5, 2.0, 1.0, 3.0]), np.zeros(1), np.zeros(1), np.array([6.0]))[0]
    assert value == pytest.approx(0.5 * np.log(2 / 8))
    # x = 1, integrated over p and λ: b/(a+b) r α^r (α+T)^-(r+1) + a/(a+b) r α^r (α+t)^-(r+1)
    value = log_likelihood(np.array([0.5, 2.0, 1.0, 3.0]), np.ones(1), np.array([4.0]), np.array([6.0]))[0]
    by_hand = 0.75 * 0.5 * 2**0.5 * 8**-1.5 + 0.25 * 0.5 * 2**0.5 * 6**-1.5
    assert np.exp(value) == pytest.approx(by_hand)


def test_recovers_the_parameters_it_was_drawn_from():
    histories, _ = simulate(12_000, r=0.8, alpha=5.0, a=0.8, b=2.5, age=60, ahead=0, seed=0)
    model = BGNBD().fit(histories)
    assert model.r_ == pytest.approx(0.8, rel=0.1)
    assert model.alpha_ == pytest.approx(5.0, rel=0.12)
    assert model.a_ / (model.a_ + model.b_) == pytest.approx(0.8 / 3.3, rel=0.1)
    truth = log_likelihood(np.array([0.8, 5.0, 0.8, 2.5]), *(histories[c].to_numpy() for c in histories)).sum()
    assert model.log_likelihood_ >= truth
    moved = log_likelihood(
        np.array([model.r_ * 1.02, model.alpha_, model.a_, model.b_]), *(histories[c].to_numpy() for c in histories)
    ).sum()
    assert model.log_likelihood_ > moved


def test_predictions_hold_on_what_comes_after():
    histories, later = simulate(12_000, r=0.8, alpha=5.0, a=0.8, b=2.5, age=60, ahead=20, seed=1)
    model = BGNBD(horizon=20).fit(histories)
    assert model.expected_purchases(20, histories).mean() == pytest.approx(later.mean(), rel=0.06)
    silent = model.predict_proba(histories)[:, 1]
    for part in np.array_split(np.argsort(silent, kind="stable"), 5):
        assert silent[part].mean() == pytest.approx((later[part] == 0).mean(), abs=0.025)


def test_expected_purchases_of_a_new_member_and_at_the_singularity():
    model = published()
    new = model.expected_purchases(39)
    zero = pd.DataFrame({"frequency": [0], "recency": [0.0], "T": [1e-9]})
    assert new[0] == pytest.approx(model.expected_purchases(39, zero)[0], rel=1e-6)
    assert model.expected_purchases(0, zero)[0] == 0
    around = []
    for a in (0.999, 1.0, 1.001):
        model.a_ = a
        around.append(model.expected_purchases(39)[0])
    assert around[0] > around[1] > around[2]
    assert around[1] == pytest.approx((around[0] + around[2]) / 2, rel=1e-4)


def test_probability_alive():
    alive = published().probability_alive(
        pd.DataFrame({"frequency": [0, 5, 5], "recency": [0.0, 38.0, 5.0], "T": [38.86] * 3})
    )
    assert alive[0] == 1.0
    assert alive[1] > 0.8 > 0.1 > alive[2]


def test_the_unit_of_time_does_not_matter():
    histories, _ = simulate(2000, r=0.8, alpha=5.0, a=0.8, b=2.5, age=60, ahead=0, seed=2)
    weeks = BGNBD(horizon=4).fit(histories)
    days = BGNBD(horizon=28).fit(histories.assign(recency=histories["recency"] * 7, T=histories["T"] * 7))
    assert days.alpha_ == pytest.approx(7 * weeks.alpha_, rel=1e-3)
    repeat = histories["frequency"].sum()
    assert days.log_likelihood_ == pytest.approx(weeks.log_likelihood_ - repeat * np.log(7), rel=1e-9)
    np.testing.assert_allclose(
        weeks.predict_proba(histories),
        days.predict_proba(histories.assign(recency=histories["recency"] * 7, T=histories["T"] * 7)),
        atol=1e-4,
    )


def test_weights_are_repetitions():
    histories, _ = simulate(500, r=0.8, alpha=5.0, a=0.8, b=2.5, age=60, ahead=0, seed=3)
    weight = np.arange(500) % 3
    one = BGNBD().fit(histories, sample_weight=weight)
    two = BGNBD().fit(histories.loc[histories.index.repeat(weight)])
    assert one.log_likelihood_ == pytest.approx(two.log_likelihood_)
    assert one.r_ == pytest.approx(two.r_, rel=1e-3)


def test_impossible_histories_are_listed_at_once():
    wrong = pd.DataFrame({"frequency": [1.5, 0, 2, np.nan], "recency": [1, 5, 50, 1.0], "T": [30, 30, 30, 0.0]})
    with pytest.raises(InputError) as error:
        BGNBD(horizon=0).fit(wrong)
    for part in ("not a whole number", "not between 0 and T", "without a repeat purchase", "missing (NaN)", "T is not"):
        assert part in str(error.value)
    with pytest.raises(InputError, match="horizon must be positive"):
        BGNBD(horizon=0).fit(pd.DataFrame({"frequency": [1], "recency": [1], "T": [2]}))
    with pytest.raises(InputError, match="nobody bought a second time"):
        BGNBD().fit(pd.DataFrame({"frequency": [0, 0], "recency": [0, 0], "T": [5, 6]}))
    with pytest.raises(InputError, match="no column 'T'"):
        BGNBD().fit(wrong[["frequency", "recency"]])
    with pytest.raises(InputError, match="must be numbers"):
        BGNBD().fit(wrong.astype(object).replace(1.5, "x"))


def test_arrays_and_other_names():
    histories, _ = simulate(500, r=0.8, alpha=5.0, a=0.8, b=2.5, age=60, ahead=0, seed=3)
    named = BGNBD(columns=("x", "t_x", "age")).fit(histories.set_axis(["x", "t_x", "age"], axis=1).assign(extra="?"))
    array = BGNBD().fit(histories.to_numpy())
    assert named.r_ == array.r_
    with pytest.raises(InputError, match="expecting 3 features"):
        array.predict_proba(np.ones((2, 2)))


def test_histories_from_orders():
    orders = pd.DataFrame(
        {
            "who": ["a", "a", "a", "b", "b", "c"],
            "when": ["2026-01-01", "2026-01-15", "2026-01-15", "2026-01-08", "2026-03-01", "2026-03-01"],
        }
    )
    table = histories_from_orders(orders, member="who", at="when", until="2026-01-29")
    assert table.loc["a"].tolist() == [1, 2, 4]
    assert table.loc["b"].tolist() == [0, 0, 3]
    assert list(table.index) == ["a", "b"]


def test_unfitted():
    from sklearn.exceptions import NotFittedError

    for call in (BGNBD().predict_proba, BGNBD().probability_alive, BGNBD().predict):
        with pytest.raises(NotFittedError):
            call(pd.DataFrame({"frequency": [1], "recency": [1.0], "T": [2.0]}))
