"""Compose the entries of one source into one statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from uplift.features._feature import Feature, Source, double, words
from uplift.features._sources import SOURCES

SPINE = "uplift_spine"  # registered relation: spine_row, member_id, as_of

_TYPES = {"number": "DOUBLE", "text": "VARCHAR", "flag": "BOOLEAN"}


def statements(features: Iterable[Feature], *, spine: str = SPINE) -> dict[str, str]:
    """Source → the statement that computes its features, one row for every spine row that has rows in the source.

    The columns are ``spine_row`` and the features. Only rows whose event time and known-at time are both strictly
    before the spine row's as-of time take part.
    """
    by_source: dict[str, list[Feature]] = {}
    for feature in features:
        by_source.setdefault(feature.source, []).append(feature)
    return {name: _statement(SOURCES[name], entries, spine) for name, entries in by_source.items()}


def _statement(source: Source, features: Sequence[Feature], spine: str) -> str:
    groupings = {feature.by for feature in features if feature.by is not None}
    texts = [feature.aggregate for feature in features]
    for name in groupings:
        group = source.groups[name]
        texts += [group.choice, group.where, *group.measures.values()]
    used = words(texts)
    used |= words(text for name, text in source.stepped.items() if name in used)
    derived = {name: text for name, text in source.derived.items() if name in used}
    stepped = {name: text for name, text in source.stepped.items() if name in used}
    columns = [name for name in source.columns if name in used]

    pairs = ["s.spine_row"]
    pairs += ["r.happened_at"] if "happened_at" in used else []
    pairs += ["(epoch_us(s.as_of) - epoch_us(r.happened_at)) / 8.64e10 AS age_days"] if "age_days" in used else []
    pairs += [f"r.{name}" for name in columns]
    pairs += [f"{text} AS {name}" for name, text in derived.items()]
    seen = (
        f"SELECT {', '.join(pairs)}\n  FROM {spine} s JOIN ({source.relation}\n  ) r ON r.member_id = s.member_id\n"
        "  WHERE r.happened_at < s.as_of AND r.known_at < s.as_of"
    )
    ctes = [f"seen AS (\n  {seen}\n)"]
    rows = "seen"
    if stepped:
        steps = ", ".join(f"{text} AS {name}" for name, text in stepped.items())
        ctes.append(f"stepped AS (SELECT *, {steps} FROM seen)")
        rows = "stepped"

    plain = [feature for feature in features if feature.by is None]
    ctes.append(f"main AS (SELECT spine_row{_select(plain)} FROM {rows} GROUP BY spine_row)")
    joins, outer = "", ["main.spine_row"]
    for name in sorted(groupings):
        ctes.append(f"grouped_{name} AS ({_grouped(source, name, rows)})")
        mine = [feature for feature in features if feature.by == name]
        ctes.append(f"by_{name} AS (SELECT spine_row{_select(mine)} FROM grouped_{name} GROUP BY spine_row)")
        joins += f" LEFT JOIN by_{name} ON by_{name}.spine_row = main.spine_row"
    for feature in features:
        table = "main" if feature.by is None else f"by_{feature.by}"
        outer.append(f"{_filled(f'{table}.{_quoted(feature.name)}', feature)} AS {_quoted(feature.name)}")
    body = ",\n".join(ctes)
    return f"WITH {body}\nSELECT {', '.join(outer)}\nFROM main{joins}"


def _grouped(source: Source, name: str, rows: str) -> str:
    group = source.groups[name]
    measures = ", ".join(f"{text} AS {measure}" for measure, text in group.measures.items())
    counted = (
        f"SELECT spine_row, {group.choice} AS choice, {measures} FROM {rows} "
        f"WHERE {group.choice} IS NOT NULL AND {group.where} GROUP BY spine_row, {group.choice}"
    )
    return (
        f"SELECT *, row_number() OVER (PARTITION BY spine_row ORDER BY {group.order}, choice) AS place FROM ({counted})"
    )


def _select(features: Sequence[Feature]) -> str:
    return "".join(
        f",\n  CAST({feature.aggregate} AS {_TYPES[feature.kind]}) AS {_quoted(feature.name)}" for feature in features
    )


def _filled(value: str, feature: Feature) -> str:
    if feature.empty is None:
        return value
    return f"coalesce({value}, {_constant(feature.empty)})"


def _constant(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else double(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def sources_of(features: Iterable[Feature]) -> Mapping[str, Source]:
    """The sources that the features read."""
    return {feature.source: SOURCES[feature.source] for feature in features}
