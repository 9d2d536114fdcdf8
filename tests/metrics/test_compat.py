"""What other libraries print, digit by digit: causalml asked here, scikit-uplift's own answers kept, grf by hand."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest

from uplift import metrics
from uplift.errors import InputError
from uplift.metrics._compat import CURVES, NUMBERS

# printed by scikit-uplift 0.5.1 (with numpy 2 and scikit-learn 1.6) for data(kind, seed):
# qini_auc_score, uplift_auc_score, uplift_at_k(strategy="overall", k=.3), uplift_at_k(strategy="by_group", k=.3)
SCIKIT_UPLIFT = {
    ("distinct", 0): (0.16734093217500298, 0.11460208203916201, 0.22857142857142854, 0.3),
    ("distinct", 1): (0.35078603138534986, 0.5520872845475364, 0.75, 0.7142857142857143),
    ("tied", 0): (0.08860368061142401, 0.07572528730220096, 0.028571428571428525, 0.09999999999999998),
    ("tied", 1): (0.35410872823705764, 0.39562316416565424, 0.75, 0.7142857142857143),
    ("unequal", 0): (0.07529193963318918, 0.052424111202966625, 0.11428571428571432, 0.08333333333333331),
    ("unequal", 1): (0.27190783878331753, 0.3526083001717707, 0.6666666666666667, 0.625),
    ("constant", 0): (0.0, 0.0, -0.16666666666666669, -0.26666666666666666),
    ("constant", 1): (0.0, 0.0, 0.5, 0.6071428571428572),
}
CURVES_OF_TIED_0 = {
    "qini_curve": ([0, 9, 27, 39, 40], [0.0, 1.75, -0.3636363636363633, 1.6875, 0.5882352941176467]),
    "uplift_curve": ([0, 9, 27, 39, 40], [0.0, 3.15, -0.6136363636363631, 2.8614130434782608, 1.023017902813299]),
}


def data(kind, seed, n=40):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n) if kind == "distinct" else np.round(rng.normal(size=n), 0 if kind == "tied" else 1)
    if kind == "constant":
        score = np.full(n, 0.5)
    treated = (rng.random(n) < (0.3 if kind == "unequal" else 0.5)).astype(int)
    y = (rng.random(n) < 0.3 + 0.2 * treated * (score > 0)).astype(int)
    return score, y, treated


@pytest.mark.parametrize(("kind", "seed"), SCIKIT_UPLIFT)
def test_scikit_uplift(kind, seed):
    given, options = data(kind, seed), {"compat": "scikit-uplift"}
    found = (
        metrics.qini(*given, **options),
        metrics.auuc(*given, **options),
        metrics.uplift_at_k(*given, k=0.3, **options),
        metrics.uplift_at_k(*given, k=0.3, strategy="by_group", **options),
    )
    assert [float(number) for number in found] == pytest.approx(SCIKIT_UPLIFT[kind, seed], abs=1e-14)


@pytest.mark.parametrize("name", CURVES_OF_TIED_0)
def test_scikit_uplifts_curves(name, proof):
    curve = getattr(metrics, name)(*data("tied", 0), compat="scikit-uplift")
    x, height = CURVES_OF_TIED_0[name]
    np.testing.assert_allclose(40 * curve.q, x, atol=1e-12)
    np.testing.assert_allclose(curve.value, height, atol=1e-12)
    assert curve.area.value == metrics.METRICS[curve.area.name.split()[0]].function(
        *data("tied", 0), compat="scikit-uplift"
    )
    proof(
        "metrics/compat", "Qini, uplift AUC, uplift at k, curves; distinct, tied, unequal, constant",
        method="scikit-uplift 0.5.1, numbers kept", target="equal to 1e-14", figure="equal", holds=True,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of the peer's, not ours to mend
@pytest.mark.parametrize("kind", ["distinct", "tied", "unequal", "constant", "money", "anti"])
def test_causalml(kind, proof):
    """Asked here and now, on enough rows for its order among equal scores to matter."""
    from causalml.metrics import auuc_score, get_cumgain, get_qini, get_toc, qini_score, rate_score

    score, y, w = data("distinct" if kind in ("money", "anti") else kind, 3, n=700)
    y = np.where(y == 1, np.random.default_rng(1).lognormal(2, 1, 700), 0.0) if kind == "money" else y.astype(float)
    score = -score if kind == "anti" else score
    frame = pd.DataFrame({"model": score, "y": y, "w": w})
    options = {"compat": "causalml"}
    theirs = [qini_score(frame), auuc_score(frame), rate_score(frame), rate_score(frame, weighting="qini")]
    names = ("qini", "auuc", "autoc", "qini_rate")
    ours = [metrics.METRICS[name].function(score, y, w, **options) for name in names]
    assert [float(number) for number in ours] == pytest.approx([float(s.iloc[0]) for s in theirs], rel=1e-10, abs=1e-12)
    peers = {"qini_curve": get_qini, "uplift_curve": get_cumgain}
    for name, peer in peers.items():
        np.testing.assert_allclose(
            metrics.METRICS[name].function(score, y, w, **options).value,
            peer(frame, normalize=True)["model"],
            atol=1e-9,
        )
    np.testing.assert_allclose(metrics.toc(score, y, w, **options).value, get_toc(frame)["model"], atol=1e-10)
    proof(
        "metrics/compat", "Qini, AUUC, AUTOC, QINI, curves, on 700 rows", method=f"causalml, {kind}",
        target="equal to 1e-10", figure="equal", holds=True,
    )  # fmt: skip


def by_definition(scores, priority, weight, target):
    """(1/n) Σ TOC(i/n), equal priorities sharing their mean score: one row at a time."""
    mean = np.array([np.average(scores[priority == p], weights=weight[priority == p]) for p in priority])
    order = sorted(range(len(scores)), key=lambda i: -priority[i])
    everybody, total, sofar, worth, found = np.average(scores, weights=weight), weight.sum(), 0.0, 0.0, 0.0
    for i in order:
        sofar += weight[i]
        worth += weight[i] * mean[i]
        found += (worth / sofar - everybody) * weight[i] / total * (sofar / total if target == "QINI" else 1.0)
    return found


@pytest.mark.parametrize("tied", [False, True])
def test_grf_by_its_definition(tied, proof):
    rng = np.random.default_rng(0)
    n = 300
    priority = np.round(rng.normal(size=n), 0 if tied else 9)
    e, weight = rng.uniform(0.2, 0.8, n), rng.integers(1, 4, n).astype(float)
    w = (rng.random(n) < e).astype(int)
    expected = np.column_stack([rng.normal(size=n), rng.normal(size=n)])
    y = expected[np.arange(n), w] + rng.normal(size=n)
    aipw = expected[:, 1] - expected[:, 0] + (w - e) / (e * (1 - e)) * (y - expected[np.arange(n), w])
    options = {"expected": expected, "sample_weight": weight, "compat": "grf"}
    for name, target in (("autoc", "AUTOC"), ("qini_rate", "QINI"), ("qini", "QINI")):
        found = metrics.METRICS[name].function(priority, y, w, e, **options)
        assert float(found) == pytest.approx(by_definition(aipw, priority, weight, target), abs=1e-12)
    without = metrics.autoc(priority, y, w, e, compat="grf")
    assert float(without) == pytest.approx(by_definition(y * (w - e) / (e * (1 - e)), priority, np.ones(n), "AUTOC"))
    curve = metrics.toc(priority, y, w, e, **options)
    np.testing.assert_allclose(curve.q, np.linspace(0.1, 1, 10))
    assert curve.value[-1] == pytest.approx(0.0, abs=1e-12)
    proof(
        "metrics/compat", f"AUTOC, QINI, TOC{' with ties' if tied else ''}, weights, doubly robust scores",
        method="grf, brute force over its definition", target="equal to 1e-12", figure="equal", holds=True,
    )  # fmt: skip


def test_grf_by_hand():
    """Three members, half treated, nothing expected: scores 4, −2, 2, of which the last two are tied."""
    y, w = [2.0, 1.0, 1.0], [1, 0, 1]
    options = {"propensity": 0.5, "compat": "grf"}
    # scores in order: 4, then 0 and 0; TOC 4 − 4/3, 2 − 4/3, 0
    assert float(metrics.autoc([3, 1, 1], y, w, **options)) == pytest.approx((8 / 3 + 2 / 3) / 3)
    assert float(metrics.qini_rate([3, 1, 1], y, w, **options)) == pytest.approx((8 / 3 / 3 + 2 / 3 * 2 / 3) / 3)
    np.testing.assert_allclose(
        metrics.toc([3, 1, 1], y, w, **options).value[:4], [8 / 3, 8 / 3, 8 / 3, 4 / 1.2 - 4 / 3]
    )


def test_oracle_values(proof):
    """Scores that are the effects themselves, N(0, 1), over 400 quantiles: 0.898 and 0.281."""
    from scipy.stats import norm

    effect = norm.ppf((np.arange(400) + 0.5) / 400)
    both = np.tile(effect, 2)
    y, w = np.append(effect, 0 * effect), np.repeat([1, 0], 400)
    expected = np.column_stack([0 * both, both])
    found = [
        float(metrics.METRICS[name].function(both, y, w, 0.5, expected=expected, compat="grf"))
        for name in ("autoc", "qini_rate")
    ]
    honest = [float(metrics.METRICS[n].function(both, y, w, 0.5, expected=expected)) for n in ("autoc", "qini_rate")]
    fine = found == pytest.approx([0.898, 0.281], abs=3e-3) and honest == pytest.approx([0.902, 0.282], abs=3e-3)
    assert proof(
        "metrics/oracles", "AUTOC and QINI of the true effects, N(0, 1), at 400 quantiles", method="ours; as grf sums",
        target=".902 and .282; .898 and .281, each ± .003",
        figure=", ".join(f"{number:.4f}" for number in (*honest, *found)), holds=fine,
    )  # fmt: skip


def test_what_has_no_counterpart_is_refused_with_what_there_is():
    given = data("distinct", 0)
    for name, peers in {**NUMBERS, **CURVES}.items():
        for compat in ("scikit-uplift", "causalml", "grf"):
            if compat not in peers:
                with pytest.raises(InputError, match=next(iter(peers))):
                    metrics.METRICS[name].function(*given, compat=compat)
    with pytest.raises(InputError, match="scikit-uplift"):
        metrics.qini(*given, compat="sklift")
    with pytest.raises(InputError, match="no counterpart"):
        metrics.compare(given[0], -given[0], *given[1:], compat="grf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_weight": np.ones(40)}, "takes no sample_weight"),
        ({"expected": np.zeros((40, 2))}, "takes no expected"),
        ({"y": np.linspace(0, 1, 40)}, "outcomes of 0 and 1 only"),
        ({"treatment": np.arange(40) % 3, "control": 0}, "pass arm="),
    ],
)
def test_what_the_peer_cannot_take_is_refused(change, message):
    effect, y, w = data("distinct", 0)
    given = {"y": y, "treatment": w} | change
    if "treatment" in change:
        given["effect"] = np.column_stack([effect, effect])
    with pytest.raises(InputError, match=message):
        metrics.qini(**({"effect": effect} | given), compat="scikit-uplift")


def test_strategies_belong_to_scikit_uplift():
    with pytest.raises(InputError, match="strategy belongs to"):
        metrics.uplift_at_k(*data("distinct", 0), strategy="overall")


def test_one_arm_of_several_is_that_arm_against_control():
    rng = np.random.default_rng(2)
    effect, w = rng.normal(size=(300, 2)), rng.integers(0, 3, 300)
    y = rng.integers(0, 2, 300)
    rows = w != 1
    alone = metrics.qini(effect[rows, 1], y[rows], (w[rows] == 2).astype(int), compat="causalml")
    assert metrics.qini(effect, y, w, arm=2, control=0, compat="causalml").value == alone.value
    assert alone.se is None
    assert alone.unit == "as printed there"


def test_the_honest_path_does_not_know_compat():
    """Nothing but the entry that was asked for reads the numbers of other libraries."""
    from uplift.metrics import _draws, _ranking, _results, budget, calibration, comparison, value

    for module in (_draws, _ranking, _results, budget, calibration, comparison, value):
        assert "_compat" not in inspect.getsource(module)


def test_no_warning_where_a_curve_begins_with_one_arm_only():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for compat in ("causalml", "scikit-uplift", "grf"):
            metrics.qini(np.arange(6.0), [0, 1, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1], compat=compat)
