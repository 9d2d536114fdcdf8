from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from uplift.config import ArmSpec, ExperimentSpec, MetricSpec
from uplift.errors import DesignError
from uplift.experiments import assign, hash_uniform

AT = datetime(2026, 3, 1, tzinfo=UTC)


def design(**changes):
    given = {
        "id": "spring",
        "control": "control",
        "arms": (
            ArmSpec(name="gift", share=0.2), ArmSpec(name="control", share=0.5),
            ArmSpec(name="voucher", share=0.3), ArmSpec(name="paused", share=0.0),
        ),
        "metrics": (MetricSpec(name="bought", outcome="ordered"),),
    }  # fmt: skip
    return ExperimentSpec(**(given | changes))


def members(n=6000):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "member_id": [f"m{i}" for i in range(n)],
            "city": rng.choice(["a", "b", None], n, p=[0.7, 0.2, 0.1]),
            "spend": rng.lognormal(3, 1, n),
        }
    )


def test_contract_columns_and_design():
    done = assign(members(), design(), assigned_at=AT)
    assert list(done.table.columns) == ["experiment_id", "member_id", "arm", "propensity", "assigned_at"]
    assert set(done.table["arm"]) == {"control", "gift", "voucher"}
    shares = done.table["arm"].map({"gift": 0.2, "control": 0.5, "voucher": 0.3})
    assert (done.table["propensity"] == shares).all()
    assert done.sample_ratio.passed
    assert str(done.table["assigned_at"].dt.tz) == "UTC"


def test_depends_on_nothing_but_the_member():
    everyone = assign(members(), design(), assigned_at=AT).table.set_index("member_id")["arm"]
    shuffled = members().sample(500, random_state=1)
    some = assign(shuffled, design(), assigned_at=AT).table
    assert (some["arm"].to_numpy() == everyone[some["member_id"]].to_numpy()).all()
    assert some["member_id"].tolist() == shuffled["member_id"].tolist()


@pytest.mark.parametrize("changed", [{"id": "summer"}, {"version": 2}, {"salt": "again"}])
def test_experiments_versions_and_salts_are_independent(changed):
    one = assign(members(), design(), assigned_at=AT).table["arm"]
    other = assign(members(), design(**changed), assigned_at=AT).table["arm"]
    table = pd.crosstab(one, other, normalize=True).to_numpy()
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    statistic = 6000 * ((table - expected) ** 2 / expected).sum()
    assert statistic < 18.5  # χ² with 4 df at p = .001


def test_hashes_are_uniform_and_known():
    u = hash_uniform([f"m{i}" for i in range(20_000)], "salt")
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # χ² with 19 df at p = .001
    assert hash_uniform(["m1"], "salt")[0] == u[1]
    assert u[1] == pytest.approx(KNOWN, abs=1e-15)


KNOWN = 0.4081247494095587  # the same member must fall in the same place for ever


def test_strata_get_their_shares_within_one_member():
    table = members()
    done = assign(table, design(stratify=("city",)), assigned_at=AT).table
    counts = pd.crosstab(table["city"].fillna("?").to_numpy(), done["arm"])
    for city, row in counts.iterrows():
        size = (table["city"].fillna("?") == city).sum()
        for arm, share in {"gift": 0.2, "control": 0.5, "voucher": 0.3}.items():
            assert abs(row[arm] - size * share) <= 1


def test_in_strata_every_member_has_exactly_the_share():
    table = members(7)  # seven members: a systematic deal without a random start would favour some ranks
    table["city"] = "a"
    seen = np.zeros(7)
    for salt in range(400):
        arms = assign(table, design(stratify=("city",), salt=str(salt)), assigned_at=AT).table["arm"]
        seen += (arms == "gift").to_numpy()
    assert np.abs(seen / 400 - 0.2).max() < 4 * np.sqrt(0.2 * 0.8 / 400)


def test_the_holdout_is_never_assigned():
    out = np.arange(6000) % 20 == 0
    done = assign(members(), design(), assigned_at=AT, excluded=out)
    assert done.excluded == 300
    assert not set(members().loc[out, "member_id"]) & set(done.table["member_id"])


def test_balance_is_checked_before_anything_is_sent():
    done = assign(members(), design(covariates=("spend", "city")), assigned_at=AT)
    assert done.balance.passed
    assert {row["covariate"] for row in done.balance.rows} == {"spend", "city"}
    assert {row["arm"] for row in done.balance.rows} == {"gift", "voucher", "paused"}


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (members(20).drop(columns="member_id"), "no column 'member_id'"),
        (pd.concat([members(20), members(5)]), "5 members come more than once"),
        (members(20).assign(member_id=None), "20 rows have no member_id"),
        (members(0), "nobody is left to assign .the population is empty. → check the population"),
    ],
)
def test_members_that_cannot_be_assigned(table, match):
    with pytest.raises(DesignError, match=match):
        assign(table, design(), assigned_at=AT)


@pytest.mark.parametrize("more", [{}, {"stratify": ("spend", "city")}, {"cluster": "city"}])
def test_nobody_left_tells_of_those_who_were_assigned_before(more):
    with pytest.raises(DesignError, match=r"900 members of the population were assigned by earlier .* keep their arm"):
        assign(members(20).iloc[:0], design(**more), assigned_at=AT, earlier=900)
    with pytest.raises(DesignError, match=r"keep their arm, 20 held out, not in any experiment → nothing was changed"):
        assign(members(20), design(**more), assigned_at=AT, excluded=np.ones(20, dtype=bool), earlier=900)


def test_missing_strata_are_named():
    with pytest.raises(DesignError, match="did you mean 'city'"):
        assign(members(20), design(stratify=("citi",)), assigned_at=AT)


def test_shows_itself():
    rows = assign(members(), design(), assigned_at=AT).to_dicts()
    assert [row["arm"] for row in rows] == ["control", "gift", "voucher", "paused"]
    assert sum(row["members"] for row in rows) == 6000
