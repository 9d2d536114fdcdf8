"""Small made sources, of the same shape as the published ones; every value is invented here."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

HILLSTROM = """\
recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend
1,1) $0 - $100,30.10,1,0,Rural,1,Web,No E-Mail,0,0,0
12,2) $100 - $200,150.00,0,1,Urban,0,Phone,No E-Mail,1,0,0
3,3) $200 - $350,300.55,1,1,Surburban,0,Multichannel,Mens E-Mail,1,1,19.99
6,1) $0 - $100,60.00,0,1,Urban,1,Web,Mens E-Mail,1,0,0
2,1) $0 - $100,45.25,1,0,Rural,0,Web,Womens E-Mail,0,0,0
9,4) $350 - $500,400.01,1,0,Urban,1,Phone,Womens E-Mail,1,1,0.29
"""

GYM = """\
gender,Near_Location,Partner,Promo_friends,Phone,Contract_period,Group_visits,Age,Avg_additional_charges_total,\
Month_to_end_contract,Lifetime,Avg_class_frequency_total,Avg_class_frequency_current_month,Churn
1,1,0,0,1,1,0,25,10.5,1,0,1.5,1.25,1
0,1,1,1,1,12,1,31,80.25,5,7,2.5,2.75,0
1,0,0,0,0,6,1,28,0.125,6,1,0.5,0,0
"""

CDNOW = """\
 customer_id  date number_of_cds  dollar_value
 00001 19970101  1   10.00
 00002 19970110  2   25.50
 00002 19970110  1   12.25
 00002 19970715  3    0.00
 00003 19970331  1    9.99
"""

ONLINE_RETAIL_COLUMNS = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
]
ONLINE_RETAIL = [
    ("100001", "11111", "RED CUP", 6.0, "2011-01-10 09:00", 2.55, 12001.0, "United Kingdom"),
    ("100001", "22222", "BLUE CUP", 2.0, "2011-01-10 09:01", 1.255, 12001.0, "United Kingdom"),
    ("100002", "11111", "RED CUP", 1.0, "2011-07-02 10:30", 2.55, 12002.0, "France"),
    ("C100003", "11111", "RED CUP", -6.0, "2011-07-03 11:00", 2.55, 12001.0, "United Kingdom"),
    ("100004", "PADS", "PADS", 1.0, "2011-08-01 12:00", 0.001, 12002.0, "Spain"),
    ("100005", "22222", None, 3.0, "2011-08-02 12:00", 1.25, None, "United Kingdom"),
    ("A100006", "B", "Adjust", 1.0, "2011-08-03 12:00", -10.0, None, "United Kingdom"),
]

OFFERS = [
    {"id": "f1", "offer_type": "discount", "reward": 4, "difficulty": 9, "duration": 3.0, "channels": ["email"]},
    {"id": "f2", "offer_type": "bogo", "reward": 6, "difficulty": 6, "duration": 2.0, "channels": ["web", "email"]},
    {"id": "f3", "offer_type": "informational", "reward": 0, "difficulty": 0, "duration": 1.0, "channels": ["email"]},
]
MEMBERS = 40


def event(person: str, name: str, hour: int, value: dict[str, object]) -> dict[str, object]:
    return {"person": person, "event": name, "time": hour, "value": value}


def starbucks_events() -> list[dict[str, object]]:
    """Two waves of exactly three in four; m01 is sent f1 in both and completes both when both are open."""
    waves = {0: [f"m{i:02d}" for i in range(30)], 72: ["m01", *(f"m{i:02d}" for i in range(11, 40))]}
    received = [
        event(person, "offer received", hour, {"offer id": "f1" if person == "m01" else ("f1", "f2", "f3")[i % 3]})
        for hour, people in waves.items()
        for i, person in enumerate(people)
    ]
    return [
        *received,
        event("m00", "offer viewed", 6, {"offer id": "f1"}),
        event("m01", "offer viewed", 0, {"offer id": "f1"}),
        event("m01", "offer viewed", 72, {"offer id": "f1"}),
        event("m01", "transaction", 72, {"amount": 9.0}),
        event("m01", "offer completed", 72, {"offer_id": "f1", "reward": 4}),
        event("m01", "offer completed", 72, {"offer_id": "f1", "reward": 4}),
        event("m02", "offer viewed", 60, {"offer id": "f3"}),
        event("m00", "transaction", 0, {"amount": 1.29}),
        event("m00", "transaction", 0, {"amount": 1.29}),
        event("m39", "transaction", 71, {"amount": 0.05}),
        event("m38", "transaction", 72, {"amount": 100.0}),
        event("m03", "transaction", 138, {"amount": 2.5}),
    ]


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_starbucks(folder: Path, events: list[dict[str, object]] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    profile = [
        {
            "gender": None if i == 0 else "FMO"[i % 3],
            "age": 118 if i == 0 else 20 + i,
            "id": f"m{i:02d}",
            "became_member_on": f"2017{1 + i % 12:02d}05",
            "income": None if i == 0 else 30000 + 1000 * i,
        }
        for i in range(MEMBERS)
    ]
    (folder / "portfolio.json").write_text(lines(OFFERS))
    (folder / "profile.json").write_text(lines(profile))
    text = lines(starbucks_events() if events is None else events)
    first, rest = text.split("\n", 1)
    (folder / "transcript.json.gz").write_bytes(gzip.compress(f"{first}\n\n{rest}\n  \n".encode(), mtime=0))
    return folder


def open_bandit_log(policy: str) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    rows = 12
    item = np.arange(rows) % 3
    frame = pd.DataFrame(
        {
            "timestamp": [f"2019-11-24 0{i % 9}:01:29.788{i:03d}+00:00" for i in range(rows)],
            "item_id": item,
            "position": 1 + np.arange(rows) % 3,
            "click": (np.arange(rows) % 6 == 4).astype(int),
            "propensity_score": 1 / 3 if policy == "random" else rng.uniform(0.05, 0.9, rows).round(6),
        }
    )
    for i in range(4):
        frame[f"user_feature_{i}"] = rng.choice(["aa", "bb"], rows)
    for i in range(3):
        frame[f"user-item_affinity_{i}"] = np.where(np.arange(rows) == i, 2.0, 0.0)
    return frame


def write_open_bandit(folder: Path) -> Path:
    for policy in ("random", "bts"):
        place = folder / policy / "women"
        place.mkdir(parents=True, exist_ok=True)
        open_bandit_log(policy).to_csv(place / "women.csv")
        items = pd.DataFrame({"item_id": range(3), "item_feature_0": [0.5, -0.25, 1.0]})
        for i in range(1, 4):
            items[f"item_feature_{i}"] = [f"{policy}{i}{j}" for j in range(3)]
        items.to_csv(place / "item_context.csv")
    return folder


def online_retail_frame() -> pd.DataFrame:
    frame = pd.DataFrame(ONLINE_RETAIL, columns=ONLINE_RETAIL_COLUMNS)
    frame["InvoiceDate"] = pd.to_datetime(frame["InvoiceDate"]).astype("datetime64[us]")
    return frame


def write(name: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if name == "starbucks":
        return write_starbucks(folder)
    if name == "open-bandit":
        return write_open_bandit(folder)
    if name == "online-retail":
        online_retail_frame().to_parquet(folder / "online_retail.parquet", index=False)
        return folder
    file, text = {
        "hillstrom": ("hillstrom.csv", HILLSTROM),
        "gym": ("gym_churn_us.csv", GYM),
        "cdnow": ("CDNOW_master.txt", CDNOW.replace("\n", "\r\n")),
    }[name]
    (folder / file).write_bytes(text.encode())
    return folder


@pytest.fixture
def starbucks_log() -> Callable[[Path, list[dict[str, object]] | None], Path]:
    """Write the made coffee-shop folder, with other events where given."""
    return write_starbucks


@pytest.fixture
def coffee_events() -> list[dict[str, object]]:
    """The events of the made coffee-shop log, to change."""
    return starbucks_events()


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Path]:
    """Write the made source of a data set; gives its folder."""
    return lambda name: write(name, tmp_path / "source" / name)
