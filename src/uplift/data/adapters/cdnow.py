"""CDNOW master data (Fader & Hardie): every purchase, to June 1998, of those who first bought in early 1997."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from uplift.config import WorkspaceConfig
from uplift.data.adapters._base import Adapter, Imported, cents, contract_table, instants, locate, read_text

COLUMNS = ("customer_id", "date", "number_of_cds", "dollar_value")
ZONE = "America/New_York"

_EXPECTED = "CDNOW_master.txt (columns separated by blanks), or the folder that holds it"


def convert(source: Path) -> Imported:
    """Purchases as members, orders and one line an order."""
    path = locate(source, "cdnow", ("CDNOW_master.txt", "cdnow/CDNOW_master.txt"), _EXPECTED)
    given = read_text(path, "cdnow", COLUMNS, separator=r"\s+")
    customer = given.text("customer_id")
    day = given.time("date", "%Y%m%d")
    quantity = given.number("number_of_cds", 0)
    amount = cents(given.number("dollar_value", 0))
    given.refuse()

    n = len(given)
    order_id = [f"p{i:06d}" for i in range(1, n + 1)]
    at = instants(day, ZONE)
    first = at.groupby(customer).min()
    orders = {"order_id": order_id, "member_id": customer, "ordered_at": at, "amount": amount, "status": "paid"}
    lines = {"order_id": order_id, "line": 1, "category": "cd", "quantity": quantity, "amount": amount}
    tables = {
        "members": contract_table(
            "members", {"member_id": first.index.to_series(), "registered_at": first}, len(first)
        ),
        "orders": contract_table("orders", orders, n),
        "order_lines": contract_table("order_lines", lines, n),
    }
    again = int(pd.DataFrame({"customer": customer, "day": day}).duplicated().sum())
    notes = (
        f"{n:,} purchases of {len(first):,} customers, {amount.sum() / 100:,.2f} dollars in all. Orders are numbered "
        "by row.",
        f"The file has days, not times: every order lies at midnight, {ZONE}. {again:,} purchases fall on a day on "
        "which "
        "the customer had bought already; they stay separate orders.",
        f"{int((amount == 0).sum()):,} purchases of 0 dollars stay as orders.",
        "registered_at is the first purchase: the cohort was chosen by it (January to March 1997), so nobody here has "
        "registered without buying.",
    )
    config = WorkspaceConfig(data="data/", timezone=ZONE, currency="USD", language="en")
    return Imported(tables, config, (), notes, {path.name: path})


ADAPTER = Adapter("cdnow", "CDNOW: 18 months of purchases of one cohort of customers", _EXPECTED, convert)
