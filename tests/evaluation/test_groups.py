"""Effects by segment, and what may not be shown."""

from __future__ import annotations

import numpy as np
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.errors import InputError
from uplift.evaluation import aipw_scores, group_effects


@pytest.fixture(scope="module")
def case(quick):
    world = make_world(6000, outcome="continuous", random_state=1)
    scores = aipw_scores(
        world.X, world.y, world.treatment, world.propensity, outcome_model=quick.LeastSquares(), folds=2
    )
    return world, scores


def test_effects_follow_the_truth(case):
    world, scores = case
    label = np.where(world.X["x0"] > 0, "high", "low")
    result = group_effects(scores, label)
    assert [(r.group, r.arm) for r in result.rows] == [(g, a) for a in ("a", "b") for g in (None, "high", "low")]
    for row in result.rows:
        inside = np.ones(6000, bool) if row.group is None else label == row.group
        true = world.effects[inside, ["a", "b"].index(row.arm)].mean()
        assert abs(row.effect - true) < 4 * row.se
        assert row.n == inside.sum()
        assert row.n_arm == (world.treatment[inside] == row.arm).sum()
        assert row.suppressed is None
    assert result.get("high", "a").p_value < 1e-6
    assert result.get(None, "a").effect == pytest.approx(scores.to_dicts()[1]["effect"])
    assert len(result.to_pandas()) == 6
    with pytest.raises(InputError, match="no effect of 'c'"):
        result.get("high", "c")


def test_small_groups_are_hidden_and_cannot_be_worked_out(case):
    _, scores = case
    label = np.full(6000, "big", dtype=object)
    label[:1000] = "middle"
    label[:20] = "tiny"
    result = group_effects(scores, label)
    for arm in ("a", "b"):
        tiny, middle, big = (result.get(g, arm) for g in ("tiny", "middle", "big"))
        assert tiny.suppressed == "small"
        assert middle.suppressed == "secondary"  # or the total less the rest would be the tiny group
        assert big.suppressed is None
        for row in (tiny, middle):
            assert (row.n, row.n_arm, row.n_control, row.effect, row.low, row.p_value) == (None,) * 6
    label[:40:2] = "tiny too"
    label[1:40:2] = "tiny"
    two = group_effects(scores, label)
    assert two.get("middle", "a").suppressed is None  # two hidden groups hide each other
    assert two.get("tiny", "a").suppressed == two.get("tiny too", "a").suppressed == "small"


def test_clusters_widen_and_default_to_those_of_the_scores(case, quick):
    world, _ = case
    rows = np.repeat(np.arange(1500), 4)
    scores = aipw_scores(
        world.X.iloc[rows], world.y[rows], world.treatment[rows], world.propensity[rows], groups=rows, folds=2,
        outcome_model=quick.LeastSquares(),
    )  # fmt: skip
    label = np.zeros(6000, int)
    naive = group_effects(scores, label, clusters=np.arange(6000)).get(0, "a")
    honest = group_effects(scores, label).get(0, "a")
    assert honest.effect == naive.effect
    assert honest.se == pytest.approx(2 * naive.se, rel=0.02)


def test_rows_where_an_arm_was_not_offered_do_not_count_for_it(case, quick):
    world, _ = case
    chance = world.propensity.copy()
    barred = (world.treatment != "b") & (np.arange(6000) % 2 == 0)
    chance[barred] = [0.5, 0.5, 0.0]
    scores = aipw_scores(world.X, world.y, world.treatment, chance, outcome_model=quick.LeastSquares(), folds=2)
    label = np.where(world.X["x0"] > 0, "high", "low")
    result = group_effects(scores, label)
    assert result.get("high", "a").n == (label == "high").sum()
    assert result.get("high", "b").n == ((label == "high") & ~barred).sum()


def test_bad_input(case):
    _, scores = case
    with pytest.raises(InputError, match="min_cell must be at least 5"):
        group_effects(scores, np.zeros(6000), min_cell=2)
    with pytest.raises(InputError, match="groups has shape"):
        group_effects(scores, np.zeros(5))
    with pytest.raises(InputError, match="clusters has 5"):
        group_effects(scores, np.zeros(6000), clusters=np.zeros(5))
