"""Defects measured in other libraries, shown in them where they are installed; none of them may come back here.

Each test is named after the defect. ``peer`` numbers are asserted too: when another library mends its defect, the test
says so and the comparison in the docs is due for a change.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from uplift import metrics

PEERS = ("scikit-uplift", "causalml", "grf")
# the peer's own warnings are not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore")


def data(n=5000, seed=0):
    rng = np.random.default_rng(seed)
    treatment = rng.integers(0, 2, n)
    effect = rng.normal(size=n)
    return effect, effect * treatment + rng.normal(size=n), treatment


def frame(effect, y, treatment):
    return pd.DataFrame({"model": effect, "y": y, "w": treatment})


def test_constant_score(proof):
    """A score that says nothing has a Qini of zero, whatever the order of rows."""
    from causalml.metrics import qini_score

    _, _, treatment = data()
    y = (np.random.default_rng(1).random(len(treatment)) < 0.2 + 0.1 * treatment).astype(float)
    flat, theirs = np.full(len(y), 0.3), []
    for order in (np.arange(len(y)), np.argsort(y), np.argsort(-y), np.argsort(treatment * y)):
        for name in ("qini", "autoc", "qini_rate"):
            value = metrics.METRICS[name].function(flat, y[order], treatment[order])
            assert (value.value, value.low, value.high) == (0.0, 0.0, 0.0)
            assert value.p_value == 1.0
        theirs.append(float(qini_score(frame(flat, y[order], treatment[order])).iloc[0]))
        assert metrics.qini(flat, y[order], treatment[order], compat="causalml").value == pytest.approx(theirs[-1])
    quantity = "Qini of a constant score in four orders of the rows"
    proof("metrics/peers", quantity, method="ours", target="0", figure="0, 0, 0, 0", holds=True)
    assert proof(
        "metrics/peers", quantity, method="causalml", target="spread above .3", planted=True,
        figure=", ".join(f"{number:.3f}" for number in theirs), holds=max(theirs) - min(theirs) > 0.3,
    )  # fmt: skip


def test_autoc_weight(proof):
    """AUTOC weights the TOC by 1; weights of 1/q give another number, 2.4 where .90 is right."""
    from causalml.metrics import rate_score

    effect, y, treatment = data(100_000)
    curve = metrics.toc(effect, y, treatment, 0.5)
    assert curve.area.value == pytest.approx(np.trapezoid(curve.value, curve.q), abs=0.03)
    n = 20_000
    oracle = norm.ppf((np.arange(n) + 0.5) / n)
    theirs = float(rate_score(pd.DataFrame({"model": oracle, "tau": oracle})).iloc[0])
    quantity = "AUTOC where effects are N(0, 1) and known (right: .903)"
    right = proof(
        "metrics/peers", quantity, method="ours, from 100,000 rows with noise", target="within .05",
        figure=f"{curve.area.value:.3f}", holds=curve.area.value == pytest.approx(0.903, abs=0.05),
    )  # fmt: skip
    wrong = proof(
        "metrics/peers", quantity, method="causalml, from the effects themselves", target="above 2",
        figure=f"{theirs:.3f}", holds=theirs > 2, planted=True,
    )  # fmt: skip
    assert right
    assert wrong


def test_normalising_by_a_total_near_zero(proof):
    """Divided by an effect near zero, a good and a useless ranking alike get any number at all."""
    from causalml.metrics import auuc_score, qini_score

    effect, y, treatment = data()
    curve = metrics.qini_curve(effect, y, treatment, 0.5)
    assert abs(curve.total.value) < 3 * curve.total.se
    assert curve.normalised is None
    clear = metrics.qini_curve(effect, y + treatment, treatment, 0.5)
    assert clear.normalised == pytest.approx(clear.area.value / clear.total.value)
    theirs = [float(score(frame(effect, y, treatment)).iloc[0]) for score in (auuc_score, qini_score)]
    right = proof(
        "metrics/absolute-units", "Qini where arms gain and lose alike (right: 282 per 1,000), normalised",
        method="ours", target="within 60, none", figure=f"{curve.area.value:.0f}, {curve.normalised}",
        holds=curve.area.value == pytest.approx(282, abs=60),
    )  # fmt: skip
    wrong = proof(
        "metrics/absolute-units", "AUUC and Qini in the same world", method="causalml, over the total",
        target="above 3 in size", figure=", ".join(f"{number:.1f}" for number in theirs),
        holds=min(abs(number) for number in theirs) > 3, planted=True,
    )  # fmt: skip
    assert right
    assert wrong


def test_sign_blind_p_value(proof):
    """An anti-ranked model is not significant; a two-sided p-value calls it so."""
    from causalml.metrics import qini_score

    effect, y, treatment = data()
    y = y + treatment  # so that the peer's normalising keeps the sign
    ours = {}
    for name in ("qini", "autoc", "qini_rate"):
        function = metrics.METRICS[name].function
        ours[name] = function(-effect, y, treatment, 0.5).p_value
        assert function(effect, y, treatment, 0.5).p_value < 1e-6
    table = frame(-effect, y, treatment)
    theirs = float(qini_score(table, return_ci=True, n_bootstrap=50, random_state=0)["p_value"].iloc[0])
    quantity = "p-value of a model that ranks upside down"
    right = proof(
        "metrics/one-sided", quantity, method="ours: Qini, AUTOC, QINI", target="above .999",
        figure=", ".join(f"{p:.4f}" for p in ours.values()), holds=min(ours.values()) > 0.999,
    )  # fmt: skip
    wrong = proof(
        "metrics/one-sided", quantity, method="causalml's two-sided test", target="below 1e-6", figure=f"{theirs:.1g}",
        holds=theirs < 1e-6, planted=True,
    )  # fmt: skip
    assert right
    assert wrong


def test_decile_standard_error(proof):
    """Deviations of bins do not add up to the deviation of their total; variances of sums do."""
    rng = np.random.default_rng(0)
    effect, w = rng.normal(size=2000), rng.integers(0, 2, 2000)
    y = (rng.random(2000) < 0.3 + 0.1 * w).astype(int)
    printed = 0.6676503917850771  # by scikit-uplift 0.5.1: uplift_by_percentile(…, std=True, total=True), std_uplift
    textbook = np.sqrt(sum(y[w == arm].var() / (w == arm).sum() for arm in (0, 1)))
    ours = metrics.qini_curve(effect, y, w, 0.5).total.se / 1000
    deviations = []
    for part in np.array_split(np.argsort(effect, kind="stable")[::-1], 10):
        arms = (y[part][w[part] == arm] for arm in (0, 1))
        deviations.append(np.sqrt(sum(values.var() / len(values) for values in arms)))
    assert sum(deviations) == pytest.approx(printed, rel=1e-9)  # so this is what it does
    quantity = "standard error of the total effect over the textbook's"
    right = proof(
        "metrics/peers", quantity, method="ours", target="1 ± .15", figure=f"{ours / textbook:.2f}",
        holds=ours == pytest.approx(textbook, rel=0.15),
    )  # fmt: skip
    wrong = proof(
        "metrics/peers", quantity, method="deviations of ten bins added up (scikit-uplift)", target="above 10",
        figure=f"{printed / textbook:.1f}", holds=printed > 10 * textbook, planted=True,
    )  # fmt: skip
    assert right
    assert wrong


def test_one_score_many_qinis(proof):
    """One score on one data set: what four libraries print, and the one number in units."""
    rng = np.random.default_rng(0)
    effect, w = rng.normal(size=4000), rng.integers(0, 2, 4000)
    y = (rng.random(4000) < 0.2 + 0.05 * w * (1 + effect > 0)).astype(int)
    printed = {peer: float(metrics.qini(effect, y, w, 0.5, compat=peer)) for peer in PEERS}
    assert len({round(number, 3) for number in printed.values()}) == 3
    ours = metrics.qini(effect, y, w, 0.5)
    assert ours.unit == "extra outcome per 1,000 members"
    proof(
        "metrics/absolute-units", "Qini of one score as printed by " + ", ".join(printed), method="compat",
        target="three numbers, hence units", figure=", ".join(f"{v:.4f}" for v in printed.values())
        + f"; ours {ours.value:.1f} per 1,000", holds=True,
    )  # fmt: skip
