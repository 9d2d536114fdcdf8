"""A chunk as tables: those of the contract under ``data/``, and the truth under ``truth/``."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from uplift.data.simulator._activity import Touches
from uplift.data.simulator._calendar import WINDOW_DAYS
from uplift.data.simulator._chunk import Chunk, Plan
from uplift.data.simulator._context import Context, repeated, stacked
from uplift.data.simulator._design import CONTROL
from uplift.data.simulator._history import balances_table, events_table, order_tables
from uplift.data.simulator._industry import LIVES
from uplift.data.simulator._people import attributes_table, hidden_table, identities_table, members_table
from uplift.data.simulator._response import Means
from uplift.data.simulator._tables import EFFECTS_SCHEMA, arrow_table, coded, contract_table, instants


def tables_of(plan: Plan, chunk: Chunk) -> dict[str, pa.Table]:
    """Every table of a chunk, by its path without the ending."""
    context = Context.of(plan, chunk)
    data = {
        "members": members_table(context),
        "identities": identities_table(context),
        "attributes": attributes_table(context),
        **order_tables(context),
        "events": events_table(context),
        "balances": balances_table(context),
        "assignments": assignments_table(context),
        "touches": touches_table(context),
    }
    truth = {"effects": effects_table(context), "members": hidden_table(context)}
    return {f"data/{name}": table for name, table in data.items()} | {
        f"truth/{name}": table for name, table in truth.items()
    }


def offers_table(plan: Plan) -> pa.Table:
    """The offers."""
    offers = plan.industry.offers
    return contract_table(
        "offers",
        {
            "offer_id": [o.id for o in offers],
            "name_zh": [o.name_zh for o in offers],
            "name_en": [o.name_en for o in offers],
            "kind": [o.kind for o in offers],
            "valid_from": instants(np.full(len(offers), plan.calendar.start_us)),
            "eligible": pa.array([o.eligible for o in offers], pa.string()),
            "forbidden": pa.array([o.forbidden for o in offers], pa.string()),
            "cost_contact": [round(100 * o.cost_contact) for o in offers],
            "cost_redeem": [round(100 * o.cost_redeem) for o in offers],
            "quota": pa.array([o.quota for o in offers], pa.int64()),
            "channel": [o.channel for o in offers],
            "form": [o.form for o in offers],
            "cooldown_days": pa.array([o.cooldown_days for o in offers], pa.float64()),
        },
    )


def assignments_table(context: Context) -> pa.Table:
    """Who was assigned to which arm, with the probability of it."""
    offers, parts = context.plan.offers, context.chunk.assigned
    which = repeated([len(a.member) for a in parts])
    arms = [coded((CONTROL, *(offers.ids[i] for i in a.campaign.offers)), a.arm) for a in parts]
    at = np.asarray([float(a.campaign.window * WINDOW_DAYS) for a in parts])
    return contract_table(
        "assignments",
        {
            "experiment_id": coded([a.campaign.id for a in parts], which),
            "member_id": context.member(np.concatenate([a.member for a in parts])),
            "arm": pa.concat_arrays(arms),
            "propensity": np.concatenate([np.asarray(a.campaign.shares)[a.arm] for a in parts]),
            "assigned_at": context.at(at[which]),
        },
    )


def touches_table(context: Context) -> pa.Table:
    """Messages and what became of them."""
    offers = context.plan.industry.offers
    campaigns = [campaign for campaign, _ in context.chunk.touches]
    parts = [touches for _, touches in context.chunk.touches]
    held = stacked(Touches, parts)
    channels = tuple(dict.fromkeys(o.channel for o in offers))
    channel = np.asarray([channels.index(o.channel) for o in offers])
    return contract_table(
        "touches",
        {
            "touch_id": context.number("T", len(held["member"])),
            "member_id": context.member(held["member"]),
            "experiment_id": coded([c.id for c in campaigns], repeated([len(t.member) for t in parts])),
            "offer_id": coded(context.plan.offers.ids, held["offer"]),
            "channel": coded(channels, channel[held["offer"]]),
            "sent_at": context.at(held["sent"]),
            "delivered_at": context.at(held["delivered"]),
            "opened_at": context.at(held["opened"]),
            "clicked_at": context.at(held["clicked"]),
            "redeemed_at": context.at(held["redeemed"]),
        },
    )


def effects_table(context: Context) -> pa.Table:
    """The true effects, campaign by campaign and then as of the end; member by member, offer by offer."""
    calendar, parts = context.plan.calendar, context.chunk.truth
    campaigns = [t.campaign for t in parts]
    which = repeated([len(t.member) * len(t.offers) for t in parts])
    at = np.asarray([float((calendar.windows if c is None else c.window) * WINDOW_DAYS) for c in campaigns])
    named = np.asarray([-1 if c is None else i for i, c in enumerate(campaigns)])
    member = np.concatenate([np.repeat(t.member, len(t.offers)) for t in parts])
    offer = np.concatenate([np.tile(t.offers, len(t.member)) for t in parts]).astype(np.int64)
    life = np.concatenate([np.repeat(t.life, len(t.offers)) for t in parts])
    values = {
        f"effect_{name}": np.concatenate([getattr(t.effects, name).ravel() for t in parts]) for name in Means._fields
    }
    return arrow_table(
        EFFECTS_SCHEMA,
        {
            "member_id": context.member(member),
            "experiment_id": coded(["" if c is None else c.id for c in campaigns], named[which]),
            "at": context.at(at[which]),
            "offer_id": coded(context.plan.offers.ids, offer),
            "window_days": np.full(len(which), WINDOW_DAYS),
            **values,
            "life": coded(LIVES, life),
        },
    )
