"""Whom an experiment reached, what that cost, and at which stage members were lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from uplift.config import ExperimentSpec
from uplift.data import Engine
from uplift.experiments import Stage, diagnose_sample_ratio
from uplift.experiments.exposure import shown
from uplift.pipelines._experiment_versions import AssignedMembers
from uplift.pipelines._experiments import CENTS

ROLLING = timedelta(days=1)


@dataclass(frozen=True)
class Reached:
    """Members by arm: assigned, sent something, redeemed."""

    assigned: Mapping[str, int]
    sent: Mapping[str, int]
    redeemed: Mapping[str, int]

    def shown(self, min_cell: int) -> dict[str, Any]:
        """Members sent to; left out where few were, or few were not."""
        return {
            arm: {"sent": n if all(shown(m, min_cell) is not None for m in (n, self.assigned[arm] - n)) else None}
            for arm, n in self.sent.items()
        }


def arm_costs(engine: Engine, spec: ExperimentSpec, reached: Reached, min_cell: int) -> dict[str, float]:
    """Arm → what a member in it cost on average: contact for those sent to, redemption for those who redeemed.

    In units of the currency. An arm of which nothing is known to be sent is taken to be contacted in full. Numbers too
    small to be shown count as half the smallest that may be: prices are known, so a cost would tell them.
    """
    offers = {
        row["offer_id"]: row
        for row in engine.query("SELECT offer_id, cost_contact, cost_redeem FROM offers").to_pylist()
    }
    costs = {}
    for arm in spec.arms:
        offer, size = offers.get(arm.offer_id or ""), reached.assigned[arm.name]
        if offer is None or not size:
            continue
        sent = _blurred(reached.sent[arm.name], size, min_cell) / size if reached.sent[arm.name] else 1.0
        redeemed = _blurred(reached.redeemed[arm.name], size, min_cell) / size
        cost = (offer["cost_contact"] or 0) * sent + (offer["cost_redeem"] or 0) * redeemed
        costs[arm.name] = float(cost) / CENTS
    return costs


def _blurred(count: int, size: int, min_cell: int) -> float:
    """A count of an arm's members; where few are in it, or few are not, half the smallest number that may be shown."""
    few = min(min_cell, size) / 2
    if shown(count, min_cell) is None:
        return few
    return size - few if shown(size - count, min_cell) is None else float(count)


def planned_size(spec: ExperimentSpec, spine: pa.Table) -> int | None:
    """Members at which the experiment is judged: the definition's, else those assigned where they came over days."""
    if spec.planned_size is not None or not spine.num_rows:
        return spec.planned_size
    times = spine["as_of"].to_pandas()
    return spine.num_rows if times.max() - times.min() > ROLLING else None


def sample_ratio_stages(
    spec: ExperimentSpec, assigned: AssignedMembers, reached: Reached, table: pd.DataFrame, metric: str
) -> dict[str, Any]:
    """Where the sample ratio breaks, if it does: at assignment, at sending, or when outcomes are observed."""
    shares = assigned.shares
    observed = table.loc[table[metric].notna(), "arm"].value_counts() if metric in table else pd.Series(dtype=int)
    stages = [Stage("assigned", reached.assigned, None if spec.cluster else shares)]
    senders = [arm for arm, n in reached.sent.items() if n and arm != spec.control and shares[arm] > 0]
    if len(senders) > 1:
        total = sum(shares[arm] for arm in senders)
        stages.append(
            Stage(
                "sent", {arm: reached.sent[arm] for arm in senders},
                None if spec.cluster else {arm: shares[arm] / total for arm in senders},
            )
        )  # fmt: skip
    counts = {arm: int(observed.get(arm, 0)) for arm in shares}
    stages.append(Stage("observed", counts, None if spec.cluster else shares))
    found = diagnose_sample_ratio(stages)
    return {
        "broken": found.broken,
        "stages": [
            {"stage": name, "p_value": check.p_value, "passed": check.passed} for name, check in found.stages.items()
        ],
    }
