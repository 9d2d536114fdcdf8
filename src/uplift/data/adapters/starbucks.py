"""Simulated coffee-shop app (Udacity capstone): 10 offers, 17,000 members, six waves of random offers in 30 days."""

from __future__ import annotations

import gzip
import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json as pj
from scipy.special import chdtrc

from uplift.config import ArmSpec, ExperimentSpec, MetricSpec, OutcomeSpec, UpliftSpec, WorkspaceConfig
from uplift.data.adapters._base import (
    SECOND,
    Adapter,
    Imported,
    Source,
    attributes,
    cents,
    contract_table,
    locate,
    plain_number,
    utc,
)
from uplift.errors import ContractError, InputError, Problem

PROFILE = ("gender", "age", "id", "became_member_on", "income")
PORTFOLIO = ("id", "offer_type", "reward", "difficulty", "duration", "channels")
TRANSCRIPT = ("person", "event", "value", "time")
EVENTS = ("offer received", "offer viewed", "offer completed", "transaction")
TYPES = ("bogo", "discount", "informational")
CONTROL = "none"
OFFERED_SHARE = 0.75
MISSING_AGE = 118
HABITS = ("orders_total", "spend_total")  # known of a member once a wave has passed
ZONE = "America/New_York"
HOUR_0 = utc("2018-07-30", ZONE)

_EXPECTED = (
    "the folder with portfolio.json, profile.json and transcript.json (or transcript.json.gz), one object a line"
)
_KINDS = {"bogo": ("买一送一", "Buy one, get one"), "discount": ("满减", "Discount"), "informational": ("资讯", "News")}


def experiment(number: int, hour: int, days: int, offers: list[str]) -> ExperimentSpec:
    """The definition of one wave: three in four members get one of ``offers`` at random, the others none.

    Parameters
    ----------
    number, hour
        Of the wave: 1, 2, …, and its hour in the log.
    days
        Whole days until the next wave, or until the log's last event.
    offers
        Readable offer ids.
    """
    assigned = HOUR_0 + pd.Timedelta(hours=hour) - SECOND
    share = OFFERED_SHARE / len(offers)
    late = "" if number == 1 else " Earlier waves still act, but on members alike in every arm on average."
    return ExperimentSpec(
        id=f"wave-{number}",
        name_zh=f"第 {number} 轮优惠发放",
        name_en=f"Wave {number} of offers",
        hypothesis=f"Members who are sent an offer buy more than those who are sent none.{late}",
        control=CONTROL,
        arms=(
            ArmSpec(name=CONTROL, share=1 - OFFERED_SHARE),
            *(ArmSpec(name=name, share=share, offer_id=name) for name in sorted(offers)),
        ),
        starts_at=assigned.to_pydatetime(),
        ends_at=(assigned + pd.Timedelta(days=days)).to_pydatetime(),
        metrics=(
            MetricSpec(name="conversion", outcome="ordered", window_days=days),
            MetricSpec(name="spend", outcome="spend", kind="mean", window_days=days, unit="money"),
        ),
        covariates=("tenure_days", "attr_age_num", "attr_income_num", *(() if number == 1 else HABITS)),
        segments=("gender",),
    )


def convert(source: Path) -> Imported:
    """The event log as members, offers, six randomised waves, touches and orders."""
    if source.is_file():
        raise InputError(f"{source}: is a file; starbucks expects {_EXPECTED}")
    paths = {
        name: locate(source, "starbucks", files, _EXPECTED)
        for name, files in (
            ("portfolio", ("portfolio.json", "starbucks_offers/portfolio.json")),
            ("profile", ("profile.json", "starbucks_offers/profile.json")),
            ("transcript", _both("transcript.json")),
        )
    }
    offers, names = _offers(paths["portfolio"])
    members, facts, unknown_age = _members(paths["profile"])
    log, blank = _log(paths["transcript"], names, members["member_id"])
    hours = np.sort(log.loc[log.event == EVENTS[0], "time"].unique())
    if not len(hours):
        raise InputError(f"{paths['transcript']}: no offer is received in it, so there is nothing to compare")
    p_value = _hold_to_design(log, hours, len(members), sorted(names.values()), paths["transcript"])

    ids = members["member_id"]
    received = log[log.event == EVENTS[0]]
    end = int(log.time.max())
    assignments, specs = [], []
    for number, hour in enumerate(hours.tolist(), start=1):
        arm = ids.map(received[received.time == hour].set_index("person").offer).fillna(CONTROL)
        share = OFFERED_SHARE / len(names)
        columns = {
            "experiment_id": f"wave-{number}",
            "member_id": ids,
            "arm": arm,
            "propensity": np.where(arm == CONTROL, 1 - OFFERED_SHARE, share),
            "assigned_at": HOUR_0 + pd.Timedelta(hours=hour) - SECOND,
        }
        assignments.append(contract_table("assignments", columns, len(ids)))
        until = hours[number] if number < len(hours) else end
        specs.append(experiment(number, hour, max(int(until - hour) // 24, 1), list(names.values())))

    touches, unmatched, expired, several = _touches(log, offers.set_index("offer_id")["duration"], hours)
    bought = log[log.event == EVENTS[3]]
    orders = {
        "order_id": "t" + bought.line.astype("str").str.zfill(6),
        "member_id": bought.person,
        "ordered_at": _at(bought.time),
        "amount": cents(bought.amount),
        "status": "paid",
    }
    stray = {
        "event_id": "e" + unmatched.line.astype("str").str.zfill(6),
        "member_id": unmatched.person,
        "event_at": _at(unmatched.time),
        "event": unmatched.event.str.replace(" ", "_"),
        "offer_id": unmatched.offer,
    }
    tables = {
        "members": contract_table("members", {k: members[k] for k in members}, len(members)),
        "attributes": attributes(ids, facts, members["registered_at"]),
        "offers": contract_table("offers", {k: offers[k] for k in offers if k != "duration"}, len(offers)),
        "assignments": pa.concat_tables(assignments).combine_chunks(),
        "touches": touches,
        "orders": contract_table("orders", orders, len(bought)),
    }
    if len(unmatched):
        tables["events"] = contract_table("events", stray, len(unmatched))
    notes = (
        f"{len(log):,} events read; {blank:,} blank lines in the log skipped.",
        f"The log counts hours and names no date: hour 0 is put at {HOUR_0.tz_convert(ZONE):%Y-%m-%d %H:%M} {ZONE}, "
        "after "
        "the latest became_member_on. Weekday and hour of day therefore mean nothing.",
        "Offers are named type-reward-difficulty-days (news: type-days), e.g. discount-2-10-10: $2 back on $10, ten "
        "days. cost_redeem is the reward; the cost of contact is not in the data.",
        f"Waves at hours {', '.join(str(h) for h in hours.tolist())} are the experiments wave-1 … wave-{len(hours)}; "
        "the "
        "control `none` is every member who received nothing in the wave. assigned_at lies one second before the "
        "wave's "
        "hour, because transactions of that same hour follow the offer; so a window that ends with the next wave "
        "leaves "
        "out that wave's own hour.",
        f"Propensities are inferred, not logged: {OFFERED_SHARE:.0%} of members get one of {len(names)} offers with "
        "equal "
        f"chance. The shares in every wave agree with it (smallest χ² p-value {p_value:.3f}).",
        "Only wave-1 starts from a clean state; in later ones earlier offers still act, in all arms alike.",
        "A view or completion belongs to the oldest receipt of that offer by that member which is open at the time and "
        f"has none yet: {several:,} times several were open. {expired:,} views came after the offer had ended and "
        "belong "
        f"to the latest receipt. {len(unmatched):,} matched none"
        + (" and are kept as events." if len(unmatched) else "."),
        f"Age {MISSING_AGE} means missing: {unknown_age:,} members, left without age, gender and income.",
        "Rewards paid are not written into orders: whether amounts are before or after them is not known.",
    )
    config = WorkspaceConfig(data="data/", timezone=ZONE, currency="USD", language="en")
    sources = {path.name: path for path in paths.values()}
    return Imported(tables, config, tuple(specs), notes, sources, models={"uplift": uplift_model()})


def uplift_model() -> UpliftSpec:
    """Learn from the first wave alone, in its own window: later waves follow within days and carry over."""
    outcomes = (("conversion", "ordered"), ("spend", "spend"), ("margin", "margin"))
    return UpliftSpec(
        experiments=("wave-1",),
        outcomes=tuple(OutcomeSpec(name=name, outcome=outcome, window_days=7) for name, outcome in outcomes),
    )


def _both(name: str) -> tuple[str, ...]:
    return (f"{name}.gz", name, f"starbucks_offers/{name}.gz", f"starbucks_offers/{name}")


def _lines(path: Path, columns: tuple[str, ...]) -> tuple[pa.Table, Source, int]:
    """One JSON object a line, and how many lines were blank."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    lines = data.split(b"\n")
    kept = [line for line in lines if line.strip()]
    if not kept:
        raise InputError(f"{path}: the file is empty; starbucks expects {_EXPECTED}")
    options = pj.ReadOptions(block_size=max(len(data) + 1, 1 << 20))
    try:
        table = pj.read_json(io.BytesIO(b"\n".join(kept)), read_options=options)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not one JSON object a line: {error}; starbucks expects {_EXPECTED}") from None
    flat = table.flatten() if "value" in columns else table
    frame = flat.select([i for i, kind in enumerate(flat.schema.types) if not pa.types.is_nested(kind)]).to_pandas()
    frame = frame.assign(**{name: None for name in columns if name in table.column_names and name not in frame})
    blank = len(lines) - len(kept) - (not lines[-1].strip())
    return table, Source(path, frame, "starbucks", columns), blank


def _offers(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """The offers table with each offer's days, and published id → readable id."""
    table, given, _ = _lines(path, PORTFOLIO)
    kind = given.text("offer_type", TYPES)
    reward, difficulty, days = (given.integer(name, 0) for name in ("reward", "difficulty", "duration"))
    published = given.text("id")
    given.reject("id", "duplicate_key", "is given twice", published.duplicated())
    given.refuse()
    readable, chinese, english = [], [], []
    for k, r, d, n in zip(kind, reward, difficulty, days, strict=True):
        zh, en = _KINDS[k]
        news = k == "informational"
        readable.append(f"{k}-{n}" if news else f"{k}-{r}-{d}-{n}")
        chinese.append(f"{zh}（{n} 天）" if news else f"{zh}：满 {d} 返 {r}（{n} 天）")
        english.append(f"{en}, {n} days" if news else f"{en}: ${r} on ${d}, {n} days")
    if len(set(readable)) < len(readable):
        raise InputError(f"{path}: two offers have the same type, reward, difficulty and duration")
    channels = table["channels"].to_pylist()
    frame = pd.DataFrame(
        {
            "offer_id": readable,
            "name_zh": chinese,
            "name_en": english,
            "kind": kind,
            "valid_from": HOUR_0,
            "cost_redeem": reward * 100,
            "channel": ["+".join(c) if c else None for c in channels],
            "duration": days,
        }
    ).sort_values("offer_id", ignore_index=True)
    return frame, dict(zip(published, readable, strict=True))


def _members(path: Path) -> tuple[pd.DataFrame, dict[str, Any], int]:
    """The members table, their other facts, and for how many the age is missing."""
    _, given, _ = _lines(path, PROFILE)
    ids = given.text("id")
    since = given.time("became_member_on", "%Y%m%d")
    age = given.number("age", 0, 150)
    income = given.number("income", 0, optional=True)
    gender = given.frame["gender"]
    given.reject("id", "duplicate_key", "is given twice", ids.duplicated())
    given.reject("gender", "unknown_value", "is none of F, M, O", ~(gender.isna() | gender.isin(["F", "M", "O"])))
    registered = since.dt.tz_localize(ZONE).dt.tz_convert("UTC")
    given.reject(
        "became_member_on", "out_of_range", "is later than the first wave", (registered >= HOUR_0).fillna(False)
    )
    given.refuse()
    members = pd.DataFrame({"member_id": ids, "registered_at": registered, "gender": gender})
    unknown = age == MISSING_AGE
    facts = {"age": plain_number(np.where(unknown, np.nan, age)), "income": plain_number(income)}
    return members, facts, int(unknown.sum())


def _log(path: Path, names: dict[str, str], members: pd.Series) -> tuple[pd.DataFrame, int]:
    """The event log with readable offers and 1-based numbers of its non-blank lines, and how many lines were blank."""
    _, given, blank = _lines(path, TRANSCRIPT)
    for name in ("value.offer id", "value.offer_id", "value.amount"):
        if name not in given.frame:
            given.frame[name] = np.nan
    event = given.text("event", EVENTS)
    person = given.text("person")
    hour = given.integer("time", 0)
    offer = given.frame["value.offer id"].fillna(given.frame["value.offer_id"])
    sold = event == EVENTS[3]
    amount = given.number("value.amount", 0, optional=True)
    given.reject("person", "unknown_member", "is not among the profiles", ~person.isin(members))
    given.reject("value.amount", "missing_value", "has no value in a transaction", sold & np.isnan(amount))
    given.reject("value.offer id", "unknown_offer", "is not in the portfolio", ~sold & ~offer.isin(list(names)))
    frame = pd.DataFrame({"person": person, "event": event, "time": hour, "offer": offer.map(names), "amount": amount})
    frame["line"] = np.arange(1, len(frame) + 1)
    twice = (event == EVENTS[0]) & frame.duplicated(["person", "event", "time"], keep=False)
    given.reject("event", "duplicate_key", "is a second offer for the same member in one wave", twice)
    given.refuse()
    return frame, blank


def _hold_to_design(log: pd.DataFrame, hours: np.ndarray, members: int, offers: list[str], path: Path) -> float:
    """The smallest χ² p-value of a wave's shares against the inferred design; refuses a log that contradicts it."""
    received = log[log.event == EVENTS[0]]
    counts = pd.crosstab(received.time, received.offer).reindex(index=hours, columns=offers, fill_value=0).to_numpy()
    observed = np.column_stack([counts, members - counts.sum(axis=1)])
    expected = members * np.r_[np.full(len(offers), OFFERED_SHARE / len(offers)), 1 - OFFERED_SHARE]
    p_values = chdtrc(len(offers), ((observed - expected) ** 2 / expected).sum(axis=1))
    wrong = p_values < 0.001 / len(hours)
    if wrong.any():
        text = (
            "does not hold three members in four with one of the offers at random, so propensities cannot be inferred"
        )
        shares = tuple(
            f"hour {h}: {s:.1%} offered" for h, s in zip(hours[wrong], 1 - observed[wrong, -1] / members, strict=True)
        )
        remedy = "take the whole published log; nothing was imported"
        raise ContractError(
            [Problem(path.name, "event", "design", f"the wave {text}", int(wrong.sum()), shares[:5], remedy)]
        )
    return float(p_values.min())


def _touches(log: pd.DataFrame, days: pd.Series, hours: np.ndarray) -> tuple[pa.Table, pd.DataFrame, int, int]:
    """Receipts with their view and completion; the events that match none; views after the end; ambiguous matches."""
    received = log[log.event == EVENTS[0]].reset_index(drop=True)
    receipts: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(received.person, received.offer, strict=True)):
        receipts[key].append(row)
    sent = received.time.to_numpy()
    ends = sent + received.offer.map(days).to_numpy() * 24
    when = {EVENTS[1]: np.full(len(sent), np.nan), EVENTS[2]: np.full(len(sent), np.nan)}
    stray, expired, several = [], 0, 0
    later = log[log.event.isin(list(when))].sort_values(["time", "line"])
    for line, event, person, offer, time in later[["line", "event", "person", "offer", "time"]].itertuples(index=False):
        free = [r for r in receipts.get((person, offer), ()) if sent[r] <= time and np.isnan(when[event][r])]
        active = [r for r in free if time <= ends[r]]
        several += len(active) > 1
        if active:
            when[event][active[0]] = time
        elif free and event == EVENTS[1]:
            when[event][free[-1]] = time
            expired += 1
        else:
            stray.append(line)
    wave = pd.Series(np.searchsorted(hours, sent) + 1).astype("str")
    columns = {
        "touch_id": "w" + wave + "-" + received.person,
        "member_id": received.person,
        "experiment_id": "wave-" + wave,
        "offer_id": received.offer,
        "sent_at": _at(received.time),
        "opened_at": _at(pd.Series(when[EVENTS[1]])),
        "redeemed_at": _at(pd.Series(when[EVENTS[2]])),
    }
    return contract_table("touches", columns, len(received)), log[log.line.isin(stray)], expired, several


def _at(hour: pd.Series) -> pd.Series:
    return HOUR_0 + pd.to_timedelta(hour, unit="h")


ADAPTER = Adapter(
    "starbucks", "Simulated coffee-shop app: 17,000 members, ten offers in six random waves", _EXPECTED, convert
)
