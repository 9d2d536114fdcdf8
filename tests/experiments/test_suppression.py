"""An attacker who adds and subtracts everything shown learns no small count."""

import itertools

import numpy as np
import pandas as pd
import pytest

from uplift.experiments import analyze, analyze_table
from uplift.experiments._together import Group, withheld
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


ARMS, CUTS = ["control", "gift", "voucher"], ["region", "district", "age"]


def campaign(seed):
    """A few hundred members of three arms; some regions and ages have a handful."""
    rng = np.random.default_rng([seed, 77])
    n = int(rng.integers(300, 900))
    region = rng.choice(5, n, p=rng.dirichlet(np.full(5, 0.7)))
    return pd.DataFrame(
        {
            "arm": rng.choice(ARMS, n), "region": region, "district": region // 2,
            "age": rng.choice(4, n, p=rng.dirichlet(np.full(4, 0.7))),
            "visited": (rng.random(n) < 0.5).astype(int), "bought": (rng.random(n) < 0.25).astype(int),
        }
    )  # fmt: skip


def learned(table, shown):
    """Small counts of members or of converters that follow from all rows of a result together.

    ``shown``: (metric, arm, segment column, value) of the rows that are not suppressed. Every row tells the members
    and the converters of its arm and of the control.
    """
    found = set()
    for arm, what in itertools.product(ARMS, ("members", "visited", "bought")):
        own = table[table["arm"] == arm]
        weight = np.ones(len(own)) if what == "members" else own[what].to_numpy(float)
        own = own[weight > 0]
        combination, size = np.unique(own[CUTS], axis=0, return_counts=True)
        told = {
            (column, value)
            for metric, of, column, value in shown
            if (what in ("members", metric)) and arm in ("control", of)
        }
        known = [np.ones(len(combination))] + [combination[:, CUTS.index(c)] == int(v) for c, v in sorted(told)]
        known = np.array(known, dtype=float)
        for c, column in enumerate(CUTS):
            for value in np.unique(own[column]):
                target = (combination[:, c] == value).astype(float)
                if 0 < target @ size < 11:
                    factors = np.linalg.lstsq(known.T, target, rcond=None)[0]
                    if np.abs(known.T @ factors - target).max() < 1e-9:
                        found.add((arm, what, column, value))
    return found


def rows_shown(result):
    return {
        (e.metric, e.arm, e.segment_column, e.segment)
        for e in result.effects
        if e.segment is not None and not e.suppressed
    }


def rows_closed_one_by_one(table):
    """The planted defect: every row of metric and arm hides what would give itself away, whatever others show."""
    cuts, joint = cut([table[name].to_numpy(np.int64) for name in CUTS], [5, 3, 4], len(table))
    names = [(name, str(v)) for name, size in zip(CUTS, [5, 3, 4], strict=True) for v in range(size)]
    shown = set()
    for metric, arm in itertools.product(("visited", "bought"), ARMS[1:]):
        counts = [
            np.bincount(joint[(table["arm"] == of) & chosen], minlength=cuts.inside.shape[1]).astype(float)
            for of in ("control", arm)
            for chosen in (np.ones(len(table), dtype=bool), table[metric] == 1)
        ]
        hidden = suppressed(cuts, counts, 11)
        shown |= {(metric, arm, *name) for name, out in zip(names, hidden, strict=True) if not out}
    return shown


def test_rows_of_a_result_give_each_other_nothing_back(proof, tmp_path):
    """What the row of one metric or arm hides, the rows of others must not tell."""
    leaks = {"together": 0, "one by one": 0}
    tables, seen = 60, 0
    for seed in range(tables):
        table = campaign(seed)
        given = {"arm": "arm", "control": "control", "metrics": ["visited", "bought"], "segments": CUTS}
        shown = rows_shown(analyze(table, **given))
        if seed < 4:
            table.to_parquet(tmp_path / "t.parquet")
            assert rows_shown(analyze_table(tmp_path / "t.parquet", **given)) == shown
        leaks["together"] += bool(learned(table, shown))
        leaks["one by one"] += bool(learned(table, rows_closed_one_by_one(table)))
        seen += len(shown)
    assert seen > 10 * tables  # most rows are shown
    quantity = f"results of {tables} experiments whose rows, all taken together, tell a small count"
    assert proof(
        "experiments/small-cells", quantity, method="closed over all metrics and arms", target="none",
        figure=f"{leaks['together']}", holds=leaks["together"] == 0,
    )  # fmt: skip
    assert proof(
        "experiments/small-cells", quantity, method="each row closed by itself", target="none",
        figure=f"{leaks['one by one']}", holds=leaks["one by one"] > 5, planted=True,
    )  # fmt: skip


def test_categories_before_assignment_do_not_give_a_small_one_back():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"arm": np.repeat(["control", "gift"], 300), "city": rng.choice(["a", "b"], 600)})
    table.loc[[*range(7), *range(300, 308)], "city"] = "c"
    table["vip"] = np.arange(600) % 100 == 0  # six members, a flag
    table["spend"] = rng.exponential(10, 600)
    given = {"arm": "arm", "control": "control", "metrics": ["spend"], "min_cell": 11}
    rows = analyze(table, **given, covariates=["city", "vip"]).checks["balance"]
    assert {row["covariate"] for row in rows} == {"city", "vip"}
    assert all(row["mean_control"] is None and row["smd"] is None for row in rows)
    rows = analyze(table.assign(city=rng.choice(["a", "b"], 600)), **given, covariates=["city"]).checks["balance"]
    assert rows[0]["mean_control"] == pytest.approx(0.5, abs=0.1)


def tables_of_a_report(seed):
    """A funnel by arm, its parts by channel, who took part by two segment columns, a tag; each closed by itself."""
    rng = np.random.default_rng(seed)
    n, arms = int(rng.integers(120, 500)), int(rng.integers(2, 5))
    arm = rng.integers(0, arms, n)
    channel = rng.integers(0, 2, n)
    took = rng.random(n) < rng.uniform(0.02, 0.5, (arms, 2))[arm, channel]
    columns = [rng.integers(0, rng.integers(2, 4), n) for _ in range(2)]
    tag = rng.random(n) < 0.3

    def table(cells, unit):
        small = any(0 < cell.sum() < 11 for cell in cells)
        return [Group(cell, not small, unit) for cell in cells]

    groups = [Group(arm == a) for a in range(arms)]
    for a in range(arms):
        groups += table([took & (arm == a)], ("funnel", a))
    for place, values in enumerate(columns):
        groups += table([took & (values == v) for v in np.unique(values)], ("participation", place))
    groups += table([took & tag, took & ~tag], "tag")
    for a in range(arms):
        groups += table([took & (arm == a) & (channel == c) for c in (0, 1)], ("parts", a))
    return groups


def follows(groups, gone):
    """Small groups that are a sum of stated ones: least squares on the members themselves."""
    stated = [g.inside for g in groups if g.shown and g.unit not in gone]
    profiles = np.unique(np.column_stack([g.inside for g in groups]), axis=0)
    known = profiles[:, [g.shown and g.unit not in gone for g in groups]].astype(float)
    found = 0
    for place, group in enumerate(groups):
        if 0 < group.inside.sum() < 11 and stated:
            target = profiles[:, place].astype(float)
            factors = np.linalg.lstsq(known, target, rcond=None)[0]
            found += np.abs(known @ factors - target).max() < 1e-9
    return found


def test_tables_of_one_report_give_nothing_back_together(proof):
    leaky, closed, kept = 0, 0, []
    for seed in range(200):
        groups = tables_of_a_report(seed)
        gone = withheld(groups, 11)
        leaky += follows(groups, ()) > 0
        closed += follows(groups, gone) > 0
        units = {g.unit for g in groups if g.shown and g.unit is not None}
        kept.append(1 - len(units & set(gone)) / len(units) if units else 1.0)
        assert set(gone) <= units, "what is hidden already needs no hiding"
    quantity = "small groups recovered from funnel, participation and tags of one report together, 200 reports"
    assert proof(
        "experiments/small-cells", quantity, method="closed over all tables", target="none", figure=f"{closed}",
        holds=closed == 0,
    )  # fmt: skip
    assert proof(
        "experiments/small-cells", quantity, method="each table closed by itself", target="none", figure=f"{leaky}",
        holds=leaky > 20, planted=True,
    )  # fmt: skip
    assert np.mean(kept) > 0.5, "no more goes than must"


def test_what_must_stay_stays_and_the_last_named_goes_first():
    arm, took = np.repeat([0, 1, 2], 50), np.arange(150) % 50 < np.repeat([30, 20, 4], 50)
    funnel = [Group(took & (arm == a), a < 2, ("funnel", a)) for a in range(3)]
    total = Group(took, unit="participation")
    assert withheld([*funnel, total], 11) == ["participation"]
    assert withheld([total, *funnel], 11) == [("funnel", 1)]
    assert withheld([*funnel[:2], Group(took), funnel[2]], 11) == [("funnel", 1)]
    assert withheld([Group(took & (arm < 2)), Group(took), funnel[2]], 11) == [], "nothing here may go"
    assert withheld([Group(took & (arm == 2), unit="x"), total], 11) == ["x"], "small by itself"
    assert withheld([*funnel, total], 4) == []
    assert withheld([], 11) == []
