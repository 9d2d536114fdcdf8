"""Public data sets as the contract's tables.

>>> sorted(ADAPTERS)
['cdnow', 'gym', 'hillstrom', 'online-retail', 'open-bandit', 'starbucks']
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from uplift.data.adapters import cdnow, gym, hillstrom, online_retail, open_bandit, starbucks
from uplift.data.adapters._base import Adapter, Imported

ADAPTERS: Mapping[str, Adapter] = MappingProxyType(
    {module.ADAPTER.name: module.ADAPTER for module in (hillstrom, starbucks, online_retail, gym, cdnow, open_bandit)}
)
"""Adapter by the name that ``uplift import`` takes."""

__all__ = ["ADAPTERS", "Adapter", "Imported"]
