"""The catalogue: every feature by name, and the attributes of a workspace as further features."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeAlias

from uplift.data import Engine
from uplift.errors import InputError, did_you_mean
from uplift.features._belonging import balance_features, contract_features, member_features
from uplift.features._buying import line_features, order_features
from uplift.features._engaging import event_features, response_features
from uplift.features._feature import Feature

MAX_ATTRIBUTES = 50

AttributeKind: TypeAlias = Literal["text", "number", "date"]


def _catalogue() -> dict[str, Feature]:
    entries = list(
        chain(
            member_features(), order_features(), line_features(), event_features(), balance_features(),
            contract_features(), response_features(),
        )
    )  # fmt: skip
    catalogue = {feature.name: feature for feature in entries}
    if len(catalogue) < len(entries):
        raise ValueError("two features share a name")
    return catalogue


CATALOGUE: Mapping[str, Feature] = _catalogue()
"""Every feature that exists in any workspace."""


def attribute_features(name: str, kinds: Iterable[AttributeKind], slug: str | None = None) -> dict[str, Feature]:
    """Features of one attribute: its latest value as text, as a number, or as days since a date.

    Parameters
    ----------
    name
        As it stands in ``attributes.name``.
    kinds
        ``text`` gives ``attr_<slug>``; ``number`` gives ``attr_<slug>_num``; ``date`` gives ``attr_<slug>_days``, the
        days from that date to the as-of time (negative for a date to come).
    slug
        Identifier made of the name; None makes it.
    """
    slug = slug or attribute_slug(name)
    literal = "'" + name.replace("'", "''") + "'"
    latest = f"arg_max(value, happened_at) FILTER (WHERE name = {literal} AND {{holds}})"
    number, day = "TRY_CAST(value AS DOUBLE)", "TRY_CAST(value AS DATE)"
    found: dict[str, Feature] = {}
    for kind in kinds:
        if kind == "text":
            feature = Feature(
                f"attr_{slug}", "attributes", latest.format(holds="value IS NOT NULL"), None, "text", "name",
                f"属性「{name}」", f"Attribute {name!r}, latest value",
            )  # fmt: skip
        elif kind == "number":
            finite = f"abs({number}) < 1e300"
            feature = Feature(
                f"attr_{slug}_num", "attributes", f"CAST({latest.format(holds=finite)} AS DOUBLE)", None, "number",
                "value",
                f"属性「{name}」(数值)", f"Attribute {name!r}, latest number",
            )  # fmt: skip
        else:
            date = f"CAST({latest.format(holds=f'{day} IS NOT NULL')} AS DATE)"
            feature = Feature(
                f"attr_{slug}_days", "attributes", f"date_diff('day', {date}, max(today))", None, "number", "days",
                f"属性「{name}」距今天数", f"Days since the date in attribute {name!r}",
            )  # fmt: skip
        found[feature.name] = feature
    return found


def attribute_slug(name: str) -> str:
    """A plain identifier for an attribute's name: lower case, letters of any script, digits and underscores."""
    folded = unicodedata.normalize("NFKC", name).strip().lower()
    return re.sub(r"\W+", "_", folded).strip("_") or "unnamed"


@dataclass(frozen=True)
class Discovered:
    """Features of a workspace's attributes.

    Attributes
    ----------
    features
        By name.
    left_out
        Attributes beyond the :data:`MAX_ATTRIBUTES` that most members have.
    """

    features: Mapping[str, Feature]
    left_out: tuple[str, ...]


def discover_attributes(engine: Engine) -> Discovered:
    """Features of the attributes that the engine's ``attributes`` table holds.

    An attribute whose values are all numbers becomes ``attr_<name>_num``, one whose values are all dates
    ``attr_<name>_days``, any other ``attr_<name>`` (text); where only some are numbers there are both. The
    :data:`MAX_ATTRIBUTES` that most members have are kept. Names become plain identifiers; where two become the same,
    the later in alphabetical order gets a number.
    """
    rows = engine.query("""
        SELECT name, count(DISTINCT member_id) AS members, count(value) AS n,
               count(*) FILTER (WHERE abs(TRY_CAST(value AS DOUBLE)) < 1e300) AS numbers,
               count(*) FILTER (WHERE TRY_CAST(value AS DATE) IS NOT NULL) AS dates
        FROM attributes GROUP BY name HAVING count(value) > 0
        ORDER BY members DESC, name""").to_pylist()
    kept = sorted(rows[:MAX_ATTRIBUTES], key=lambda row: str(row["name"]))
    found: dict[str, Feature] = {}
    for row in kept:
        kinds: list[AttributeKind]
        if row["numbers"] == row["n"]:
            kinds = ["number"]
        elif row["dates"] == row["n"]:
            kinds = ["date"]
        else:
            kinds = ["text", "number"] if row["numbers"] else ["text"]
        slug = base = attribute_slug(row["name"])
        features = attribute_features(row["name"], kinds, slug)
        suffix = 2
        while any(name in found for name in features):
            slug = f"{base}_{suffix}"
            features = attribute_features(row["name"], kinds, slug)
            suffix += 1
        found |= features
    return Discovered(found, tuple(str(row["name"]) for row in rows[MAX_ATTRIBUTES:]))


def catalogue_for(engine: Engine) -> Mapping[str, Feature]:
    """:data:`CATALOGUE` and the engine's attributes (see :func:`discover_attributes`)."""
    return {**CATALOGUE, **discover_attributes(engine).features}


def feature_columns(catalogue: Mapping[str, Feature] = CATALOGUE) -> Mapping[str, str]:
    """Feature → type family, as :func:`uplift.rules.compile_rule` takes them."""
    return {name: feature.kind for name, feature in catalogue.items()}


def choose(names: Iterable[str] | None, catalogue: Mapping[str, Feature]) -> list[Feature]:
    """The features of those names, in their order; all for None.

    Raises
    ------
    InputError
        Listing every name that is unknown or given twice.
    """
    if names is None:
        return list(catalogue.values())
    wanted = list(names)
    problems = [
        f"unknown feature {name!r}: {did_you_mean(name, catalogue)}" for name in wanted if name not in catalogue
    ]
    problems += [f"feature {name!r} is given twice" for name in sorted({n for n in wanted if wanted.count(n) > 1})]
    if problems:
        raise InputError("; ".join(problems))
    return [catalogue[name] for name in wanted]
