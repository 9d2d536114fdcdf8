"""Who the members are, as the chain sees them and as they truly are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from uplift.data.simulator._context import Context, repeated
from uplift.data.simulator._industry import LIVES, PERSONAS
from uplift.data.simulator._purchases import CHANNELS
from uplift.data.simulator._response import means
from uplift.data.simulator._tables import coded, contract_table

TIERS = ("普通会员", "银卡会员", "金卡会员")
SOURCES = ("mini_program", "app", "pos")
EPOCH = 719_163  # 1970-01-01 as an ordinal


def members_table(context: Context) -> pa.Table:
    """Members; tier is the plan chosen on joining, so that it tells nothing of the future."""
    chunk, industry, n, u = context.chunk, context.plan.industry, context.size, context.rng.random
    members = chunk.members
    born = context.plan.calendar.end.toordinal() - EPOCH - np.rint(365.25 * members.age).astype(np.int64)
    score = members.rate + 0.5 * context.rng.standard_normal(n)
    digital = np.where(u(n) < members.digital, np.where(members.app, 2, 1), 0)
    consent = u(n) < 0.97 - 0.75 * members.annoyance
    return contract_table(
        "members",
        {
            "member_id": context.ids,
            "registered_at": context.at(members.registered),
            "birth_date": pa.array(born.astype(np.int32), mask=u(n) < 0.25).cast(pa.date32()),
            "gender": coded(("F", "M"), np.where(u(n) < 0.08, -1, np.where(members.female, 0, 1))),
            "city": coded(industry.cities, np.where(u(n) < 0.05, -1, members.store % len(industry.cities))),
            "join_channel": coded((*CHANNELS, "referral"), np.where(chunk.referrer >= 0, len(CHANNELS), digital)),
            "tier": coded(TIERS, np.searchsorted([1.2, 2.5], score)),
            "referrer_id": coded(context.ids, chunk.referrer),
            "consent_marketing": pa.array(consent, mask=u(n) < 0.04),
        },
    )


def identities_table(context: Context) -> pa.Table:
    """One id a channel used, and for a few members a second one, found to be the same person."""
    n, u = context.size, context.rng.random
    app = context.chunk.members.app
    held = np.stack([u(n) < 0.7, app, u(n) < 0.5])
    again = np.stack([u(n) < 0.03, np.zeros(n, dtype=bool), u(n) < 0.02]) & held
    source, member = np.nonzero(np.concatenate([held, again]))
    return contract_table(
        "identities",
        {
            "source": coded(SOURCES, source % len(SOURCES)),
            "source_id": context.number("U", len(member)),
            "member_id": context.member(member),
        },
    )


def attributes_table(context: Context) -> pa.Table:
    """Answers to questions, known some days after they were given."""
    answers = context.chunk.answers
    which = repeated([len(a.member) for a in answers])
    return contract_table(
        "attributes",
        {
            "member_id": context.member(np.concatenate([a.member for a in answers])),
            "name": coded([a.survey.name for a in answers], which),
            "observed_at": context.at(np.concatenate([a.day for a in answers])),
            "value": pa.concat_arrays([pa.array(a.value, pa.string()) for a in answers]),
            "source": coded([a.survey.source for a in answers], which),
            "known_at": context.at(np.concatenate([a.known for a in answers])),
        },
    )


def hidden_table(context: Context) -> pa.Table:
    """What nobody in the chain knows, as of the end; ``control_*`` are means over the window that follows it."""
    plan, chunk = context.plan, context.chunk
    members, demand = chunk.members, chunk.demand_at_end
    if demand is None:
        raise RuntimeError("the chunk has not been lived to its end")
    rest = means(plan.industry, demand, demand.rate, demand.due)
    return pa.table(
        {
            "member_id": context.ids,
            "life": coded(LIVES, chunk.truth[-1].life),
            "persona": coded(PERSONAS, members.persona),
            "control_conversion": rest.conversion,
            "control_spend": rest.spend,
            "control_margin": rest.margin,
            "purchase_rate": members.rate,
            "interval_days": pa.array(members.interval, mask=np.isnan(members.interval)),
            "basket": members.goods,
            "price_sensitivity": members.price,
            "weekend_share": members.weekend,
            "favourite_category": coded(tuple(plan.industry.categories), members.favourite),
            "digital_share": members.digital,
            "content_affinity": members.content,
            "video_share": members.video,
            "stored_value_willingness": members.stored_value,
            "social": members.social,
            "annoyance": members.annoyance,
            "sensitive": members.sensitive,
            "purchases": chunk.state.purchases,
        }
    )
