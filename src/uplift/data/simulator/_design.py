"""The chain's campaigns: which offers are tried in which window, and with which shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uplift.config import ArmSpec, ExperimentSpec, MetricSpec
from uplift.data.simulator._calendar import WINDOW_DAYS, Calendar
from uplift.data.simulator._industry import Industry

CONTROL = "control"
ENROLLED = 0.8
EVERY_WINDOWS = 2
FIRST_WINDOW = 2
METRICS = (
    MetricSpec(name="conversion", outcome="ordered", kind="rate", window_days=WINDOW_DAYS, unit="share"),
    MetricSpec(name="spend", outcome="spend", kind="mean", window_days=WINDOW_DAYS, unit="money"),
    MetricSpec(name="margin", outcome="margin", kind="mean", window_days=WINDOW_DAYS, unit="money"),
    MetricSpec(name="visit", outcome="visited", kind="rate", window_days=WINDOW_DAYS, unit="share"),
    MetricSpec(
        name="refunded",
        outcome="refunded",
        kind="rate",
        window_days=WINDOW_DAYS,
        unit="share",
        goal="decrease",
        guardrail=True,
    ),
)


@dataclass(frozen=True)
class Campaign:
    """One randomised campaign.

    Attributes
    ----------
    window
        The window that it begins; assignment is at its first instant.
    offers
        Indices in ``industry.offers``, one an arm after the control.
    shares
        Designed shares, the control first.
    """

    id: str
    window: int
    offers: tuple[int, ...]
    shares: tuple[float, ...]


def plan_campaigns(industry: Industry, calendar: Calendar, seed: int) -> tuple[Campaign, ...]:
    """A campaign every 28 days; each tries three to five offers, all equally often in the long run."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    windows = sorted(range(calendar.windows - EVERY_WINDOWS, FIRST_WINDOW - 1, -EVERY_WINDOWS))
    queue: list[int] = []
    campaigns = []
    for window in windows:
        chosen: list[int] = []
        size = int(rng.integers(3, 6))
        while len(chosen) < size:
            if not queue:
                queue = [int(i) for i in rng.permutation(len(industry.offers))]
            following = next((i for i in queue if i not in chosen), None)
            if following is None:
                queue = [*queue, *(int(i) for i in rng.permutation(len(industry.offers)))]
                continue
            queue.remove(following)
            chosen.append(following)
        day = calendar.instant(window).date()
        campaigns.append(Campaign(f"campaign-{day:%Y-%m-%d}", window, tuple(sorted(chosen)), _shares(size, rng)))
    return tuple(campaigns)


def _shares(offers: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Equal shares, or a larger control, or offers of unequal shares; in whole per cent."""
    kind = rng.integers(0, 3)
    if kind == 0:
        weights = np.ones(offers + 1)
    elif kind == 1:
        weights = np.asarray([2.0, *np.ones(offers)])
    else:
        weights = np.asarray([2.0, *(1 + rng.permutation(offers) / offers)])
    percent = np.floor(100 * weights / weights.sum())
    percent[0] += 100 - percent.sum()
    return tuple(float(p) / 100 for p in percent)


def experiment_spec(
    industry: Industry, calendar: Calendar, campaign: Campaign, seed: int, covariates: tuple[str, ...]
) -> ExperimentSpec:
    """The definition of a campaign as the workspace keeps it."""
    offers = [industry.offers[i] for i in campaign.offers]
    arms = [ArmSpec(name=CONTROL, share=campaign.shares[0])]
    arms += [
        ArmSpec(name=offer.id, share=share, offer_id=offer.id)
        for offer, share in zip(offers, campaign.shares[1:], strict=True)
    ]
    return ExperimentSpec(
        id=campaign.id,
        name_zh="、".join(offer.name_zh for offer in offers),
        name_en=", ".join(offer.name_en for offer in offers),
        hypothesis="At least one of the offers makes more members buy within 14 days than no offer does.",
        control=CONTROL,
        arms=tuple(arms),
        starts_at=calendar.instant(campaign.window),
        ends_at=calendar.instant(campaign.window + 1),
        metrics=METRICS,
        covariates=covariates,
        segments=("segment",),
        salt=f"simulated-{seed}-{campaign.id}",
    )
