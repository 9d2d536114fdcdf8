"""What an experiment report says: result.json in, a plain dictionary of words and charts out. Draws nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from uplift.reports._checks import checks
from uplift.reports._effects import all_numbers, goals, guardrails
from uplift.reports._numbers import integer, percent
from uplift.reports._reading import Reading
from uplift.reports._sections import sections
from uplift.reports._segments import segments
from uplift.reports._words import WORDS, Language

_STATUS_COLOUR = {"effective": "good", "harmful": "bad", "no_evidence": "flat", "too_early": "flat", "invalid": "bad"}
_ACTION_COLOUR = {"roll_out": "good", "switch": "good", "run_on": "flat"}


def summarize_experiment(result: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """Everything that the page shows, already written in one language.

    Parameters
    ----------
    result
        As in ``result.json``.
    """
    reading = Reading(result, language)
    status = result["verdict"]["status"]
    return {
        "title": _title(reading),
        "status": reading.word(status),
        "status_class": _STATUS_COLOUR[status],
        "verdict": result["verdict"][language],
        "look": _look(reading),
        **_next(reading),
        "arms": _arms(reading),
        "goals": goals(reading),
        "guardrails": guardrails(reading),
        "checks": checks(reading),
        "segments": segments(reading),
        "more": sections(reading),
        "numbers": all_numbers(reading),
        "notes": _notes(reading),
        "how_to_read": _how_to_read(reading),
        "provenance": _provenance(reading),
        "interval": reading.interval,
    }


def _title(reading: Reading) -> str:
    design = reading.result["design"]
    given = design.get(f"name_{reading.language}") or design.get("name") or design.get("id")
    return str(given or reading.word("report"))


def _look(reading: Reading) -> str:
    """How the intervals on the page are to be taken while the experiment runs; empty when it does not."""
    looks = reading.result["design"].get("looks", {})
    role = {m["name"]: m.get("role") for m in reading.result.get("metrics", ())}
    now = next((looks[name] for name in looks if role.get(name) == "primary"), None)
    if now is None or now["rule"] in ("once", "final") or now["planned"] is None:
        return ""
    key = {"sequence": "look_sequence", "look": "look_fixed", "between": "look_between"}[now["rule"]]
    if now["rule"] == "look" and now["critical"] is None:
        return ""
    share = percent(now["size"] / now["planned"], 0)
    return reading.word(key, share=share, next=integer(now["next_size"]))


def _next(reading: Reading) -> dict[str, Any]:
    """What to do next, and in which unit gains are counted; what to do where no action can be recommended."""
    given = reading.result.get("actions", ())
    status = reading.result["verdict"]["status"]
    actions = [{"text": str(action[reading.language]), "class": _action_class(action)} for action in given]
    if not actions:
        return {"actions": [{"text": reading.word(f"next_{status}"), "class": "flat"}], "action_note": ""}
    units = dict.fromkeys(str(action.get("unit") or "") for action in given if action.get("gain") is not None)
    said = [reading.word(f"gain_{unit}") for unit in units if f"gain_{unit}" in WORDS]
    if any(action.get("gain") is not None for action in given):
        said.append(reading.word("chance_note"))
    return {"actions": actions, "action_note": " ".join(said)}


def _action_class(action: Mapping[str, Any]) -> str:
    """Red only where something harms or costs, not where nothing was found."""
    if action.get("reason") in ("harmful", "costs_more"):
        return "bad"
    return _ACTION_COLOUR.get(str(action.get("kind")), "flat")


def _arms(reading: Reading) -> list[dict[str, str]]:
    design = reading.result["design"]
    arms = []
    for arm, size in design["arms"].items():
        name, control = reading.name(arm), reading.word("control")
        arms.append(
            {
                "name": name,
                "n": reading.word("suppressed") if size["n"] is None else integer(size["n"]),
                "share": "" if size.get("share") is None else reading.word("designed", share=percent(size["share"])),
                "control": control if arm == design["control"] and name != control else "",
            }
        )
    return arms


def _notes(reading: Reading) -> list[str]:
    """As the analysis wrote them, with columns called what people call them."""
    notes = reading.result.get("notes", ())
    said = [str(n.get(reading.language) or n.get("en")) if isinstance(n, Mapping) else str(n) for n in notes]
    return [_NAMED.sub(lambda found: found[1] + reading.name(found[2]), text) for text in said]


_NAMED = re.compile(r"((?:指标|协变量|metric|guardrail|covariate) )([^\s：:,;]+)")


def _how_to_read(reading: Reading) -> list[str]:
    """Only what this page needs explained."""
    metrics = reading.metrics.values()
    keys = ["read_effect", "read_interval"]
    keys += ["read_points"] if any(m.scale.unit == "share" for m in metrics) else []
    keys += ["read_guardrail"] if any(m.role == "guardrail" for m in metrics) else []
    keys += ["read_ratio"] if any(m.kind == "ratio" for m in metrics) else []
    keys += ["read_time"] if any(m.kind == "time" for m in metrics) else []
    keys += ["read_adjusted"]
    privacy = reading.word("privacy", n=reading.result["design"].get("min_cell") or 11)
    return [*(reading.word(key) for key in keys), privacy]


def _provenance(reading: Reading) -> list[tuple[str, str]]:
    given = reading.result["provenance"]
    shown = [(reading.word(key), str(given[key])[:24]) for key in ("data_hash", "version", "seed") if key in given]
    hypothesis = str(reading.result["design"].get("hypothesis") or "")
    return [*([(reading.word("hypothesis"), hypothesis)] if hypothesis else []), *shown]
