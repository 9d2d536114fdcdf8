"""Audiences: the members whom a rule selects as of a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa

from uplift.config import Workspace, read_yaml
from uplift.data import Engine
from uplift.errors import ConfigError
from uplift.features import Feature, build, catalogue_for, feature_columns, parse_as_of, spine_of_members
from uplift.results import Rendered
from uplift.rules import Rule, compile_rule
from uplift.segments._assign import segment_of
from uplift.segments.thresholds import Compiled, Thresholds, thresholds_of

Table: TypeAlias = "pa.Table | pd.DataFrame"

SEGMENT = "segment"
FILE_NAME = "audiences.yaml"


@dataclass(frozen=True)
class Audience(Rendered):
    """The members whom a rule selects.

    Attributes
    ----------
    rule
        The expression.
    as_of
        The time (UTC).
    size, population
        Members selected, and members there are.
    unknown
        Members for whom the rule has no answer because a field is missing; they are not selected.
    missing
        Field → members whose answer is unknown and who lack this field.
    member_ids
        One column, ``member_id``, ordered.
    """

    rule: str
    as_of: datetime
    size: int
    population: int
    unknown: int
    missing: Mapping[str, int]
    member_ids: pa.Table

    @property
    def share(self) -> float | None:
        """Size over population; None without members."""
        return self.size / self.population if self.population else None

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row, without the ids."""
        return [
            {
                "rule": self.rule,
                "as_of": self.as_of.isoformat(),
                "size": self.size,
                "population": self.population,
                "share": self.share,
                "unknown": self.unknown,
                "missing": dict(self.missing),
            }
        ]


def rule_columns(engine: Engine, catalogue: Mapping[str, Feature] | None = None) -> Mapping[str, str]:
    """Columns that rules may read: the catalogue, the workspace's attributes, and ``segment``."""
    return {**feature_columns(catalogue_for(engine) if catalogue is None else catalogue), SEGMENT: "text"}


def build_columns(
    engine: Engine,
    spine: Table,
    names: Iterable[str],
    *,
    catalogue: Mapping[str, Feature] | None = None,
    thresholds: Thresholds | None = None,
) -> pa.Table:
    """Like :func:`uplift.features.build`, for names among which ``segment`` may be.

    Returns
    -------
    pyarrow.Table
        The spine's columns, then ``names`` in their order.
    """
    wanted = list(dict.fromkeys(names))
    plain = [name for name in wanted if name != SEGMENT]
    if SEGMENT not in wanted:
        return build(engine, spine, plain, catalogue=catalogue)
    chosen = thresholds_of(engine, thresholds)
    needed = [name for name in Compiled(chosen).features if name not in plain]
    built = build(engine, spine, [*plain, *needed], catalogue=catalogue)
    keys = segment_of(built, chosen, engine=engine)
    first = built.num_columns - len(plain) - len(needed)
    carried = built.select(built.column_names[:first])
    for name in wanted:
        column = keys if name == SEGMENT else built.column(name)
        carried = carried.append_column(name, column)
    return carried


def audience(
    engine: Engine, rule: str | Rule, as_of: str | date | datetime, thresholds: Thresholds | None = None
) -> Audience:
    """The members registered before ``as_of`` whom a rule selects.

    Parameters
    ----------
    rule
        Over the catalogue, the workspace's attributes (``attr_…``) and ``segment``, e.g.
        ``orders_total >= 1 AND days_since_last_order > 30``.

    Raises
    ------
    RuleError
        If the rule is wrong.
    """
    moment = parse_as_of(as_of, engine.timezone)
    catalogue = catalogue_for(engine)
    compiled = rule if isinstance(rule, Rule) else compile_rule(rule, rule_columns(engine, catalogue))
    spine = spine_of_members(engine, moment)
    built = build_columns(engine, spine, sorted(compiled.columns), catalogue=catalogue, thresholds=thresholds)
    answers = compiled.evaluate(built)
    selected = answers.fillna(False).to_numpy(bool)
    unknown = answers.isna().to_numpy(bool)
    missing = {
        name: count
        for name in sorted(compiled.columns)
        if (count := int((unknown & built.column(name).is_null().to_numpy()).sum()))
    }
    ids = pa.table({"member_id": built.column("member_id").filter(pa.array(selected))})
    return Audience(compiled.text, moment, int(selected.sum()), built.num_rows, int(unknown.sum()), missing, ids)


def saved_audiences(workspace: Workspace) -> Mapping[str, str]:
    """Name → rule, from the workspace's ``audiences.yaml`` (empty without one).

    Raises
    ------
    ConfigError
        If the file is wrong.
    """
    path = workspace.root / FILE_NAME
    if not path.is_file():
        return {}
    values = read_yaml(path)
    wrong = [name for name, rule in values.items() if not isinstance(rule, str)]
    if wrong:
        raise ConfigError(f"{FILE_NAME}: expected a name and a rule on each line; not a rule: {', '.join(wrong)}")
    return values
