"""Thresholds of segments and of the RFM model: a typed file that a workspace may override."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Self

from pydantic import Field, model_validator

from uplift.config import Share, Spec, Workspace, parse_spec, parse_yaml, read_spec
from uplift.data import Engine
from uplift.errors import ConfigError, RuleError
from uplift.features import feature_columns
from uplift.rules import Rule, compile_expression, compile_rule

FILE_NAME = "segments.yaml"


class SegmentSpec(Spec):
    """One segment: a stable key, its names, and the rule that puts a member there (None: everyone else)."""

    key: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name_zh: str
    name_en: str
    rule: str | None = None


class ValueSpec(Spec):
    """What a member is worth, in money, and the share of members with any value who count as the top."""

    expression: str
    top_share: Share


class RFMSpec(Spec):
    """The RFM model: three features, the number of scores, and edges (None: quantiles of those who ever bought)."""

    recency: str = "days_since_last_order"
    frequency: str = "orders_365d"
    monetary: str = "spend_365d"
    scores: int = Field(default=5, ge=2, le=10)
    high: int = Field(default=4, ge=2)
    recency_edges: tuple[float, ...] | None = None
    frequency_edges: tuple[float, ...] | None = None
    monetary_edges: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _edges(self) -> Self:
        if self.high > self.scores:
            raise ValueError(f"high is {self.high}, above the best score {self.scores}")
        for name in ("recency_edges", "frequency_edges", "monetary_edges"):
            edges = getattr(self, name)
            if edges is not None and (len(edges) != self.scores - 1 or list(edges) != sorted(edges)):
                raise ValueError(f"{name} must be {self.scores - 1} ascending numbers, found {list(edges)}")
        return self


class Thresholds(Spec):
    """Everything about segments that is configuration.

    Attributes
    ----------
    value
        What ``value`` and ``value_cut`` mean in the rules.
    segments
        In order of priority; only the last has no rule.
    rfm
        The RFM model.
    """

    value: ValueSpec
    segments: tuple[SegmentSpec, ...] = Field(min_length=2)
    rfm: RFMSpec = RFMSpec()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        keys = [segment.key for segment in self.segments]
        if len(set(keys)) < len(keys):
            raise ValueError(f"segment keys must differ, found {keys}")
        if any(segment.rule is None for segment in self.segments[:-1]) or self.segments[-1].rule is not None:
            raise ValueError("every segment but the last needs a rule, and the last takes everyone else without one")
        return self

    @property
    def names(self) -> dict[str, tuple[str, str]]:
        """Segment key → (Chinese, English) name."""
        return {segment.key: (segment.name_zh, segment.name_en) for segment in self.segments}


class Compiled:
    """The rules of :class:`Thresholds`, compiled against the catalogue.

    Attributes
    ----------
    value
        Expression in money.
    rules
        Segment key → rule, in order of priority; the last segment is ``otherwise``.
    features
        Features that they read.

    Raises
    ------
    ConfigError
        Listing every rule that is wrong.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        columns = dict(feature_columns())
        problems: list[str] = []
        rules: dict[str, Rule] = {}
        try:
            value = compile_expression(thresholds.value.expression, columns)
            if value.kind != "number":
                problems.append(f"value.expression gives {value.kind}, but a value is a number")
        except RuleError as error:
            problems.append(f"value.expression: {error}")
        known = columns | {"value": "number", "value_cut": "number"}
        for segment in thresholds.segments[:-1]:
            try:
                rules[segment.key] = compile_rule(str(segment.rule), known)
            except RuleError as error:
                problems.append(f"{segment.key}: {error}")
        rfm = thresholds.rfm
        problems += [
            f"rfm: {name!r} is not a number in the catalogue"
            for name in (rfm.recency, rfm.frequency, rfm.monetary)
            if columns.get(name) != "number"
        ]
        if problems:
            raise ConfigError("segments: " + "\n  ".join(["", *problems]).strip("\n"))
        self.value = value
        self.rules = rules
        self.otherwise = thresholds.segments[-1].key
        read = value.columns.union(*(rule.columns for rule in rules.values())) - {"value", "value_cut"}
        self.features = tuple(name for name in columns if name in read)


@cache
def default_thresholds() -> Thresholds:
    """The packaged thresholds."""
    text = resources.files("uplift.segments").joinpath("thresholds.yaml").read_text(encoding="utf-8")
    return parse_spec(parse_yaml(text, "thresholds.yaml"), Thresholds, "thresholds.yaml")


def workspace_thresholds(workspace: Workspace) -> Thresholds:
    """The workspace's ``segments.yaml``, or the packaged thresholds where it has none.

    Raises
    ------
    ConfigError
        Listing everything that is wrong with the file.
    """
    path = workspace.root / FILE_NAME
    if not path.is_file():
        return default_thresholds()
    thresholds = read_spec(path, Thresholds)
    try:
        Compiled(thresholds)
    except ConfigError as error:
        raise ConfigError(f"{FILE_NAME}: {error}") from None
    return thresholds


def thresholds_of(engine: Engine, thresholds: Thresholds | None = None) -> Thresholds:
    """``thresholds`` if given, else those of the engine's workspace, else the packaged ones."""
    if thresholds is not None:
        return thresholds
    return default_thresholds() if engine.workspace is None else workspace_thresholds(engine.workspace)
