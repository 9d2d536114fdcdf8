"""Random assignment that anyone can repeat: a salted hash of the member, balanced within strata."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from uplift.config import ExperimentSpec
from uplift.errors import DesignError, did_you_mean
from uplift.experiments._encoding import encode
from uplift.experiments._inputs import segment_column
from uplift.experiments.checks import Balance, SampleRatio, balance, sample_ratio
from uplift.results import Rendered

COLUMNS = ("experiment_id", "member_id", "arm", "propensity", "assigned_at")


def hash_uniform(ids: Iterable[Any], salt: str) -> NDArray[np.float64]:
    """A number in [0, 1) for every id, the same on every machine and in every order.

    Parameters
    ----------
    ids
        Member ids.
    salt
        Different salts give independent numbers.

    Returns
    -------
    ndarray of shape (n_ids,)
        Uniform: the first 53 bits of BLAKE2b keyed by the salt.

    Examples
    --------
    >>> hash_uniform(["m1", "m2"], "spring").round(3).tolist() == hash_uniform(["m1", "m2"], "spring").round(3).tolist()
    True
    """
    keyed = hashlib.blake2b(salt.encode("utf-8"), digest_size=32).digest()

    def one(value: Any) -> int:
        digest = hashlib.blake2b(str(value).encode("utf-8"), key=keyed, digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 11

    return np.fromiter((one(value) for value in ids), dtype=np.float64) * 2.0**-53


@dataclass(frozen=True)
class Assignment(Rendered):
    """Who is in which arm, and whether the arms are alike.

    Attributes
    ----------
    table : pandas.DataFrame
        ``experiment_id``, ``member_id``, ``arm``, ``propensity``, ``assigned_at``; in the order of the members given.
    sample_ratio, balance
        Checks before anything is sent.
    excluded
        Members left out (global holdout).
    """

    table: pd.DataFrame
    sample_ratio: SampleRatio
    balance: Balance
    excluded: int

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row an arm: members and designed share."""
        expected = self.sample_ratio.expected or {}
        total = sum(self.sample_ratio.observed.values())
        return [
            {"arm": arm, "members": count, "share": expected[arm] / total if total else None}
            for arm, count in self.sample_ratio.observed.items()
        ]


def assign(
    members: pd.DataFrame,
    spec: ExperimentSpec,
    *,
    assigned_at: datetime,
    excluded: ArrayLike | None = None,
    covariates: Sequence[str] | None = None,
    min_cell: int = 11,
) -> Assignment:
    """Assign members to the arms of an experiment, deterministically.

    Without strata a member's arm depends on nothing but their id, the experiment's id, version and salt, so members
    who join later can be assigned later. With strata (numbers of many values enter by their quarters), members are
    ordered by their hash within each stratum and arms are dealt out systematically from a hashed starting point: arm
    sizes in every stratum are within one of their share, and every member's chance is exactly the share.

    Parameters
    ----------
    members
        One row a member: ``member_id``, the columns of ``spec.stratify``, and covariates.
    spec
        The experiment.
    assigned_at
        Written into every row.
    excluded : array of bool of shape (n_members,), optional
        Members who must not be in any experiment (the global holdout).
    covariates
        Checked for balance; default ``spec.covariates`` and ``spec.stratify``.
    min_cell
        Smallest cell whose numbers the balance table shows.

    Returns
    -------
    Assignment

    Raises
    ------
    DesignError
        If a column is missing, a member is empty or comes twice, or nobody is left.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from uplift.config import ArmSpec, MetricSpec
    >>> arms = (ArmSpec(name="control", share=0.5), ArmSpec(name="gift", share=0.5))
    >>> spec = ExperimentSpec(
    ...     id="spring", control="control", arms=arms, metrics=(MetricSpec(name="bought", outcome="ordered"),)
    ... )
    >>> members = pd.DataFrame({"member_id": [f"m{i}" for i in range(1000)]})
    >>> done = assign(members, spec, assigned_at=datetime(2026, 3, 1, tzinfo=UTC))
    >>> done.sample_ratio.passed, len(done.table)
    (True, 1000)
    """
    checked = tuple(dict.fromkeys((*spec.stratify, *spec.covariates))) if covariates is None else tuple(covariates)
    _check(members, (*spec.stratify, *checked))
    out = np.zeros(len(members), dtype=bool) if excluded is None else np.asarray(excluded, dtype=bool)
    chosen = members.loc[~out].reset_index(drop=True)
    if not len(chosen):
        raise DesignError("no member is left to assign → check the population and the holdout's share")
    shares = np.array(list(spec.shares.values()))
    salt = f"{spec.salt}\0{spec.id}\0{spec.version}"
    place = _places(chosen, spec.stratify, salt)
    arm = np.minimum(np.searchsorted(np.cumsum(shares), place, side="right"), _last(shares))
    names = list(spec.shares)
    table = pd.DataFrame(
        {
            "experiment_id": spec.id,
            "member_id": chosen["member_id"].astype(str),
            "arm": np.array(names, dtype=object)[arm],
            "propensity": shares[arm],
            "assigned_at": pd.Timestamp(assigned_at),
        }
    )
    order = [names.index(spec.control), *(i for i, name in enumerate(names) if name != spec.control)]
    codes = np.argsort(np.array(order))[arm]
    counts = np.bincount(arm, minlength=len(names))
    return Assignment(
        table,
        sample_ratio({names[i]: int(counts[i]) for i in order}, spec.shares),
        balance(encode(chosen, checked, min_cell), codes, tuple(names[i] for i in order), min_cell=min_cell),
        int(out.sum()),
    )


def _check(members: pd.DataFrame, columns: Sequence[str]) -> None:
    problems = [
        f"no column {name!r} among the members: {did_you_mean(name, map(str, members.columns))}"
        for name in dict.fromkeys(("member_id", *columns))
        if name not in members.columns
    ]
    if "member_id" in members.columns:
        empty, twice = int(members["member_id"].isna().sum()), int(members["member_id"].duplicated().sum())
        if empty:
            problems.append(f"{empty:,} rows have no member_id")
        if twice:
            problems.append(f"{twice:,} members come more than once → one row a member")
    if problems:
        raise DesignError("\n".join(problems))


def _places(members: pd.DataFrame, strata: Sequence[str], salt: str) -> NDArray[np.float64]:
    """A uniform place in [0, 1) for every member: the hash, or the hash's rank within the stratum."""
    place = hash_uniform(members["member_id"], salt)
    if not strata:
        return place
    stratum = _strata(members, strata)
    groups = pd.Series(place).groupby(stratum.to_numpy(), sort=True)
    rank = groups.rank(method="first").to_numpy() - 1
    size = groups.transform("size").to_numpy()
    keys = sorted(set(stratum))
    start = pd.Series(hash_uniform(keys, salt + "\0start"), index=keys)
    return np.asarray((rank + stratum.map(start).to_numpy(dtype=np.float64)) / size, dtype=np.float64)


def _strata(members: pd.DataFrame, strata: Sequence[str]) -> pd.Series:
    """The stratum of every member, as text; numbers with many values enter as their quarters."""
    problems: list[str] = []
    text = pd.Series("", index=members.index, dtype=object)
    for name in strata:
        cut = segment_column(members[name], name, problems, [])
        text = text + "\0" + np.array(cut.values, dtype=object)[cut.codes]
    if problems:
        raise DesignError("; ".join(problems))
    return text


def _last(shares: NDArray[np.float64]) -> int:
    """The last arm that has a share, which takes what rounding leaves over."""
    return int(np.flatnonzero(shares > 0)[-1])
