"""Random assignment that anyone can repeat: a salted hash of the member, balanced within strata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from uplift.config import ExperimentSpec
from uplift.errors import DesignError, did_you_mean
from uplift.experiments._encoding import encode, is_number
from uplift.experiments._hashing import hash_uniform
from uplift.experiments._inputs import segment_column
from uplift.experiments.checks import Balance, SampleRatio, balance, sample_ratio
from uplift.experiments.layers import in_slice
from uplift.results import Rendered

COLUMNS = ("experiment_id", "member_id", "arm", "propensity", "assigned_at")


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
    elsewhere
        Members outside the experiment's slice of its layer.
    without_cluster
        Members who belong to no cluster, where clusters are assigned.
    clusters
        Clusters assigned; None when members were.
    """

    table: pd.DataFrame
    sample_ratio: SampleRatio
    balance: Balance
    excluded: int
    elsewhere: int = 0
    without_cluster: int = 0
    clusters: int | None = None

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
    earlier: int = 0,
) -> Assignment:
    """Assign members to the arms of an experiment, deterministically.

    Without strata a member's arm depends on nothing but their id, the experiment's id, version and salt, so members
    who join later can be assigned later. With strata (numbers of many values enter by their quarters), members are
    ordered by their hash within each stratum and arms are dealt out systematically from a hashed starting point: arm
    sizes in every stratum are within one of their share, and every member's chance is exactly the share.

    With ``spec.cluster`` whole clusters (stores) are dealt out in the same way, a cluster's stratum being that of its
    average or most frequent member. With ``spec.layer`` only members, or clusters, of the experiment's slice take part.

    Parameters
    ----------
    members
        One row a member: ``member_id``, the columns of ``spec.stratify`` and ``spec.cluster``, and covariates.
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
    earlier
        Members of the population whom earlier versions have assigned and who are therefore not among ``members``: for
        what is said when nobody is left.

    Returns
    -------
    Assignment

    Raises
    ------
    DesignError
        If a column is missing, a member is empty or comes twice, nobody is left, or clusters are too few for the arms.

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
    _check(members, (*spec.stratify, *checked, *([spec.cluster] if spec.cluster else [])))
    out = np.zeros(len(members), dtype=bool) if excluded is None else np.asarray(excluded, dtype=bool)
    homeless = np.zeros(len(members), dtype=bool)
    if spec.cluster is not None:
        homeless = ~out & members[spec.cluster].isna().to_numpy()
    units = members["member_id"] if spec.cluster is None else members[spec.cluster]
    apart = ~out & ~homeless & ~in_slice(units, spec)
    chosen = members.loc[~(out | homeless | apart)].reset_index(drop=True)
    if not len(chosen):
        raise DesignError(_nobody(spec, earlier, int(out.sum()), int(apart.sum()), int(homeless.sum())))
    shares = np.array(list(spec.shares.values()))
    salt = f"{spec.salt}\0{spec.id}\0{spec.version}"
    cluster = None if spec.cluster is None else pd.factorize(chosen[spec.cluster].astype(str), sort=True)[0]
    if cluster is None:
        place = _places(chosen, chosen["member_id"], spec.stratify, salt, deal=bool(spec.stratify))
    else:
        stores = _clusters(chosen, str(spec.cluster), spec.stratify)
        _enough(len(stores), spec)
        place = _places(stores, stores.index.to_series(), spec.stratify, salt, deal=True)[cluster]
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
    counted = arm if cluster is None else arm[np.unique(cluster, return_index=True)[1]]
    counts = np.bincount(counted, minlength=len(names))
    return Assignment(
        table,
        sample_ratio(
            {names[i]: int(counts[i]) for i in order}, spec.shares, unit="member" if cluster is None else "cluster"
        ),
        balance(
            encode(chosen, checked, min_cell), codes, tuple(names[i] for i in order),
            clusters=cluster, min_cell=min_cell,
        ),
        int(out.sum()),
        int(apart.sum()),
        int(homeless.sum()),
        None if cluster is None else len(counted),
    )  # fmt: skip


def _nobody(spec: ExperimentSpec, earlier: int, out: int, apart: int, homeless: int) -> str:
    """Why nobody is left to assign, and what becomes of those who were assigned before."""
    why = [
        f"{n:,} {what}"
        for n, what in (
            (out, "held out, not in any experiment"),
            (apart, "outside this experiment's slice of its layer"),
            (homeless, f"without a value of {spec.cluster!r}"),
        )
        if n
    ]
    if not earlier:
        return f"nobody is left to assign ({', '.join(why) or 'the population is empty'}) → check the population" + (
            ", the layer's slice and the holdout's share" if why else ""
        )
    return (
        f"nobody is left for version {spec.version} of {spec.id!r}: {earlier:,} members of the population were "
        f"assigned by earlier versions and keep their arm{''.join(f', {one}' for one in why)} → nothing was changed; "
        f"`uplift experiment analyze {spec.id}` measures those who were assigned, and new members need a wider "
        "`population` or another experiment"
    )


def _clusters(members: pd.DataFrame, cluster: str, strata: Sequence[str]) -> pd.DataFrame:
    """One row a cluster in the order of its name: the mean of a number, the most frequent of other values."""
    groups = members.groupby(members[cluster].astype(str), sort=True)
    columns = {}
    for name in strata:
        if is_number(members[name]):
            columns[name] = groups[name].mean()
        else:
            columns[name] = groups[name].agg(lambda values: _most_frequent(values))
    return pd.DataFrame(columns, index=pd.Index(sorted(groups.groups), name=cluster))


def _most_frequent(values: pd.Series) -> Any:
    counted = values.value_counts()
    return None if counted.empty else sorted(counted.index[counted == counted.max()].astype(str))[0]


def _enough(clusters: int, spec: ExperimentSpec) -> None:
    least = min(share for share in spec.shares.values() if share > 0)
    if clusters * least < 2:
        raise DesignError(
            f"{clusters:,} values of {spec.cluster!r} cannot be shared out: the smallest arm (share {least:.3g}) would "
            f"get {clusters * least:.2g} of them, and an arm needs at least 2 → larger shares, fewer arms, or assign "
            "members instead"
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


def _places(
    frame: pd.DataFrame, units: pd.Series, strata: Sequence[str], salt: str, *, deal: bool
) -> NDArray[np.float64]:
    """A uniform place in [0, 1) for every unit: its hash, or (``deal``) the hash's rank within its stratum."""
    place = hash_uniform(units, salt)
    if not deal:
        return place
    stratum = _strata(frame, strata)
    groups = pd.Series(place, index=frame.index).groupby(stratum.to_numpy(), sort=True)
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
