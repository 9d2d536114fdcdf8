"""A run of decisions in words, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uplift.policy import Speaker


def summary(manifest: Mapping[str, Any], folder: Path, *, repeated: bool) -> str:
    """Counts by source and offer, the certificate, the price of the budget, notes, where the files lie."""
    money = Speaker((), manifest["currency"]).money
    totals, constraints = manifest["totals"], manifest["constraints"]
    names = {offer["offer_id"]: offer["name_en"] for offer in manifest["offers"]}
    head = f"run {manifest['run']} as of {manifest['as_of']}: {totals['members']:,} members"
    lines = [head + (", already there" if repeated else ""), ""]
    lines.append(f"{'source':<10} {'offer':<44} {'members':>10}")
    for row in totals["by_source_and_offer"]:
        offer = row["offer_id"]
        shown = "no offer" if offer is None else offer if names[offer] == offer else f"{offer} ({names[offer]})"
        lines.append(f"{row['source']:<10} {shown:<44} {row['members']:>10,}")
    lines.append("")
    lines.append(
        f"allocation: value {money(manifest['value'])}, no better than {money(manifest['bound'])} is possible "
        f"(gap {manifest['gap']:.4%}, {manifest['status']})"
    )
    budget = constraints["budget"]
    cost = f"cost {money(totals['cost'])}"
    lines.append(
        f"decisions: expected value {money(totals['expected_value'])} as the model promises, {cost}"
        + ("" if budget is None else f" of a budget of {money(budget)}")
    )
    lines += _prices(manifest, names, money)
    if constraints["explore"] < constraints["explore_asked"]:
        lines.append(
            f"exploration was lowered from {constraints['explore_asked']:.1%} to {constraints['explore']:.1%} "
            "to fit the budget and the quotas"
        )
    if constraints["not_explored"]:
        lines.append(f"too scarce to explore: {', '.join(constraints['not_explored'])}")
    lines += [f"note: {note}" for note in manifest["notes"]]
    lines += ["", f"decisions: {folder}"]
    return "\n".join(lines)


def _prices(manifest: Mapping[str, Any], names: Mapping[str, str], money: Any) -> list[str]:
    price, budget = manifest["prices"]["budget"], manifest["constraints"]["budget"]
    lines = []
    if budget is None:
        lines.append("no budget was set")
    elif price > 0:
        lines.append(
            f"the next {money(1).rstrip('0').rstrip('.')} of budget returns {money(price)} beyond its own cost"
        )
    else:
        lines.append("the budget does not bind: more of it would change nothing")
    for offer, worth in manifest["prices"]["quotas"].items():
        if worth > 0:
            lines.append(f"one more place for {names[offer]} would be worth {money(worth)}")
    return lines
