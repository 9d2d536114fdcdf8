"""Displays draw what results hold, and nothing else."""

from __future__ import annotations

import warnings

import matplotlib as mpl
import numpy as np
import pytest

from uplift import metrics
from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.reports.displays import BudgetDisplay, CalibrationDisplay, CurveDisplay

SHARES = {"control": 0.4, "a": 0.35, "b": 0.25}
COSTS = {"a": 1.0, "b": 2.0}


@pytest.fixture(autouse=True)
def _closed():
    mpl.use("agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture(scope="module")
def world():
    return make_world(1500, outcome="continuous", propensity=SHARES, n_features=3, random_state=0)


@pytest.fixture(scope="module")
def models(world):
    noise = np.random.default_rng(0).normal(size=world.effects.shape)
    return {"true": world.effects, "poor": 0.3 * world.effects + noise}


def texts(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.mark.parametrize("kind", ["qini_curve", "uplift_curve", "toc"])
def test_curves_of_several_models_are_drawn_as_they_are(kind, world, models):
    display = CurveDisplay.from_predictions(
        models, world.y, world.treatment, SHARES, kind=kind, control="control", n_bootstrap=50
    )
    for name, curve in display.curves.items():
        np.testing.assert_array_equal(display.lines_[name].get_xydata(), np.column_stack([curve.q, curve.value]))
    assert len(display.ax_.collections) == 2  # a band each
    assert len(texts(display)) == 3
    assert f"{display.curves['true'].area.value:.3g}" in texts(display)[0]
    assert display.figure_ is display.ax_.figure


def test_axes_that_are_given_are_used_and_settings_are_left_alone(world, models):
    from matplotlib.figure import Figure

    before = dict(mpl.rcParams)
    ax = Figure().add_subplot()
    curve = metrics.qini_curve(models["true"], world.y, world.treatment, SHARES, control="control", n_bootstrap=0)
    display = CurveDisplay.from_curve(curve, name="one", ax=ax)
    assert display.ax_ is ax
    assert not ax.collections  # no draws, no band
    again = display.plot(Figure().add_subplot(), intervals=False)
    assert again is display
    assert display.ax_ is not ax
    assert dict(mpl.rcParams) == before


def test_budgets(world, models):
    display = BudgetDisplay.from_predictions(
        models, COSTS, world.y, world.treatment, SHARES, control="control", n_bootstrap=50
    )
    for name, curve in display.curves.items():
        np.testing.assert_array_equal(display.lines_[name].get_xydata(), np.column_stack([curve.spend, curve.value]))
    assert texts(display)[-1] == "without targeting"
    assert BudgetDisplay.from_curve(display.curves["true"]).lines_.keys() == {"model"}


def test_calibration(world, models):
    display = CalibrationDisplay.from_predictions(models, world.y, world.treatment, SHARES, arm="a", control="control")
    found = display.calibrations["true"]
    points = display.lines_["true"].lines[0].get_xydata()
    np.testing.assert_allclose(points, [[g.predicted, g.observed] for g in found.groups])
    assert sum("slope" in text for text in texts(display)) == 2
    constant = CalibrationDisplay.from_predictions(
        np.ones(1500), world.y[:1500], (world.treatment != "control").astype(int), 0.6
    )
    assert texts(constant) == ["as predicted", "model"]


def test_chinese(world, models):
    with warnings.catch_warnings():
        # a machine without a Chinese font draws boxes; the words are what is tested here
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        display = CurveDisplay.from_predictions(
            models["true"], world.y, world.treatment, SHARES, control="control", n_bootstrap=0, language="zh"
        )
        assert texts(display)[-1] == "随机触达"
        assert "会员" in display.ax_.get_xlabel()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda curves: CurveDisplay({}), "no curve to draw"),
        (lambda curves: CurveDisplay({"a": curves[0], "b": curves[1]}), "of one kind"),
        (lambda curves: CurveDisplay({"a": curves[0]}, language="fr").plot(), "language"),
        (lambda curves: CurveDisplay.from_predictions([0.0], [0], [0], kind="roc"), "kind of curve"),
        (lambda curves: CalibrationDisplay({}), "no calibration to draw"),
    ],
)
def test_what_cannot_be_drawn(make, message):
    given = (np.arange(8.0), np.arange(8.0), np.arange(8) % 2)
    curves = [function(*given, n_bootstrap=0) for function in (metrics.qini_curve, metrics.toc)]
    with pytest.raises(InputError, match=message):
        make(curves)
