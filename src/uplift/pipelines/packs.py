"""The job behind ``uplift packs``: which there are, what is in one, and what is wrong with one."""

from __future__ import annotations

from dataclasses import dataclass

from uplift.results import Rendered
from uplift.segments import Pack, check_pack, list_packs, load_pack


@dataclass(frozen=True)
class PackRow(Rendered):
    """One pack in a list."""

    name: str
    title_zh: str
    title_en: str
    attributes: int
    tags: int
    offers: int
    timing: int


@dataclass(frozen=True)
class PackCheck:
    """What is wrong with a pack; empty when it is fine."""

    name: str
    problems: tuple[str, ...]


def packs() -> list[PackRow]:
    """Every packaged pack."""
    return [_row(load_pack(name)) for name in list_packs()]


def show_pack(name: str) -> Pack:
    """A pack by name or file."""
    return load_pack(name)


def checked(name: str) -> PackCheck:
    """Everything that is wrong with a pack, by name or file."""
    return PackCheck(name, tuple(check_pack(name)))


def _row(pack: Pack) -> PackRow:
    return PackRow(
        pack.name,
        pack.title_zh,
        pack.title_en,
        len(pack.attributes),
        len(pack.tags),
        len(pack.offers),
        len(pack.timing),
    )
