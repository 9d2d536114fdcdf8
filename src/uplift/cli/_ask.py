"""The questions of ``uplift experiment new``, when the answers are not given as options."""

from __future__ import annotations

from typing import Any

import click


def ask_design(given: dict[str, Any]) -> dict[str, Any]:
    """Fill what is missing in ``given`` by asking; an empty answer leaves an optional field out.

    Parameters
    ----------
    given
        Options of ``uplift experiment new`` by name; those with a value are not asked for.
    """
    from uplift.features import OUTCOMES
    from uplift.pipelines.experiment_define import FORMS

    answers = dict(given)

    def several(name: str, question: str, default: str = "") -> None:
        if not answers.get(name):
            text = click.prompt(question, default=default, show_default=bool(default), err=True)
            answers[name] = tuple(part.strip() for part in text.split(",") if part.strip())

    def one(name: str, question: str) -> None:
        if not answers.get(name):
            answers[name] = click.prompt(question, default="", show_default=False, err=True).strip() or None

    several("arms", "Arms with their shares, control included", "control=1/2, offer=1/2")
    names = [arm.rpartition("=")[0] for arm in answers["arms"]]
    if answers.get("control") not in names:
        answers["control"] = click.prompt("Which of them is the control", default=names[0] if names else "", err=True)
    if not answers.get("metrics"):
        click.echo(f"Outcomes: {', '.join(OUTCOMES)}; also {FORMS.partition(', ')[2]}", err=True)
    several("metrics", "What it should improve: outcome[:days], the first decides", "ordered:14")
    several("guardrails", "What it must not harm: outcome[:days] (may be empty)")
    one("hypothesis", "What is expected, and why (may be empty)")
    answers["hypothesis"] = answers["hypothesis"] or ""
    one("population", "Who takes part, as a rule over features (empty: every member)")
    several("stratify", "Features within which the arms are balanced (may be empty)")
    several("covariates", "Features that narrow the intervals (may be empty)")
    several("segments", "Cuts declared before the start (may be empty)")
    one("starts_at", "First day, such as 2026-07-01 (may be empty)")
    one("planned_size", "Members planned in all (empty: see `uplift experiment power`)")
    for name, question in (
        ("name_zh", "Name in Chinese (may be empty)"),
        ("name_en", "Name in English (may be empty)"),
    ):
        one(name, question)
        answers[name] = answers[name] or ""
    return answers
