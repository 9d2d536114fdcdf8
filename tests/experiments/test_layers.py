from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from uplift.config import ArmSpec, ExperimentSpec, MetricSpec
from uplift.errors import DesignError
from uplift.experiments.assignment import assign
from uplift.experiments.layers import layer_conflicts
from uplift.experiments.versions import Version, plain, poolable, refuse_silent_change, version_notes

AT = datetime(2026, 3, 1, tzinfo=UTC)


def design(**changes):
    given = {
        "id": "spring", "control": "control",
        "arms": (ArmSpec(name="control", share=0.5), ArmSpec(name="gift", share=0.5)),
        "metrics": (MetricSpec(name="bought", outcome="ordered"),),
    }  # fmt: skip
    return ExperimentSpec(**(given | changes))


def members(n=12_000, stores=60):
    rng = np.random.default_rng(0)
    store = rng.integers(0, stores, n)
    return pd.DataFrame(
        {
            "member_id": [f"m{i}" for i in range(n)],
            "store": pd.Series([f"s{i}" for i in store]).where(rng.random(n) > 0.05),
            "size": np.where(store < 20, 5.0, 1.0) + rng.normal(0, 0.1, n),
        }
    )


def assigned(spec, table=None, **more):
    return assign(members() if table is None else table, spec, assigned_at=AT, **more)


# -- layers ---------------------------------------------------------------------------------------------------------


def test_slices_of_a_layer_exclude_each_other_and_fill_it():
    parts = [(0, 0.3), (0.3, 0.8), (0.8, 1)]
    done = [assigned(design(id=f"e{i}", layer="app", layer_slice=part)) for i, part in enumerate(parts)]
    ids = [set(one.table["member_id"]) for one in done]
    assert sum(len(i) for i in ids) == len(set.union(*ids)) == 12_000
    assert len(ids[1]) == pytest.approx(6000, abs=250)
    assert done[1].elsewhere == 12_000 - len(ids[1])
    assert all(one.sample_ratio.passed for one in done)


def test_layers_are_independent_and_overlap():
    one, other = (assigned(design(id=layer, layer=layer, layer_slice=(0, 0.5))).table for layer in ("app", "store"))
    both = one.merge(other, on="member_id")
    assert len(both) == pytest.approx(3000, abs=200)
    table = pd.crosstab(both["arm_x"], both["arm_y"]).to_numpy()
    expected = len(both) / 4
    assert ((table - expected) ** 2 / expected).sum() < 16.3  # χ² with 3 df at p = .001


def test_the_holdout_is_in_no_layer():
    out = np.arange(12_000) % 20 == 0
    done = assigned(design(layer="app", layer_slice=(0, 0.5)), excluded=out)
    assert not set(members().loc[out, "member_id"]) & set(done.table["member_id"])
    assert done.excluded == 600


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"layer_slice": (0.4, 0.6)}, "overlaps"),
        ({"layer_slice": (0.5, 1), "cluster": "store"}, "another unit"),
    ],
)
def test_conflicts_within_a_layer(changes, match):
    first = design(layer="app", layer_slice=(0, 0.5))
    assert match in layer_conflicts(design(id="summer", layer="app", **changes), [first])[0]


def test_no_conflict_next_to_each_other_after_each_other_or_elsewhere():
    first = design(layer="app", layer_slice=(0, 0.5), ends_at=AT)
    for changes in (
        {"layer": "app", "layer_slice": (0.5, 1)},
        {"layer": "app", "layer_slice": (0, 1), "starts_at": AT},
        {"layer": "store"},
        {},
    ):
        assert layer_conflicts(design(id="summer", **changes), [first]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_slice": (0, 0.5)},
        {"layer": "app", "layer_slice": (0.5, 0.5)},
        {"looks": {"at": [0.5, 1]}},
        {"looks": {"at": [0.5]}, "planned_size": 100},
        {"tags": ({"name": "t", "rule": "a > 1", "arms": ["control"]},)},
    ],
)
def test_definitions_that_make_no_sense(changes):
    with pytest.raises(ValueError, match=r"layer|looks|tag"):
        design(**changes)


# -- clusters -------------------------------------------------------------------------------------------------------


def test_whole_stores_are_assigned():
    done = assigned(design(cluster="store"))
    table = done.table.merge(members(), on="member_id")
    assert (table.groupby("store")["arm"].nunique() == 1).all()
    assert done.clusters == 60
    assert done.sample_ratio.observed == {"control": 30, "gift": 30}
    assert done.sample_ratio.unit == "cluster"
    assert done.without_cluster == members()["store"].isna().sum()
    assert len(table) + done.without_cluster == 12_000


def test_stores_are_dealt_out_within_strata_by_their_average_member():
    table = assigned(design(cluster="store", stratify=("size",))).table.merge(members(), on="member_id")
    stores = table.groupby("store").agg(arm=("arm", "first"), size=("size", "mean"))
    large = stores[stores["size"] > 3]
    assert abs((large["arm"] == "gift").sum() - 10) <= 1  # two quarters meet in them, each within half a store


def test_every_store_has_exactly_its_share():
    spec = {"arms": (ArmSpec(name="control", share=0.75), ArmSpec(name="gift", share=0.25)), "cluster": "store"}
    table = members(400, stores=9).dropna()
    seen = pd.Series(0.0, index=sorted(table["store"].unique()))
    for salt in range(400):
        arms = assigned(design(**spec, salt=str(salt)), table).table.merge(table, on="member_id")
        seen += (arms.groupby("store")["arm"].first() == "gift").astype(float)
    assert (seen / 400 - 0.25).abs().max() < 4 * np.sqrt(0.25 * 0.75 / 400)


def test_too_few_stores():
    with pytest.raises(DesignError, match="3 values of 'store' cannot be shared out"):
        assigned(design(cluster="store"), members(400, stores=3))


# -- versions -------------------------------------------------------------------------------------------------------


def version(spec, n=100):
    return Version(spec.version, AT.isoformat(), n, f"{spec.id}-v{spec.version}.parquet", plain(spec))


@pytest.mark.parametrize(
    "changes",
    [
        {"population": "orders_total > 1"},
        {"salt": "x"},
        {"cluster": "store"},
        {"layer": "app"},
        {"arms": (ArmSpec(name="control", share=0.4), ArmSpec(name="gift", share=0.6))},
    ],
)
def test_a_change_of_design_needs_a_new_version(changes):
    known = [version(design())]
    with pytest.raises(DesignError, match=f"{next(iter(changes))}.* changed since version 1 .* raise `version` to 2"):
        refuse_silent_change(design(**changes), known)
    refuse_silent_change(design(**changes, version=2), known)
    with pytest.raises(DesignError, match="older than version 3"):
        refuse_silent_change(design(version=2), [*known, version(design(version=3))])


def test_what_decides_only_how_results_are_read_is_told():
    known = [version(design())]
    later = design(metrics=(MetricSpec(name="spend", outcome="spend", kind="mean"),), segments=("city",))
    refuse_silent_change(later, known)
    assert [note.en for note in version_notes(later, known)] == ["changed after the start: metrics, segments"]
    assert version_notes(design(), known) == []


def test_versions_with_other_arms_are_not_pooled():
    third = (*design().arms[:1], ArmSpec(name="voucher", share=0.5))
    with pytest.raises(DesignError, match="cannot be measured together → measure one of them: --version 2"):
        poolable([version(design()), version(design(version=2, arms=third))])
    with pytest.raises(DesignError, match="assign other units"):
        poolable([version(design()), version(design(version=2, cluster="store"))])
    poolable([version(design()), version(design(version=2, salt="x"))])
