"""The as-of rule: a feature as of T sees only rows that happened and were known strictly before T. Every feature."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uplift.features import CATALOGUE, OUTCOMES, Feature, _build, build, catalogue_for

MEMBERS = 24
TIMED = ("members", "attributes", "orders", "events", "balances", "contracts", "assignments", "touches", "decisions")


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


worlds = _load(Path(__file__).parent.parent / "features" / "worlds.py")
T, DAY = worlds.T, worlds.DAY
IDS = [f"m{i}" for i in range(MEMBERS)] + [f"late{i}" for i in range(4)]  # the late ones are not members before T
Rows = dict[str, list[dict[str, Any]]]
Pick = tuple[str, int, str, int]
HOW = ("happens later", "known later", "announced before")


@pytest.fixture(scope="module")
def rows() -> Rows:
    """A world whose tables end before T."""
    tables: Rows = worlds.world(3, MEMBERS)
    kept = {order["order_id"] for order in tables["orders"] if order["ordered_at"] < T}
    past: Rows = {}
    for name, entries in tables.items():
        event_time = worlds.TABLES[name].event_time
        past[name] = [entry for entry in entries if event_time is None or entry[event_time] < T]
    past["order_lines"] = [line for line in past["order_lines"] if line["order_id"] in kept]
    return past


@pytest.fixture(scope="module")
def catalogue(rows: Rows) -> Mapping[str, Feature]:
    with worlds.engine_of(rows) as engine:
        return catalogue_for(engine)


def features_of(rows: Rows, catalogue: Mapping[str, Feature], *times: int, ids: list[str] | None = None) -> pa.Table:
    with worlds.engine_of(rows) as engine:
        return build(engine, worlds.spine_of(ids or IDS, *(times or (T,))), catalogue=catalogue)


@pytest.fixture(scope="module")
def before(rows: Rows, catalogue: Mapping[str, Feature]) -> pa.Table:
    """Features as of T, from what there is before T."""
    return features_of(rows, catalogue)


def changed(left: pa.Table, right: pa.Table) -> set[str]:
    """Columns that differ anywhere, to the bit."""
    return {name for name in left.column_names if not left.column(name).equals(right.column(name))}


def with_violations(rows: Rows, picks: list[Pick]) -> Rows:
    """The world with rows that must not be seen: at or after T, or known only at or after T."""
    more = {name: list(entries) for name, entries in rows.items()}
    for n, (table, offset, how, seed) in enumerate(picks):
        rng = np.random.default_rng(seed)
        at, known_at = {
            "happens later": (T + offset, None),
            "known later": (T - 1 - offset % (1_000 * DAY), T + offset),
            "announced before": (T + offset, T - DAY),
        }[how]
        serial = f"late{seed % 4}" if table == "members" else f"extra{n}"
        if table == "members" and any(entry["member_id"] == serial for entry in more["members"]):
            continue
        more[table].append(worlds.row(rng, table, at, known_at, serial, MEMBERS))
        if table == "orders":
            more["order_lines"] += [worlds.line(rng, serial, i) for i in range(2)]
    return more


OFFSETS = st.one_of(st.sampled_from([0, 1, 1_000_000, DAY, 30 * DAY]), st.integers(0, 500 * DAY))
PICKS = st.lists(
    st.tuples(st.sampled_from(TIMED), OFFSETS, st.sampled_from(HOW), st.integers(0, 2**32 - 1)), min_size=1, max_size=40
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(picks=PICKS)
def test_rows_at_or_after_t_or_known_only_then_change_no_feature(
    picks: list[Pick], rows: Rows, catalogue: Mapping[str, Feature], before: pa.Table
) -> None:
    assert changed(before, features_of(with_violations(rows, picks), catalogue)) == set()


def adversary(seed: int = 0) -> list[Pick]:
    """Many violations in every table, exactly at T, just after it, later, and known late."""
    rng = np.random.default_rng(seed)
    return [
        (table, offset, how, int(rng.integers(2**32)))
        for table in TIMED
        for offset in (0, 0, 0, 1, DAY, 40 * DAY, 100 * DAY, 990 * DAY) * 4
        for how in HOW
    ]


def test_the_adversary_finds_nothing_in_the_true_compiler(
    rows: Rows, catalogue: Mapping[str, Feature], before: pa.Table, proof: Callable[..., bool]
) -> None:
    seen = changed(before, features_of(with_violations(rows, adversary()), catalogue))
    assert proof(
        "features/as-of", "features changed by hundreds of rows at T, after it, or known only then",
        method="as-of compiler, the whole catalogue", target=f"0 of {len(catalogue)}", figure=f"{len(seen)}",
        holds=not seen,
    )  # fmt: skip


def _leak(monkeypatch: pytest.MonkeyPatch, edit: Callable[[str], str]) -> None:
    true = _build.statements
    monkeypatch.setattr(_build, "statements", lambda features: {k: edit(sql) for k, sql in true(features).items()})


def _replace(old: str, new: str) -> Callable[[str], str]:
    def edit(sql: str) -> str:
        assert old in sql or "opened_at" in old
        return sql.replace(old, new)

    return edit


def test_a_compiler_without_the_rule_is_caught_in_every_feature(
    rows: Rows, catalogue: Mapping[str, Feature], before: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted defect: no comparison with the as-of time at all. No feature may escape the adversary."""
    _leak(monkeypatch, _replace("r.happened_at < s.as_of AND r.known_at < s.as_of", "true"))
    escaped = set(catalogue) - changed(before, features_of(with_violations(rows, adversary()), catalogue))
    assert escaped == set()


@pytest.mark.parametrize(
    ("old", "new", "at_least"),
    [
        ("r.happened_at < s.as_of AND", "r.happened_at <= s.as_of AND", 60),
        ("AND r.known_at < s.as_of", "", 60),
        ("AND r.known_at < s.as_of", "AND r.known_at <= s.as_of", 40),
    ],
    ids=["event time at T", "known_at ignored", "known at T"],
)
def test_planted_leaks_are_caught(
    old: str, new: str, at_least: int, rows: Rows, catalogue: Mapping[str, Feature], before: pa.Table,
    monkeypatch: pytest.MonkeyPatch, proof: Callable[..., bool],
) -> None:  # fmt: skip
    _leak(monkeypatch, _replace(old, new))
    caught = len(changed(before, features_of(with_violations(rows, adversary()), catalogue)))
    assert proof(
        "features/as-of", "features changed by the same rows", method=f"{old.replace('AND', '').strip()} replaced by "
        f"{new.replace('AND', '').strip() or 'nothing'}", target=f"at least {at_least}", figure=f"{caught}",
        holds=caught >= at_least, planted=True,
    )  # fmt: skip


def _open_later(rows: Rows) -> Rows:
    """The world in which every touch that was not answered before T is answered at T or later."""
    touches = []
    for n, touch in enumerate(rows["touches"]):
        late = {
            column: T + n % 3 * DAY
            for column in ("opened_at", "clicked_at", "redeemed_at")
            if touch[column] is None or touch[column] >= T
        }
        touches.append(touch | late)
    return rows | {"touches": touches}


def test_what_comes_of_a_touch_later_changes_no_feature(
    rows: Rows, catalogue: Mapping[str, Feature], before: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed(before, features_of(_open_later(rows), catalogue)) == set()
    _leak(monkeypatch, _replace("r.opened_at < s.as_of", "r.opened_at IS NOT NULL"))
    assert "open_rate_365d" in changed(before, features_of(_open_later(rows), catalogue))


def test_every_feature_says_something(before: pa.Table, catalogue: Mapping[str, Feature]) -> None:
    """A feature that is the same for everyone would pass every law here."""
    dull = {name for name in catalogue if before.column(name).drop_null().unique().__len__() < 2}
    assert dull == set()


def test_full_history_and_truncated_history_agree(catalogue: Mapping[str, Feature]) -> None:
    full = worlds.world(5, MEMBERS)
    moment = T - 100 * DAY
    cut = {}
    for name, entries in full.items():
        event_time = worlds.TABLES[name].event_time
        cut[name] = [entry for entry in entries if event_time is None or entry[event_time] < moment]
    left, right = features_of(full, catalogue, moment), features_of(cut, catalogue, moment)
    assert changed(left, right) == set()


def test_a_spine_of_several_times_equals_separate_builds(rows: Rows, catalogue: Mapping[str, Feature]) -> None:
    times = (T, T - 45 * DAY, T - 200 * DAY)
    together = features_of(rows, catalogue, *times)
    apart = pa.concat_tables([features_of(rows, catalogue, at) for at in times]).combine_chunks()
    assert changed(together, apart) == set()


def test_the_order_of_rows_does_not_matter(rows: Rows, catalogue: Mapping[str, Feature], before: pa.Table) -> None:
    rng = np.random.default_rng(1)
    shuffled = {name: [entries[i] for i in rng.permutation(len(entries))] for name, entries in rows.items()}
    assert changed(before, features_of(shuffled, catalogue)) == set()
    order = rng.permutation(len(IDS))
    moved = features_of(rows, catalogue, ids=[IDS[i] for i in order])
    assert changed(before.take(pa.array(order)), moved) == set()


def test_chunks_of_the_spine_do_not_matter(
    rows: Rows, catalogue: Mapping[str, Feature], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = (T, T - 45 * DAY)
    whole = features_of(rows, catalogue, *times)
    monkeypatch.setattr(_build, "_SMALLEST", 7)
    monkeypatch.setattr(_build, "_LARGEST", 10)
    assert changed(whole, features_of(rows, catalogue, *times)) == set()


def test_empty_tables_give_zero_or_unknown(catalogue: Mapping[str, Feature]) -> None:
    empty = features_of({}, catalogue)
    for name, feature in catalogue.items():
        assert set(empty.column(name).to_pylist()) == {feature.empty}, name


def test_outcomes_are_not_features() -> None:
    assert not set(OUTCOMES) & set(CATALOGUE)
