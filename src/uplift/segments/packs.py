"""Industry packs: tags, offers and timing rules of one trade, each pack one reviewable file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import pandas as pd
import pyarrow as pa
from pydantic import Field, model_validator
from sqlglot import exp

from uplift.config import Spec, parse_spec, parse_yaml, read_yaml
from uplift.data import Engine
from uplift.errors import ConfigError, RuleError, unknown_name
from uplift.features import CATALOGUE, Feature, attribute_features, catalogue_for, feature_columns
from uplift.rules import Rule, compile_rule, evaluate_rules
from uplift.segments._audience import SEGMENT, build_columns
from uplift.segments.thresholds import Thresholds, default_thresholds

Table: TypeAlias = "pa.Table | pd.DataFrame"
Family: TypeAlias = Literal["preference", "scene", "lifecycle", "value", "content", "social", "profile"]

_KEY = r"^[a-z][a-z0-9_]*$"
_FOLDER = "packs"
_COMMON = "_common.yaml"


class AttributeSpec(Spec):
    """A survey or profile answer that the pack's rules read, as ``attr_<name>``, ``_num`` or ``_days``."""

    name: str = Field(pattern=_KEY)
    kind: Literal["text", "number", "date"] = "text"
    text_zh: str
    text_en: str
    values: tuple[str, ...] = ()


class TagSpec(Spec):
    """A tag: given to the members whom its rule selects."""

    key: str = Field(pattern=_KEY)
    family: Family
    name_zh: str
    name_en: str
    rule: str


class OfferSpec(Spec):
    """An offer as the ``offers`` table holds it; costs are money in units."""

    offer_id: str = Field(pattern=_KEY)
    name_zh: str
    name_en: str
    kind: str
    eligible: str
    forbidden: str | None = None
    cost_contact: float = Field(default=0.0, ge=0)
    cost_redeem: float = Field(default=0.0, ge=0)
    channel: str | None = None
    form: Literal["video", "article"] | None = None
    cooldown_days: float = Field(default=14.0, ge=0)
    quota: int | None = Field(default=None, ge=0)


class TimingSpec(Spec):
    """When to speak: the members whom the rule selects today are due for this offer (None: content only)."""

    key: str = Field(pattern=_KEY)
    name_zh: str
    name_en: str
    rule: str
    offer_id: str | None = None


class Pack(Spec):
    """One trade's tags, offers and timing rules."""

    name: str = Field(pattern=_KEY)
    title_zh: str
    title_en: str
    attributes: tuple[AttributeSpec, ...] = ()
    tags: tuple[TagSpec, ...] = Field(min_length=1)
    offers: tuple[OfferSpec, ...] = Field(min_length=1)
    timing: tuple[TimingSpec, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        problems = []
        for what, keys in (
            ("attributes", [attribute.name for attribute in self.attributes]),
            ("tags", [tag.key for tag in self.tags]),
            ("offers", [offer.offer_id for offer in self.offers]),
            ("timing", [timing.key for timing in self.timing]),
        ):
            double = sorted({key for key in keys if keys.count(key) > 1})
            problems += [f"{what}: {key!r} is given twice" for key in double]
        offers = {offer.offer_id for offer in self.offers}
        problems += [
            f"timing {timing.key!r} names the offer {timing.offer_id!r}, which the pack does not have"
            for timing in self.timing
            if timing.offer_id is not None and timing.offer_id not in offers
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def catalogue(self) -> Mapping[str, Feature]:
        """Features of the pack's own attributes."""
        found: dict[str, Feature] = {}
        for attribute in self.attributes:
            found |= attribute_features(attribute.name, [attribute.kind])
        return found

    @property
    def rules(self) -> Mapping[str, str]:
        """Where → rule text, for every rule in the pack."""
        rules = {f"tags.{tag.key}": tag.rule for tag in self.tags}
        for offer in self.offers:
            rules[f"offers.{offer.offer_id}.eligible"] = offer.eligible
            if offer.forbidden is not None:
                rules[f"offers.{offer.offer_id}.forbidden"] = offer.forbidden
        return rules | {f"timing.{timing.key}": timing.rule for timing in self.timing}


def list_packs() -> tuple[str, ...]:
    """Names of the packaged packs."""
    folder = resources.files("uplift.segments").joinpath(_FOLDER)
    names = [entry.name for entry in folder.iterdir()]
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and name != _COMMON))


def load_pack(name: str | Path) -> Pack:
    """A packaged pack by name, or one from a file; its rules are compiled.

    Raises
    ------
    ConfigError
        Listing everything that is wrong with it.
    """
    values, where = _read(name)
    pack = parse_spec(values, Pack, where)
    problems = rule_problems(pack)
    if problems:
        raise ConfigError(f"{where}: {len(problems)} problem(s):\n" + "\n".join(f"  {problem}" for problem in problems))
    return pack


def check_pack(name: str | Path) -> list[str]:
    """Everything that is wrong with a pack; empty when it is fine.

    Raises
    ------
    ConfigError
        If there is no such pack or file.
    """
    values, where = _read(name)
    try:
        pack = parse_spec(values, Pack, where)
    except ConfigError as error:
        return [line.strip() for line in str(error).splitlines()[1:]] + _loose_rule_problems(values)
    return rule_problems(pack)


def rule_problems(pack: Pack, thresholds: Thresholds | None = None) -> list[str]:
    """Rules of a pack that do not compile against the catalogue, its own attributes and ``segment``."""
    columns = {**feature_columns({**CATALOGUE, **pack.catalogue}), SEGMENT: "text"}
    segments = set((thresholds or default_thresholds()).names)
    problems = []
    for where, text in pack.rules.items():
        try:
            rule = compile_rule(text, columns)
        except RuleError as error:
            problems.append(f"{where}: {error}")
            continue
        strangers = sorted(set(_segments_named(rule)) - segments)
        problems += [f"{where}: {unknown_name('segment', stranger, segments)}" for stranger in strangers]
    return problems


def assign_tags(engine: Engine, spine: Table, pack: Pack, *, thresholds: Thresholds | None = None) -> pa.Table:
    """The pack's tags for every row of a spine.

    Returns
    -------
    pyarrow.Table
        ``member_id``, ``as_of``, then one boolean column a tag; null where the rule's answer is unknown.
    """
    catalogue = {**pack.catalogue, **catalogue_for(engine)}
    rules = tag_rules(pack, catalogue)
    names = sorted(frozenset[str]().union(*(rule.columns for rule in rules.values())))
    built = build_columns(engine, spine, names, catalogue=catalogue, thresholds=thresholds)
    answers = evaluate_rules(rules, built)
    table = built.select(["member_id", "as_of"])
    for key in rules:
        table = table.append_column(key, pa.array(answers[key], pa.bool_(), from_pandas=True))
    return table


def tag_rules(pack: Pack, catalogue: Mapping[str, Feature]) -> dict[str, Rule]:
    """Tag key → compiled rule."""
    columns = {**feature_columns(catalogue), SEGMENT: "text"}
    return {tag.key: compile_rule(tag.rule, columns) for tag in pack.tags}


def _read(name: str | Path) -> tuple[dict[str, Any], str]:
    """What a pack's file holds, with what every pack has, and how messages name it."""
    if isinstance(name, Path) or str(name).endswith((".yaml", ".yml")):
        return _with_common(read_yaml(Path(name))), str(name)
    if name not in list_packs():
        raise ConfigError(str(unknown_name("pack", str(name), list_packs())) + " (or give a .yaml file)")
    return _with_common(_packaged(f"{name}.yaml")), f"{name}.yaml"


def _packaged(file: str) -> dict[str, Any]:
    text = resources.files("uplift.segments").joinpath(_FOLDER, file).read_text(encoding="utf-8")
    return parse_yaml(text, file)


def _with_common(values: dict[str, Any]) -> dict[str, Any]:
    """The pack's entries first, then the common ones whose key it does not give itself."""
    merged = dict(values)
    for part, entries in _packaged(_COMMON).items():
        own = values.get(part, [])
        if isinstance(own, list) and (own or part in values or part != "tags"):
            key = "name" if part == "attributes" else "key"
            given = {entry.get(key) for entry in own if isinstance(entry, dict)}
            merged[part] = [*own, *(entry for entry in entries if entry[key] not in given)]
    return merged


def _segments_named(rule: Rule) -> list[str]:
    """Segment keys that a rule compares ``segment`` with."""
    found = []
    for node in rule.tree.find_all(exp.EQ, exp.NEQ, exp.In):
        parts = [node.this, *(node.expressions or [node.args.get("expression")])]
        if any(isinstance(part, exp.Column) and part.name == SEGMENT for part in parts):
            found += [part.name for part in parts if isinstance(part, exp.Literal) and part.is_string]
    return found


def _loose_rule_problems(values: Mapping[str, Any]) -> list[str]:
    """Rules that do not compile in a file whose shape is wrong, so that everything is said at once."""
    attributes = [entry for entry in values.get("attributes") or () if isinstance(entry, dict)]
    catalogue: dict[str, Feature] = dict(CATALOGUE)
    for entry in attributes:
        if entry.get("kind", "text") in ("text", "number", "date") and isinstance(entry.get("name"), str):
            catalogue |= attribute_features(entry["name"], [entry.get("kind", "text")])
    columns = {**feature_columns(catalogue), SEGMENT: "text"}
    problems = []
    for part in ("tags", "offers", "timing"):
        for number, entry in enumerate(values.get(part) or ()):
            if not isinstance(entry, dict):
                continue
            for key in ("rule", "eligible", "forbidden"):
                if isinstance(entry.get(key), str):
                    try:
                        compile_rule(entry[key], columns)
                    except RuleError as error:
                        problems.append(f"{part}.{number}.{key}: {error}")
    return problems
