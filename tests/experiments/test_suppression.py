"""An attacker who adds and subtracts everything shown learns no small count."""

import itertools

import numpy as np
import pytest

from uplift.experiments.suppression import cut, suppressed


def hide(codes, sizes, min_cell=11):
    cuts, joint = cut(codes, sizes, len(codes[0]))
    counts = np.bincount(joint, minlength=cuts.inside.shape[1]).astype(float)
    return cuts, counts, suppressed(cuts, [counts], min_cell)


def test_large_cells_are_shown():
    assert not hide([np.repeat([0, 1, 2], 20)], [3])[2].any()


def test_one_small_cell_takes_the_next_smallest_with_it():
    codes = np.repeat([0, 1, 2, 3], [50, 5, 20, 40])
    assert hide([codes], [4])[2].tolist() == [False, True, True, False]


def test_two_small_cells_whose_sum_is_small_take_a_third():
    codes = np.repeat([0, 1, 2, 3], [50, 5, 4, 40])
    assert hide([codes], [4])[2].tolist() == [False, True, True, True]


def test_an_empty_cell_is_hidden_too():
    codes = np.repeat([0, 1], [50, 40])
    assert hide([codes], [3])[2].tolist() == [False, True, True]


def test_overlapping_columns_do_not_give_a_cell_back():
    fine = np.repeat([0, 1, 2, 3], [40, 6, 30, 40])  # 1 is small; coarse {0, 1} minus fine 0 would give it back
    coarse = np.repeat([0, 0, 1, 1], [40, 6, 30, 40])
    cuts, counts, hidden = hide([fine, coarse], [4, 2])
    assert hidden[1]
    assert not recoverable(cuts, counts, hidden)


def recoverable(cuts, counts, hidden):
    """Least squares on the raw indicators: an independent attack on hidden small segments, and on all differences."""
    present = counts > 0
    known = np.vstack([np.ones((1, present.sum())), cuts.inside[~hidden][:, present]]).astype(float)
    for segment in np.flatnonzero(hidden):
        target = cuts.inside[segment, present].astype(float)
        size = target @ counts[present]
        if 0 < size < 11:
            factors = np.linalg.lstsq(known.T, target, rcond=None)[0]
            if np.abs(known.T @ factors - target).max() < 1e-9:
                return True
    return any(
        0 < ((a - b) @ counts[present]) < 11 and (a >= b).all() for a, b in itertools.permutations(known.astype(int), 2)
    )


@pytest.mark.parametrize("seed", range(25))
def test_random_overlapping_segments_resist_the_attack(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 300))
    region = rng.choice(5, n, p=rng.dirichlet(np.full(5, 0.7)))
    district = region // 2
    age = rng.choice(4, n, p=rng.dirichlet(np.full(4, 0.7)))
    cuts, counts, hidden = hide([region, district, age], [5, 3, 4])
    assert not recoverable(cuts, counts, hidden)
    assert hidden[(cuts.inside @ counts) < 11].all()


def test_differencing_recovers_nothing(proof):
    """The attacks above, counted: on what is shown, and on what hiding small cells alone would show."""
    found = {"all": 0, "small only": 0}
    for seed in range(200):
        rng = np.random.default_rng([seed, 9])
        n = int(rng.integers(60, 300))
        region = rng.choice(5, n, p=rng.dirichlet(np.full(5, 0.7)))
        age = rng.choice(4, n, p=rng.dirichlet(np.full(4, 0.7)))
        cuts, counts, hidden = hide([region, region // 2, age], [5, 3, 4])
        found["all"] += recoverable(cuts, counts, hidden)
        found["small only"] += recoverable(cuts, counts, (cuts.inside @ counts) < 11)
    quantity = "hidden or small groups recovered by adding and subtracting, 200 tables of overlapping segments"
    assert proof(
        "experiments/small-cells", quantity, method="secondary suppression over all columns", target="none",
        figure=f"{found['all']}", holds=found["all"] == 0,
    )  # fmt: skip
    assert proof(
        "experiments/small-cells", quantity, method="small cells hidden, nothing else", target="none",
        figure=f"{found['small only']}", holds=found["small only"] > 50, planted=True,
    )  # fmt: skip


def test_the_attack_succeeds_on_primary_suppression_alone():
    codes = np.repeat([0, 1, 2, 3], [50, 5, 20, 40])
    cuts, joint = cut([codes], [4], len(codes))
    counts = np.bincount(joint).astype(float)
    assert recoverable(cuts, counts, (cuts.inside @ counts) < 11)
