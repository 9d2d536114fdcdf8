"""Features and segments of real purchases, against the same numbers worked out in pandas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uplift.data import Engine
from uplift.data.adapters import ADAPTERS
from uplift.features import build, outcomes, parse_as_of, spine_of_members
from uplift.segments import assign_segments, rfm, transitions

DATE = "2011-09-01"
ZONE = "Europe/London"


@pytest.fixture(scope="module")
def invoices(real_data: Path) -> pd.DataFrame:
    """One row an invoice of a known customer: when, how much, whether a cancellation."""
    lines = pd.read_parquet(real_data / "online_retail" / "online_retail.parquet")
    lines.columns = [name.lower().replace(" ", "") for name in lines.columns]
    customer = next(name for name in lines.columns if name.startswith("customer"))
    lines = lines[lines[customer].notna()]
    lines = lines.assign(
        member=lines[customer].astype(float).astype(int).astype(str),
        money=lines["quantity"] * lines[next(name for name in lines.columns if name.endswith("price"))],
        when=pd.to_datetime(lines["invoicedate"]).dt.tz_localize(ZONE),
    )
    by = lines.groupby(lines[next(name for name in lines.columns if name.startswith("invoice") and "date" not in name)])
    table = by.agg(member=("member", "first"), when=("when", "min"), money=("money", "sum")).reset_index(
        names="invoice"
    )
    return table.assign(back=table["invoice"].astype(str).str.startswith("C"))


@pytest.fixture(scope="module")
def engine(real_data: Path) -> Iterator[Engine]:
    imported = ADAPTERS["online-retail"].convert(real_data / "online_retail")
    with Engine.from_tables(imported.tables, timezone=imported.config.timezone) as opened:
        yield opened


def test_features_agree_with_pandas(engine: Engine, invoices: pd.DataFrame) -> None:
    moment = pd.Timestamp(DATE, tz=ZONE)
    before = invoices[invoices["when"] < moment]
    bought = before[~before["back"] & (before["money"] >= 0)]
    quarter = bought[bought["when"] >= moment - pd.Timedelta(days=90)]
    expected = pd.DataFrame(
        {
            "orders_total": bought.groupby("member").size(),
            "spend_total": bought.groupby("member")["money"].sum(),
            "orders_90d": quarter.groupby("member").size(),
            "days_since_last_order": (moment - bought.groupby("member")["when"].max()) / pd.Timedelta(days=1),
            "refunds_365d": before[before["back"]].groupby("member").size(),
        }
    )
    found = build(engine, spine_of_members(engine, DATE), list(expected.columns)).to_pandas().set_index("member_id")
    expected = expected.reindex(found.index)
    for name in expected.columns:
        blank = np.nan if name.startswith("days") else 0.0
        np.testing.assert_allclose(found[name], expected[name].fillna(blank), atol=0.011, err_msg=name)
    assert len(found) == before["member"].nunique()


def test_outcomes_agree_with_pandas(engine: Engine, invoices: pd.DataFrame) -> None:
    moment = pd.Timestamp(DATE, tz=ZONE)
    after = invoices[(invoices["when"] > moment) & (invoices["when"] <= moment + pd.Timedelta(days=60))]
    bought = after[~after["back"] & (after["money"] >= 0)]
    wanted = {"orders": ("orders", 60), "spend": ("spend", 60), "churned": ("churned", 60)}
    found = outcomes(engine, spine_of_members(engine, DATE), wanted).to_pandas().set_index("member_id")
    orders = bought.groupby("member").size().reindex(found.index).fillna(0)
    np.testing.assert_array_equal(found["orders"], orders)
    np.testing.assert_array_equal(found["churned"], orders == 0)
    spent = bought.groupby("member")["money"].sum().reindex(found.index).fillna(0)
    np.testing.assert_allclose(found["spend"], 100 * spent, atol=1.1)


def test_segments_moves_and_rfm(engine: Engine) -> None:
    now = assign_segments(engine, DATE)
    assert sum(now.counts.values()) == now.table.num_rows == spine_of_members(engine, DATE).num_rows
    assert min(now.counts[key] for key in ("new", "dormant", "high_value", "active", "regular")) > 40
    values = now.table["value"].to_numpy()
    assert 0.2 <= (values[values > 0] >= now.value_cut).mean() < 0.205
    moves = transitions(engine, "2011-08-01", now)
    assert moves.counts.sum() == now.table.num_rows
    assert moves.counts[-1].sum() == now.table.num_rows - moves.before.table.num_rows
    scored = rfm(engine, DATE)
    share = {group["group"]: group["spend_share"] for group in scored.groups}
    assert share["111"] > 0.4, "few customers bring most of the money"
    assert now.as_of == parse_as_of(DATE, ZONE)
