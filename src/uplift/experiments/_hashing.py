"""Numbers that look random and that anybody can repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
