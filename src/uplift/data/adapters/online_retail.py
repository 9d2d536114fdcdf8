"""UCI Online Retail: invoices of a British gift shop, December 2010 to December 2011."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from uplift.config import WorkspaceConfig
from uplift.data.adapters._base import (
    Adapter,
    Imported,
    attributes,
    cents,
    contract_table,
    instants,
    locate,
    read_parquet,
    read_text,
)

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
ZONE = "Europe/London"

_EXPECTED = "online_retail.parquet (or the same columns as .csv), or the folder that holds it"


def convert(source: Path) -> Imported:
    """Invoice lines as members, orders (cancellations are refunds) and lines; those without customer kept aside."""
    names = ("online_retail.parquet", "online_retail/online_retail.parquet", "online_retail.csv")
    path = locate(source, "online-retail", names, _EXPECTED)
    read = read_text if path.suffix.lower() in (".csv", ".txt") else read_parquet
    given = read(path, "online-retail", COLUMNS)
    rows = pd.DataFrame(
        {
            "row": range(1, len(given) + 1),
            "invoice": given.text("InvoiceNo"),
            "sku": given.text("StockCode"),
            "quantity": given.number("Quantity"),
            "price": given.number("UnitPrice"),
            "at": given.time("InvoiceDate"),
            "customer": given.number("CustomerID", 0, optional=True),
            "country": given.text("Country"),
        }
    )
    rows["value"] = rows.quantity * rows.price
    known = rows.customer.notna()
    owners = rows.groupby("invoice").customer.nunique(dropna=False)
    given.reject(
        "InvoiceNo", "two_customers", "is billed to two customers", rows.invoice.isin(owners.index[owners > 1])
    )
    given.refuse()

    lines = rows[known].copy()
    lines["member_id"] = lines.customer.astype("int64").astype("str")
    invoices = lines.groupby("invoice", sort=True).agg(
        member_id=("member_id", "first"), at=("at", "min"), latest=("at", "max"), value=("value", "sum")
    )
    refunded = invoices.index.str.upper().str.startswith("C")
    amount = cents(invoices.value)
    orders = {
        "order_id": invoices.index.to_series(),
        "member_id": invoices.member_id,
        "ordered_at": instants(invoices["at"], ZONE),
        "amount": amount,
        "status": pd.Series(refunded).map({True: "refunded", False: "paid"}),
    }
    members = lines.groupby("member_id", sort=True)["at"].min()
    places = lines.sort_values("at", kind="stable").drop_duplicates(["member_id", "country"]).sort_values("member_id")
    line_columns = {
        "order_id": lines.invoice,
        "line": lines.groupby("invoice").cumcount() + 1,
        "sku": lines.sku,
        "quantity": lines.quantity,
        "amount": cents(lines.value),
    }
    since = {"member_id": members.index.to_series(), "registered_at": instants(members, ZONE)}
    tables = {
        "members": contract_table("members", since, len(members)),
        "attributes": attributes(
            places.member_id, {"country": places.country}, instants(places["at"], ZONE), "invoice"
        ),
        "orders": contract_table("orders", orders, len(invoices)),
        "order_lines": contract_table("order_lines", line_columns, len(lines)),
    }
    aside = given.frame.loc[~known, list(COLUMNS)]
    left_out = pa.Table.from_pandas(aside.assign(source_row=rows.row[~known]), preserve_index=False)
    config = WorkspaceConfig(data="data/", timezone=ZONE, currency="GBP", language="en")
    extras = {"unassigned_lines.parquet": left_out.replace_schema_metadata(None)}
    notes = _notes(rows, known, invoices, refunded, amount, members)
    return Imported(tables, config, (), notes, {path.name: path}, extras)


def _notes(
    rows: pd.DataFrame,
    known: pd.Series,
    invoices: pd.DataFrame,
    refunded: pd.Index,
    amount: pd.Series,
    members: pd.Series,
) -> tuple[str, ...]:
    total, kept, aside = rows.value.sum(), rows.value[known].sum(), rows.value[~known].sum()
    rounded = amount.sum() / 100 - kept
    fractions = int((abs(invoices.value * 100 - amount) > 1e-4).sum())
    return (
        f"{len(rows):,} lines in {rows.invoice.nunique():,} invoices, Σ quantity × price {total:,.2f}: "
        f"{int(known.sum()):,} lines ({kept:,.2f}) belong to {len(members):,} customers and became orders; "
        f"{int((~known).sum()):,} lines ({aside:,.2f}) name no customer, can be nobody's order, and are kept in "
        "unassigned_lines.parquet with their row numbers.",
        f"An order is an invoice, its amount the sum of its lines, rounded once to pence: {fractions:,} invoices have "
        f"fractions, which changes the sum by {rounded:,.3f}. Lines are rounded one by one.",
        f"{int(refunded.sum()):,} invoices that start with C are cancellations: orders of their own with negative "
        "amounts "
        "and status 'refunded'. Which purchase they take back is not in the data.",
        f"{int((amount == 0).sum()):,} invoices add up to nothing (goods without charge) and stay as orders of 0.",
        f"{int((invoices['latest'] > invoices['at']).sum()):,} invoices carry two times, a minute or so apart: the "
        "earlier "
        "is used.",
        f"Times are read in {ZONE}. registered_at is a customer's first invoice, so the earliest months look like new "
        "customers. Country became an attribute.",
        "Stock codes name no categories, so category is empty. Costs, channels and marketing are not in the data.",
    )


ADAPTER = Adapter("online-retail", "UCI Online Retail: a year of invoices with cancellations", _EXPECTED, convert)
