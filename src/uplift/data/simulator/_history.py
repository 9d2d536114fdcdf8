"""What happened, as tables: orders with their lines and contracts, events, balances."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from uplift.data.simulator._activity import EVENTS, FORMS, Events, plain_events
from uplift.data.simulator._context import Context, repeated, stacked
from uplift.data.simulator._members import Floats, Ints
from uplift.data.simulator._purchases import CHANNELS, STATUSES, Orders
from uplift.data.simulator._tables import coded, contract_table

ACCOUNTS = ("stored_value", "points", "sessions")
PRODUCTS_A_CATEGORY = 40


def order_tables(context: Context) -> dict[str, pa.Table]:
    """Orders, their lines, and the contracts that some of them began."""
    industry = context.plan.industry
    held = stacked(Orders, context.chunk.orders)
    member, day, known = held["member"], held["day"], held["known"]
    ids = context.number("O", len(member))
    orders = contract_table(
        "orders",
        {
            "order_id": ids,
            "member_id": context.member(member),
            "ordered_at": context.at(day),
            "store_id": coded([f"S{i + 1:03d}" for i in range(industry.stores)], held["store"]),
            "channel": coded(CHANNELS, held["channel"]),
            "amount": held["amount"],
            "discount": held["gross"] - held["amount"],
            "cost": held["cost"],
            "status": coded(STATUSES, held["status"]),
            "points_earned": held["earned"],
            "points_spent": held["spent"],
            "known_at": context.at(np.where(known > day, known, np.nan)),
        },
    )
    return {
        "orders": orders,
        "order_lines": _lines(context, ids, member, held["amount"], held["card"]),
        "contracts": _contracts(context, member, day, held["card"], held["counts"]),
    }


def _lines(context: Context, ids: pa.Array, member: Ints, amount: Ints, card: Ints) -> pa.Table:
    """One to four lines an order; the favourite category is on most; lines add up to what was paid."""
    industry, rng, m = context.plan.industry, context.rng, len(member)
    number = np.where(card >= 0, 1, 1 + rng.binomial(3, 0.25, size=m))
    order = np.repeat(np.arange(m), number)
    rows = len(order)
    first = np.cumsum(number) - number
    names = [*industry.categories, "card"]
    edges = np.cumsum(list(industry.categories.values()))[:-1]
    category = np.searchsorted(edges, rng.random(rows), side="right")
    category = np.where(rng.random(rows) < 0.55, context.chunk.members.favourite[member[order]], category)
    product = (PRODUCTS_A_CATEGORY * rng.random(rows) ** 2).astype(np.int64)
    is_card = card[order] >= 0
    category = np.where(is_card, len(names) - 1, category)
    product = np.where(is_card, card[order], product)
    skus = [f"{name}-{i + 1:02d}" for name in names for i in range(PRODUCTS_A_CATEGORY)]
    return contract_table(
        "order_lines",
        {
            "order_id": ids.take(pa.array(order)),
            "line": np.arange(rows) - first[order] + 1,
            "sku": coded(skus, category * PRODUCTS_A_CATEGORY + product),
            "category": coded(names, np.where(rng.random(rows) < 0.01, -1, category)),
            "quantity": np.where(is_card, 1, 1 + rng.poisson(0.5, size=rows)).astype(np.float64),
            "amount": _split(amount, order, first, 0.3 + rng.random(rows)),
        },
    )


def _split(amount: Ints, order: Ints, first: Ints, weight: Floats) -> Ints:
    """Whole cents in proportion to the weights; what rounding leaves goes to an order's first line."""
    if not len(order):
        return np.empty(0, dtype=np.int64)
    part = np.floor(amount[order] * (weight / np.add.reduceat(weight, first)[order])).astype(np.int64)
    part[first] += amount - np.add.reduceat(part, first)
    return part


def _contracts(context: Context, member: Ints, day: Floats, card: Ints, counts: npt.NDArray[np.bool_]) -> pa.Table:
    """Cards sold; ``sessions_used`` and ``status`` are as of the end, sessions used up from the oldest card on."""
    cards = context.plan.industry.cards
    sold = np.flatnonzero((card >= 0) & counts)
    sold = sold[np.lexsort((day[sold], member[sold]))]
    who, kind = member[sold], card[sold]
    sessions = np.asarray(cards.sessions if cards else (0,))[kind]
    ends = day[sold] + np.asarray(cards.days if cards else (0,))[kind]
    checked = [e.member[e.event == EVENTS.index("check_in")] for e in context.chunk.events]
    visits = np.bincount(np.concatenate(checked), minlength=context.size)
    used = np.clip(visits[who] - _before_in_group(who, sessions), 0, sessions)
    running = ends >= context.plan.calendar.days
    return contract_table(
        "contracts",
        {
            "contract_id": context.number("C", len(sold)),
            "member_id": context.member(who),
            "product": coded(cards.products if cards else (), kind),
            "starts_at": context.at(day[sold]),
            "ends_at": context.at(ends),
            "sessions_total": sessions,
            "sessions_used": used,
            "status": coded(("expired", "active"), running.astype(np.int64)),
        },
    )


def _before_in_group(group: Ints, values: Ints) -> Ints:
    """Sum of the earlier values of the same group; ``group`` is sorted."""
    before = np.cumsum(values) - values
    return before - before[np.searchsorted(group, group)] if len(group) else before


def events_table(context: Context) -> pa.Table:
    """Events, those of referring others included."""
    members, referrer = context.chunk.members, context.chunk.referrer
    brought = np.flatnonzero((referrer >= 0) & (members.registered >= 0))
    referring = plain_events(referrer[brought], members.registered[brought], "refer")
    held = stacked(Events, [*context.chunk.events, referring])
    return contract_table(
        "events",
        {
            "event_id": context.number("E", len(held["member"])),
            "member_id": context.member(held["member"]),
            "event_at": context.at(held["day"]),
            "event": coded(EVENTS, held["event"]),
            "topic": coded(context.plan.industry.topics, held["topic"]),
            "form": coded(FORMS, held["form"]),
            "duration_s": pa.array(held["duration"], mask=np.isnan(held["duration"])),
            "offer_id": coded(context.plan.offers.ids, held["offer"]),
        },
    )


def balances_table(context: Context) -> pa.Table:
    """Changes of every account, and what was left after each."""
    changes = context.chunk.changes
    account = np.asarray([ACCOUNTS.index(c.account) for c in changes])[repeated([len(c.member) for c in changes])]
    member, day, change = (np.concatenate([getattr(c, name) for c in changes]) for name in ("member", "day", "change"))
    order = np.lexsort((day, account, member))
    account, member, day, change = account[order], member[order], day[order], change[order]
    left = _before_in_group(member * len(ACCOUNTS) + account, change) + change
    return contract_table(
        "balances",
        {
            "member_id": context.member(member),
            "account": coded(ACCOUNTS, account),
            "at": context.at(day),
            "change": change,
            "balance": left,
        },
    )
