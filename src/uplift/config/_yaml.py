"""YAML into typed specs: duplicate keys refused, ``no`` stays a word, every mistake listed at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from uplift.errors import ConfigError, did_you_mean


class Spec(BaseModel):
    """Base of every typed specification: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SpecT = TypeVar("SpecT", bound=Spec)


class _Loader(yaml.SafeLoader):
    """Safe YAML with YAML 1.2 booleans and without silent duplicates."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
        seen.add(key.value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises
    ------
    ConfigError
        If the file is absent, is not UTF-8, is not YAML, gives a key twice or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML text; ``where`` names it in messages."""
    try:
        loaded = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {error}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{where}: expected keys and values, found {type(loaded).__name__}")
    return {str(key): value for key, value in loaded.items()}


def parse_spec(values: Mapping[str, Any], model: type[SpecT], where: str) -> SpecT:
    """``values`` as a typed spec, or one :class:`ConfigError` that lists everything wrong with them."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        found = error.errors()
        inner = {item["loc"][:1] for item in found if len(item["loc"]) > 1}
        told = [item for item in found if item["type"] != "too_short" or item["loc"] not in inner]
        lines = [f"  {_location(item['loc'])}{_reason(item, model)}" for item in told]
        raise ConfigError(f"{where}: {len(lines)} problem(s):\n" + "\n".join(lines)) from None


def read_spec(path: Path, model: type[SpecT]) -> SpecT:
    """A typed spec from a YAML file."""
    return parse_spec(read_yaml(path), model, str(path))


def dump_yaml(spec: Spec) -> str:
    """A spec as YAML that :func:`read_spec` reads back to an equal spec."""
    return yaml.safe_dump(
        spec.model_dump(mode="json", exclude_defaults=False), allow_unicode=True, sort_keys=False, width=110
    )


def _location(loc: tuple[int | str, ...]) -> str:
    return f"{'.'.join(str(part) for part in loc)}: " if loc else ""


def _reason(item: Any, model: type[Spec]) -> str:
    if item["type"] == "extra_forbidden":
        known = _fields_at(model, item["loc"][:-1])
        return f"unknown key; {did_you_mean(str(item['loc'][-1]), known)}"
    if item["type"] == "missing":
        return "is required"
    reason = str(item["msg"]).removeprefix("Value error, ")
    if isinstance(item["input"], Mapping | BaseModel):
        return reason  # the whole definition would hide it
    text = repr(item["input"])
    return f"{reason} (found {text if len(text) <= 100 else text[:97] + '…'})"


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in loc:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part)
        nested = _nested_model(field.annotation) if field is not None else None
        if nested is None:
            return []
        current = nested
    return list(current.model_fields)


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _nested_model(argument)
        if found is not None:
            return found
    return None


def parse_share(value: Any) -> float:
    """A share given as a number or as a fraction: ``0.5``, ``"1/3"``, ``"5%"``.

    Examples
    --------
    >>> round(parse_share("1/3"), 4), parse_share("5%"), parse_share(0.5)
    (0.3333, 0.05, 0.5)
    """
    text = str(value).strip()
    try:
        number = float(Fraction(text[:-1])) / 100 if text.endswith("%") else float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise ValueError("expected a share such as 0.5, 1/3 or 5%") from None
    if not 0 <= number <= 1:
        raise ValueError("a share lies between 0 and 1")
    return number


Share = Annotated[float, BeforeValidator(parse_share)]
