"""Segments, their moves, RFM and audiences on members whose place is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from uplift.config import Workspace
from uplift.data import Engine
from uplift.errors import ConfigError, InputError, RuleError
from uplift.features import build, spine_of_members
from uplift.segments import (
    GROUP_NAMES,
    SEGMENT_NAMES,
    assign_segments,
    audience,
    build_columns,
    default_thresholds,
    rfm,
    saved_audiences,
    segment_features,
    segment_of,
    transitions,
    value_cuts,
    workspace_thresholds,
)
from uplift.segments import _assign as assigning
from uplift.segments.thresholds import Compiled

AS_OF = datetime(2025, 6, 15, 16, tzinfo=UTC)  # midnight of 16 June in Shanghai
DAY = timedelta(days=1)

# member → (registered days ago, [(days ago, yuan), …])
LIVES: dict[str, tuple[float, list[tuple[float, int]]]] = {
    "fresh": (10, [(5, 50)]),
    "fresh_quiet": (10, []),
    "busy_newcomer": (10, [(5, 50), (3, 50)]),
    "sleeper": (400, [(91, 80), (200, 900)]),
    "rich_sleeper": (400, [(120, 9_000)]),
    "whale": (400, [(20, 5_000)]),
    "regular_buyer": (400, [(3, 40), (20, 40)]),
    "now_and_then": (400, [(60, 70)]),
    "visitor": (400, []),
    "at_the_edge": (400, [(90, 60)]),
    "not_yet": (-1, []),
}
EXPECTED = {
    "fresh": "new", "fresh_quiet": "new", "busy_newcomer": "active", "sleeper": "dormant", "rich_sleeper": "dormant",
    "whale": "high_value", "regular_buyer": "active", "now_and_then": "regular", "visitor": "never_bought",
    "at_the_edge": "regular",
}  # fmt: skip


def tables(lives: dict[str, tuple[float, list[tuple[float, int]]]] = LIVES) -> dict[str, pd.DataFrame]:
    orders = [(name, AS_OF - days * DAY, yuan * 100) for name, (_, bought) in lives.items() for days, yuan in bought]
    return {
        "members": pd.DataFrame(
            {
                "member_id": list(lives),
                "registered_at": [AS_OF - days * DAY for days, _ in lives.values()],
                "city": "上海",
            }
        ),
        "orders": pd.DataFrame(orders, columns=["member_id", "ordered_at", "amount"]).assign(
            order_id=[str(n) for n in range(len(orders))]
        ),
    }


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.from_tables(tables(), threads=1) as opened:
        yield opened


def crowd(seed: int, members: int = 300) -> Engine:
    """Random lives."""
    rng = np.random.default_rng(seed)
    lives = {
        f"m{i:04}": (
            float(rng.integers(1, 600)),
            [(float(rng.random() * 400), int(rng.lognormal(4, 1))) for _ in range(rng.poisson(rng.gamma(1, 4)))],
        )
        for i in range(members)
    }
    return Engine.from_tables(tables(lives), threads=1)


class TestSegments:
    def test_everyone_is_where_they_belong(self, engine: Engine) -> None:
        found = assign_segments(engine, "2025-06-16")
        placed = dict(zip(found.table["member_id"].to_pylist(), found.table["segment"].to_pylist(), strict=True))
        assert placed == EXPECTED
        assert sum(found.counts.values()) == len(EXPECTED)
        assert list(found.counts) == list(SEGMENT_NAMES)
        assert found.names["dormant"] == ("沉睡", "Dormant")

    @pytest.mark.parametrize("seed", range(3))
    def test_exactly_one_each_and_the_top_fifth_reaches_the_bar(self, seed: int) -> None:
        with crowd(seed) as engine:
            found = assign_segments(engine, "2025-06-16")
            members = spine_of_members(engine, "2025-06-16").num_rows
        assert found.table.num_rows == members == sum(found.counts.values())
        assert found.table["segment"].null_count == 0
        values = found.table["value"].to_numpy()
        positive = values[values > 0]
        at_least = (positive >= found.value_cut).mean()
        assert 0.2 <= at_least < 0.2 + 2 / len(positive)
        chosen = values[np.array(found.table["segment"].to_pylist()) == "high_value"]
        assert chosen.min() >= found.value_cut

    def test_value_is_spend_stored_value_and_loyalty(self, engine: Engine) -> None:
        found = assign_segments(engine, "2025-06-16")
        value = dict(zip(found.table["member_id"].to_pylist(), found.table["value"].to_pylist(), strict=True))
        assert value["whale"] == pytest.approx(5_000 * (1 + 0.1 * 400 / 365))

    def test_a_built_table_gives_the_same_segments(self, engine: Engine) -> None:
        features = build(engine, spine_of_members(engine, "2025-06-16"), segment_features())
        whole = assign_segments(engine, "2025-06-16").table["segment"].to_pylist()
        assert segment_of(features).to_pylist() == whole
        assert segment_of(features, engine=engine).to_pylist() == whole
        assert segment_of(features.to_pandas(), cuts=value_cuts(engine, [AS_OF])).to_pylist() == whole
        part = features.take(pa.array([3, 7]))
        assert segment_of(part, engine=engine).to_pylist() == [whole[3], whole[7]]

    def test_many_times_at_once_equal_each_by_itself(self) -> None:
        with crowd(5) as engine:
            dates = ["2025-04-01", "2025-05-01", "2025-06-01"]
            spines = [spine_of_members(engine, day) for day in dates]
            features = build(engine, pa.concat_tables(spines), segment_features())
            apart = [key for day in dates for key in assign_segments(engine, day).table["segment"].to_pylist()]
            assert segment_of(features, engine=engine).to_pylist() == apart

    def test_the_bar_never_sees_what_comes_later(self) -> None:
        """Orders at or after the day leave its bar alone; the planted leak, orders before it, move it."""
        lives = dict(LIVES)
        with Engine.from_tables(tables(lives)) as engine:
            bar = value_cuts(engine, [AS_OF, AS_OF + 0.4 * DAY])
        later = {name: (days, [*bought, (-0.2, 90_000)]) for name, (days, bought) in lives.items()}
        with Engine.from_tables(tables(later)) as engine:
            assert value_cuts(engine, [AS_OF, AS_OF + 0.4 * DAY]) == bar
        sooner = {name: (days, [*bought, (0.2, 90_000)]) for name, (days, bought) in lives.items()}
        with Engine.from_tables(tables(sooner)) as engine:
            assert value_cuts(engine, [AS_OF])[AS_OF] > bar[AS_OF]

    def test_many_days_share_the_bar_of_their_month(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(assigning, "MAX_DAYS", 1)
        cuts = value_cuts(engine, [AS_OF, AS_OF - 3 * DAY])
        assert len(set(cuts.values())) == 1
        first = datetime(2025, 5, 31, 16, tzinfo=UTC)
        assert cuts[AS_OF] == value_cuts(engine, [first])[first]

    def test_too_few_rows_to_find_the_bar_are_refused(self, engine: Engine) -> None:
        spines = pa.concat_tables([spine_of_members(engine, day) for day in ("2025-06-16", "2025-06-10")])
        with pytest.raises(InputError, match="pass engine="):
            segment_of(build(engine, spines, segment_features()))

    def test_missing_features_are_named(self) -> None:
        with pytest.raises(InputError, match="orders_total"):
            segment_of(pa.table({"as_of": pa.array([AS_OF], pa.timestamp("us", "UTC"))}))

    def test_nobody_is_fine(self) -> None:
        with Engine.from_tables({}) as engine:
            found = assign_segments(engine, "2025-06-16")
        assert set(found.counts.values()) == {0}
        assert found.to_dicts()[0]["share"] is None


class TestThresholds:
    def workspace(self, folder: Path, text: str | None = None) -> Workspace:
        (folder / "uplift.yaml").write_text("data: data/\n", encoding="utf-8")
        if text is not None:
            (folder / "segments.yaml").write_text(text, encoding="utf-8")
        return Workspace.open(folder)

    def test_a_workspace_has_its_own(self, tmp_path: Path, engine: Engine) -> None:
        packaged = Path(assigning.__file__).with_name("thresholds.yaml").read_text(encoding="utf-8")
        changed = packaged.replace("days_since_last_order > 90", "days_since_last_order > 30")
        thresholds = workspace_thresholds(self.workspace(tmp_path, changed))
        found = assign_segments(engine, "2025-06-16", thresholds)
        placed = dict(zip(found.table["member_id"].to_pylist(), found.table["segment"].to_pylist(), strict=True))
        assert placed["now_and_then"] == placed["at_the_edge"] == "dormant"
        assert workspace_thresholds(self.workspace(tmp_path.parent)) == default_thresholds()

    def test_everything_wrong_is_listed(self, tmp_path: Path) -> None:
        packaged = Path(assigning.__file__).with_name("thresholds.yaml").read_text(encoding="utf-8")
        wrong = packaged.replace("tenure_days <= 30", "tenure_dais <= 30").replace("orders_30d >= 2", "orders_30d")
        with pytest.raises(ConfigError) as caught:
            workspace_thresholds(self.workspace(tmp_path, wrong))
        for part in ("segments.yaml", "tenure_days", "gives number", "new:", "active:"):
            assert part in str(caught.value)

    @pytest.mark.parametrize(
        ("old", "new", "part"),
        [
            ("key: active", "key: new", "keys must differ"),
            ("    rule: orders_total = 0\n", "", "every segment but the last needs a rule"),
            ("top_share: 0.2", "top_share: 20", "between 0 and 1"),
            ("high: 4", "high: 9", "above the best score"),
            ("scores: 5", "scores: 5\n  recency_edges: [7, 30, 3, 90]", "ascending numbers"),
            ("scores: 5", "scorse: 5", "did you mean 'scores'"),
            ("  - key: regular\n", "  - key: Regular\n", "pattern"),
        ],
    )
    def test_each_mistake_has_its_message(self, tmp_path: Path, old: str, new: str, part: str) -> None:
        packaged = Path(assigning.__file__).with_name("thresholds.yaml").read_text(encoding="utf-8")
        assert old in packaged
        with pytest.raises(ConfigError) as caught:
            workspace_thresholds(self.workspace(tmp_path, packaged.replace(old, new)))
        assert part in str(caught.value)

    def test_the_rules_read_the_catalogue(self) -> None:
        compiled = Compiled(default_thresholds())
        assert "value" not in compiled.features
        assert {"orders_total", "tenure_days", "spend_365d"} <= set(compiled.features)


class TestMoves:
    def test_who_went_where(self, engine: Engine) -> None:
        moves = transitions(engine, "2025-05-16", "2025-06-16")
        cell = {(row["from"], row["to"]): row["members"] for row in moves.to_dicts()}
        # a month before: whale had not bought yet, regular_buyer neither; sleeper's last purchase was 60 days old
        assert cell["never_bought", "high_value"] == 1
        assert cell["joined", "new"] == 2
        assert cell["joined", "active"] == 1
        assert moves.counts.sum() == len(EXPECTED)
        assert moves.counts.sum(axis=0).tolist() == list(moves.after.counts.values())
        assert moves.counts.sum(axis=1)[:-1].tolist() == list(moves.before.counts.values())

    @pytest.mark.parametrize("seed", range(2))
    def test_margins_are_the_segments_of_both_dates(self, seed: int) -> None:
        with crowd(seed) as engine:
            moves = transitions(engine, "2025-04-16", "2025-06-16")
        assert moves.counts.sum(axis=0).tolist() == list(moves.after.counts.values())
        assert moves.counts.sum(axis=1)[:-1].tolist() == list(moves.before.counts.values())

    def test_time_goes_forward(self, engine: Engine) -> None:
        with pytest.raises(InputError, match="earlier time to a later one"):
            transitions(engine, "2025-06-16", "2025-06-16")


class TestRFM:
    def test_scores_follow_their_edges(self) -> None:
        with crowd(11) as engine:
            found = rfm(engine, "2025-06-16")
            names = ["days_since_last_order", "orders_365d", "spend_365d", "orders_total"]
            everyone = build(engine, spine_of_members(engine, "2025-06-16"), names).to_pandas()
        built = everyone.query("orders_total > 0")
        table = found.table.to_pandas()
        assert table["member_id"].tolist() == built["member_id"].tolist()
        for measure, feature in (("frequency", "orders_365d"), ("monetary", "spend_365d")):
            edges = np.array(found.edges[measure])
            assert table[measure].tolist() == [1 + int((edges < value).sum()) for value in built[feature]]
        edges = np.array(found.edges["recency"])
        assert table["recency"].tolist() == [5 - int((edges < value).sum()) for value in built["days_since_last_order"]]
        share = table["monetary"].value_counts(normalize=True)
        assert share.between(0.15, 0.25).all(), "money has no ties, so fifths are fifths"

    def test_groups_add_up(self) -> None:
        with crowd(12) as engine:
            found = rfm(engine, "2025-06-16")
            members = spine_of_members(engine, "2025-06-16").num_rows
        assert [group["group"] for group in found.groups] == list(GROUP_NAMES)
        assert sum(group["members"] for group in found.groups) == found.table.num_rows
        assert found.table.num_rows + found.not_scored == members
        assert sum(group["spend_share"] for group in found.groups) == pytest.approx(1)
        best = found.table.to_pandas().query("group == '111'")
        assert (best[["recency", "frequency", "monetary"]] >= 4).all().all()

    def test_given_edges_are_used(self, engine: Engine) -> None:
        thresholds = default_thresholds()
        spec = thresholds.rfm.model_copy(update={"recency_edges": (7.0, 30.0, 60.0, 90.0)})
        found = rfm(engine, "2025-06-16", thresholds.model_copy(update={"rfm": spec}))
        score = dict(zip(found.table["member_id"].to_pylist(), found.table["recency"].to_pylist(), strict=True))
        assert [score[name] for name in ("fresh", "whale", "now_and_then", "at_the_edge", "sleeper")] == [5, 4, 3, 2, 1]

    def test_nobody_bought(self) -> None:
        with Engine.from_tables({"members": tables()["members"]}) as engine:
            found = rfm(engine, "2025-06-16")
        assert found.table.num_rows == 0
        assert found.not_scored == len(EXPECTED)


class TestAudience:
    def test_has_bought_and_not_lately(self, engine: Engine) -> None:
        found = audience(engine, "orders_total >= 1 AND days_since_last_order > 30", "2025-06-16")
        assert found.member_ids["member_id"].to_pylist() == ["at_the_edge", "now_and_then", "rich_sleeper", "sleeper"]
        assert (found.size, found.population, found.unknown) == (4, 10, 0)
        assert found.share == pytest.approx(0.4)

    def test_unknown_is_not_selected_and_the_field_is_named(self, engine: Engine) -> None:
        found = audience(engine, "days_since_last_order > 30 AND city = '上海'", "2025-06-16")
        assert (found.unknown, dict(found.missing)) == (2, {"days_since_last_order": 2})

    def test_segments_are_a_column(self, engine: Engine) -> None:
        found = audience(engine, "segment IN ('new', 'active')", "2025-06-16")
        assert found.member_ids["member_id"].to_pylist() == ["busy_newcomer", "fresh", "fresh_quiet", "regular_buyer"]
        table = build_columns(engine, spine_of_members(engine, "2025-06-16"), ["orders_total", "segment", "city"])
        assert table.column_names == ["member_id", "as_of", "orders_total", "segment", "city"]

    def test_wrong_rules_are_refused(self, engine: Engine) -> None:
        with pytest.raises(RuleError, match="did you mean 'orders_total'"):
            audience(engine, "order_total >= 1", "2025-06-16")

    def test_saved_ones(self, tmp_path: Path) -> None:
        (tmp_path / "uplift.yaml").write_text("data: data/\n", encoding="utf-8")
        workspace = Workspace.open(tmp_path)
        assert saved_audiences(workspace) == {}
        (tmp_path / "audiences.yaml").write_text("lapsed: days_since_last_order > 30\n", encoding="utf-8")
        assert saved_audiences(workspace) == {"lapsed": "days_since_last_order > 30"}
        (tmp_path / "audiences.yaml").write_text("lapsed: [1]\n", encoding="utf-8")
        with pytest.raises(ConfigError, match="lapsed"):
            saved_audiences(workspace)
