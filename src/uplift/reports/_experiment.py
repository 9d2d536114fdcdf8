"""What an experiment report says: result.json in, a plain dictionary of words and charts out. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uplift.reports._charts import Bar, Chart, Forest
from uplift.reports._sections import summarize_sections
from uplift.reports._words import Language, amount, integer, p_phrase, p_value, percent, span, word

LEVEL = 0.05
_STATUS_COLOUR = {"effective": "good", "harmful": "bad", "no_evidence": "flat", "too_early": "flat", "invalid": "bad"}


def summarize_experiment(result: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """Everything that the page shows, already written in one language.

    Parameters
    ----------
    result
        As in ``result.json``.
    """
    metrics = _metrics(result, language)
    overall = [e for e in result["effects"] if e["segment_column"] is None]
    by_segment = [e for e in result["effects"] if e["segment_column"] is not None]
    status = result["verdict"]["status"]
    return {
        "title": _title(result, language),
        "status": word(status, language),
        "status_class": _STATUS_COLOUR[status],
        "verdict": result["verdict"][language],
        "actions": [str(action[language]) for action in result.get("actions", ())],
        "look": _look(result, language),
        "arms": _arms(result, language),
        "goals": [
            _goal(result, metrics[name], [e for e in overall if e["metric"] == name], language) for name in metrics
        ],
        "checks": _checks(result, language),
        "segments": _segments(result, metrics, by_segment, language),
        "more": summarize_sections(result, language, lambda name: _arm(result, name, language)),
        "rows": [_row(result, e, metrics[e["metric"]], language) for e in overall],
        "segment_rows": [_row(result, e, metrics[e["metric"]], language) for e in by_segment],
        "notes": _notes(result, language),
        "provenance": _provenance(result, language),
        "min_cell": result.get("min_cell", result["design"].get("min_cell", 11)),
    }


def _metrics(result: Mapping[str, Any], language: Language) -> dict[str, dict[str, Any]]:
    """Metric → label, unit and direction; a flat table's metric of zeros and ones is a share."""
    described = {m["name"]: m for m in result.get("metrics", ())}
    names = list(dict.fromkeys(e["metric"] for e in result["effects"]))
    currency = result.get("currency") or ""
    found = {}
    for name in names:
        given = described.get(name, {})
        unit = given.get("unit") or "number"
        kind = given.get("kind")
        found[name] = {
            "name": name,
            "label": _arm(result, name, language),
            "unit": "share" if unit == "share" or kind == "rate" else unit,
            "currency": given.get("currency") or currency,
            "up": given.get("goal", "increase") == "increase",
        }
    return found


def _title(result: Mapping[str, Any], language: Language) -> str:
    design = result["design"]
    return str(design.get(f"name_{language}") or design.get("name") or design.get("id") or word("report", language))


def _look(result: Mapping[str, Any], language: Language) -> str:
    """How the intervals on the page are to be taken while the experiment runs; empty when it does not."""
    looks = result["design"].get("looks", {})
    role = {m["name"]: m.get("role") for m in result.get("metrics", ())}
    now = next((looks[name] for name in looks if role.get(name) == "primary"), None)
    if now is None or now["rule"] in ("once", "final") or now["planned"] is None:
        return ""
    key = {"sequence": "look_sequence", "look": "look_fixed", "between": "look_between"}[now["rule"]]
    if now["rule"] == "look" and now["critical"] is None:
        return ""
    share = percent(now["size"] / now["planned"], 0)
    return word(key, language, share=share, next=integer(now["next_size"]))


def _arms(result: Mapping[str, Any], language: Language) -> list[dict[str, str]]:
    design = result["design"]
    return [
        {
            "name": _arm(result, arm, language),
            "n": integer(size["n"]),
            "share": percent(size.get("share")),
            "control": word("control", language) if arm == design["control"] else "",
        }
        for arm, size in design["arms"].items()
    ]


def _arm(result: Mapping[str, Any], arm: str, language: Language) -> str:
    """What people call an arm or a metric."""
    labels = result["design"].get("labels", {}).get(arm, {})
    return str(labels.get(language) or arm)


def _goal(
    result: Mapping[str, Any], metric: Mapping[str, Any], effects: Sequence[Mapping[str, Any]], language: Language
) -> dict[str, Any]:
    given = [e for e in effects if e["effect"] is not None]
    chart = (
        _forest(
            [(_arm(result, e["arm"], language), e["effect"], e["low"], e["high"], certain(e)) for e in given],
            metric,
            language,
        )
        if given
        else None
    )
    control = next((e["control_mean"] for e in effects if e["control_mean"] is not None), None)
    return {
        "label": metric["label"],
        "control_mean": amount(control, metric["unit"], metric["currency"], language),
        "chart": chart,
        "rows": [
            {
                "arm": _arm(result, e["arm"], language),
                "effect": amount(e["effect"], metric["unit"], metric["currency"], language, difference=True),
                "interval": span(e["low"], e["high"], metric["unit"], metric["currency"], language),
                "relative": relative(e, language),
                "class": sign_class(e, up=metric["up"]),
            }
            for e in effects
        ],
    }


def _forest(
    rows: Sequence[tuple[str, float, float | None, float | None, bool]], metric: Mapping[str, Any], language: Language
) -> Chart:
    unit, currency = metric["unit"], metric["currency"]
    axis = f"{metric['label']}: {word('effect', language)}"
    if unit == "share":
        axis += f" ({word('points', language)})"
    bars = tuple(
        Bar(
            str(label),
            value,
            low,
            high,
            amount(value, unit, currency, language, difference=True).split(" ")[0],
            certain,
        )
        for label, value, low, high, certain in rows
    )
    return Forest(axis, bars, scale=100.0 if unit == "share" else 1.0, good_is_positive=bool(metric["up"]))


def certain(effect: Mapping[str, Any]) -> bool:
    """Whether an effect stands after all comparisons are counted; colour is for these only, as the verdict is."""
    return effect["p_adjusted"] is None or effect["p_adjusted"] < LEVEL


def sign_class(effect: Mapping[str, Any], *, up: bool) -> str:
    """``good``, ``bad`` or ``flat``, by where the interval lies and whether it stands after all comparisons."""
    low, high = effect["low"], effect["high"]
    if not certain(effect) or low is None or high is None or low <= 0 <= high:
        return "flat"
    return "good" if (low > 0) == up else "bad"


def relative(effect: Mapping[str, Any], language: Language) -> str:
    """The relative effect with its interval, or that it cannot be stated."""
    if effect["relative"] is None:
        return word("not_given", language)
    low, high = effect["relative_low"], effect["relative_high"]
    text = f"{100 * effect['relative']:+.1f}%"
    if low is not None and high is not None:
        joint = " 至 " if language == "zh" else " to "
        text += f" ({100 * low:+.1f}%{joint}{100 * high:+.1f}%)"
    return text.replace("-", "−")


def _checks(result: Mapping[str, Any], language: Language) -> list[dict[str, str]]:
    srm = result["checks"]["srm"]
    if srm["passed"] is None:
        found = [{"class": "flat", "text": word("srm_unchecked", language)}]
    elif srm["passed"]:
        found = [{"class": "good", "text": word("srm_passed", language, p=p_phrase(srm["p_value"]))}]
    else:
        found = [{"class": "bad", "text": word("srm_failed", language, p=p_phrase(srm["p_value"]))}]
    worst = [abs(b["smd"]) for b in result["checks"].get("balance", ()) if b.get("smd") is not None]
    if worst:
        columns = {b.get("covariate", b.get("column")) for b in result["checks"]["balance"]}
        text = word("balance_good", language, n=len(columns), worst=f"{max(worst):.3f}")
        found.append({"class": "good" if max(worst) < 0.1 else "bad", "text": text})
    return found


def _segments(
    result: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    effects: Sequence[Mapping[str, Any]],
    language: Language,
) -> list[dict[str, Any]]:
    """One block for every cut, arm and metric: whether the effect differs, and the picture of shrunk effects."""
    blocks = []
    tests = {(i["segment_column"], i["arm"], i["metric"]): i for i in result["interactions"]}
    groups = dict.fromkeys((e["segment_column"], e["arm"], e["metric"]) for e in effects)
    for column, arm, metric in groups:
        rows = [e for e in effects if (e["segment_column"], e["arm"], e["metric"]) == (column, arm, metric)]
        shown = [e for e in rows if e["effect"] is not None]
        test = tests.get((column, arm, metric))
        adjusted = test["p_adjusted"] if test else None
        differs = adjusted is not None and adjusted < LEVEL
        label = column_label(result, column, language)
        text = word(
            "interaction_yes" if differs else "interaction_no",
            language,
            column=label,
            arm=_arm(result, arm, language),
            metric=metrics[metric]["label"],
            p=p_phrase(adjusted),
        )
        picture = [
            (
                segment_label(result, e, language),
                e["effect"] if e["shrunk"] is None else e["shrunk"],
                e["low"] if e["shrunk"] is None else e["shrunk_low"],
                e["high"] if e["shrunk"] is None else e["shrunk_high"],
                True,
            )
            for e in shown
        ]
        blocks.append(
            {
                "text": text,
                "differs": differs,
                "chart": _forest(picture, metrics[metric], language) if picture else None,
                "hidden": len(rows) - len(shown),
            }
        )
    return sorted(blocks, key=lambda block: not block["differs"])


def column_label(result: Mapping[str, Any], column: str, language: Language) -> str:
    """A cut's name for people."""
    if column == "segment":
        return word("segment", language)
    return str(result["design"].get("labels", {}).get(column, {}).get(language) or column)


def segment_label(result: Mapping[str, Any], effect: Mapping[str, Any], language: Language) -> str:
    """A segment's name for people."""
    labels = result["design"].get("labels", {}).get(effect["segment_column"], {}).get("values", {})
    return str(labels.get(effect["segment"], {}).get(language) or effect["segment"])


def _row(
    result: Mapping[str, Any], effect: Mapping[str, Any], metric: Mapping[str, Any], language: Language
) -> dict[str, str]:
    unit, currency = metric["unit"], metric["currency"]
    where = ""
    if effect["segment_column"] is not None:
        where = f"{column_label(result, effect['segment_column'], language)}: {segment_label(result, effect, language)}"
    hidden = effect["effect"] is None
    return {
        "metric": metric["label"],
        "arm": _arm(result, effect["arm"], language),
        "segment": where,
        "n_arm": integer(effect["n_arm"]),
        "n_control": integer(effect["n_control"]),
        "control_mean": amount(effect["control_mean"], unit, currency, language),
        "arm_mean": amount(effect["arm_mean"], unit, currency, language),
        "effect": word("suppressed", language)
        if hidden
        else amount(effect["effect"], unit, currency, language, difference=True),
        "interval": span(effect["low"], effect["high"], unit, currency, language),
        "raw": amount(effect["raw"], unit, currency, language, difference=True),
        "relative": "" if hidden else relative(effect, language),
        "p_value": p_value(effect["p_value"]),
        "p_adjusted": p_value(effect["p_adjusted"]),
        "class": "flat" if hidden else sign_class(effect, up=metric["up"]),
    }


def _notes(result: Mapping[str, Any], language: Language) -> list[str]:
    notes = result.get("notes", ())
    return [str(n.get(language) or n.get("en")) if isinstance(n, Mapping) else str(n) for n in notes]


def _provenance(result: Mapping[str, Any], language: Language) -> list[tuple[str, str]]:
    given = result["provenance"]
    shown = [(word(key, language), str(given[key])) for key in ("data_hash", "version", "seed") if key in given]
    return [(name, value[:24]) for name, value in shown]
