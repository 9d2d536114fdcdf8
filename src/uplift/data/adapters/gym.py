"""Gym churn: one month's snapshot of 4,000 gym members and whether they left in the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from uplift.config import WorkspaceConfig
from uplift.data.adapters._base import (
    Adapter,
    Imported,
    attributes,
    contract_table,
    instants,
    locate,
    plain_number,
    read_text,
    utc,
)

FLAGS = ("gender", "Near_Location", "Partner", "Promo_friends", "Phone", "Group_visits")
MONTHS = ("Contract_period", "Month_to_end_contract", "Lifetime")
NUMBERS = (
    "Age",
    "Avg_additional_charges_total",
    "Avg_class_frequency_total",
    "Avg_class_frequency_current_month",
)
OUTCOME = "Churn"
COLUMNS = (*FLAGS, *MONTHS, *NUMBERS, OUTCOME)
ZONE = "America/New_York"
SNAPSHOT = "2020-02-01"
CHURNED = "2020-03-01"

_EXPECTED = "gym_churn_us.csv, or the folder that holds it"


def convert(source: Path) -> Imported:
    """The snapshot as members, attributes and contracts; churn as an event a month later."""
    path = locate(source, "gym", ("gym_churn_us.csv", "gym_churn/gym_churn_us.csv"), _EXPECTED)
    given = read_text(path, "gym", COLUMNS)
    flags = {name: given.integer(name, 0, 1) for name in FLAGS}
    months = {name: given.integer(name, 0) for name in MONTHS}
    numbers = {name: given.number(name, 0) for name in NUMBERS}
    churned = given.integer(OUTCOME, 0, 1) == 1
    period, left, lifetime = (months[name] for name in MONTHS)
    given.reject("Month_to_end_contract", "out_of_range", "is longer than the contract", left > period)
    given.refuse()

    n = len(given)
    member = pd.Series([f"G{i:05d}" for i in range(1, n + 1)])
    snapshot, later = utc(SNAPSHOT, ZONE), utc(CHURNED, ZONE)
    facts = {name: plain_number(values) for name, values in {**flags, **months, **numbers}.items()}
    contracts = {
        "contract_id": "contract-" + member,
        "member_id": member,
        "product": [f"membership-{m}-months" for m in period.tolist()],
        "starts_at": _months_from_snapshot(left - period),
        "ends_at": _months_from_snapshot(left),
        "known_at": snapshot,
    }
    leaving = {
        "event_id": "churned-" + member[churned],
        "member_id": member[churned],
        "event_at": later,
        "event": "churned",
    }
    tables = {
        "members": contract_table(
            "members", {"member_id": member, "registered_at": _months_from_snapshot(-lifetime)}, n
        ),
        "attributes": attributes(member, facts, snapshot),
        "contracts": contract_table("contracts", contracts, n),
        "events": contract_table("events", leaving, int(churned.sum())),
    }
    before = int(np.sum(period - left > lifetime))
    notes = (
        f"The file has no ids and no dates. Members are numbered by row; the snapshot is put at {SNAPSHOT} ({ZONE}), "
        "so "
        f"score with --as-of 2020-02-02; `Churn` became the event 'churned' on {CHURNED}. It is an outcome: nothing as "
        "of the snapshot can see it. Members without that event stayed.",
        "Lifetime (months) gives registered_at; Contract_period and Month_to_end_contract give the contract's start "
        "and "
        f"end. {before:,} members have a contract older than their lifetime; both are kept as the file has them.",
        "Every column but `Churn` is also an attribute under its own name. `gender` is coded 0 and 1 without a key and "
        "therefore only an attribute; `Age` likewise, since a birth date would be made up.",
        f"{int(churned.sum()):,} of {n:,} members churned ({churned.mean():.5f}). There are no orders and no "
        "campaigns.",
    )
    config = WorkspaceConfig(data="data/", timezone=ZONE, currency="USD", language="en", pack=None)
    return Imported(tables, config, (), notes, {path.name: path})


def _months_from_snapshot(months: np.ndarray) -> pd.Series:
    """Midnight on the first of the month that lies so many months from the snapshot."""
    month = np.datetime64(SNAPSHOT[:7], "M") + months.astype("timedelta64[M]")
    return instants(pd.Series(month.astype("datetime64[s]")), ZONE)


ADAPTER = Adapter("gym", "Gym churn: a snapshot of 4,000 members and who left in the next month", _EXPECTED, convert)
