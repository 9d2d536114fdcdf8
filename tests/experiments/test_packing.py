"""Columns grouped by together: everything wanted is in some set, no set is too large, and the sums stay the same."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from uplift.experiments import _sums as sums
from uplift.experiments import analyze_table
from uplift.experiments._packing import GROUPS, covering, packed

SIZES = [[], [3], [50, 50, 2], [2, 3, 4, 5, 6] * 2, [1, 1, 0, 7], list(range(2, 30))]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("arms", [2, 3, 11])
def test_every_column_and_every_pair_has_a_set(sizes, arms):
    sets = packed(sizes, arms)
    assert sorted(itertools.chain(*sets)) == list(range(len(sizes)))
    pairs = covering(sizes, arms)
    assert {pair for own in pairs for pair in itertools.combinations(own, 2)} == set(
        itertools.combinations(range(len(sizes)), 2)
    )
    for own, smallest in [*((own, 1) for own in sets), *((own, 2) for own in pairs)]:
        assert len(own) <= smallest or arms * math.prod(max(sizes[j], 1) for j in own) <= GROUPS


def test_ten_small_columns_are_three_groups_a_row_and_not_eleven():
    assert len(packed([2, 3, 4, 5, 6] * 2, 3)) == 3
    assert len(covering([2, 3, 4, 5, 6] * 2, 3)) < 45 / 2


def test_the_result_does_not_depend_on_what_is_grouped_together(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    n = 3000
    table = pd.DataFrame(
        {"arm": rng.choice(["a", "b"], n), "spend": rng.exponential(20, n) * (rng.random(n) < 0.3)}
        | {f"s{j}": rng.choice([*"uvwxyz"[: j + 2], None], n) for j in range(4)}
        | {"half": rng.choice([0.5, 1.5, np.nan], n)}
    )
    table.to_parquet(tmp_path / "t.parquet")
    given = {"arm": "arm", "control": "a", "metrics": ["spend"], "segments": ["s0", "s1", "s2", "s3", "half"]}
    given["min_cell"] = 150  # some cells are small, so pairs are counted too
    asked = []
    run = sums.Plan.select
    monkeypatch.setattr(sums.Plan, "select", lambda *a, **k: asked.append(a[2]) or run(*a, **k))
    together = analyze_table(tmp_path / "t.parquet", **given).to_dict()
    assert [len(sets) for sets in asked] == [2, 3]  # instead of five and ten
    monkeypatch.setattr(sums, "packed", lambda sizes, arms: [(j,) for j in range(len(sizes))])
    monkeypatch.setattr(sums, "covering", lambda sizes, arms: list(itertools.combinations(range(len(sizes)), 2)))
    assert analyze_table(tmp_path / "t.parquet", **given).to_dict() == together
    assert any(effect["suppressed"] for effect in together["effects"])
