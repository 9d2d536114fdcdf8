"""From scores to probabilities that mean what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from uplift.learners._linear import fit_platt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibrator:
    """A monotone map from scores to probabilities.

    Attributes
    ----------
    kind
        ``isotonic``: piecewise linear through ``(x, y)``, flat outside. ``sigmoid``: ``expit(x[0] × score + y[0])``.
    x, y
        Its numbers.
    """

    kind: Literal["isotonic", "sigmoid"]
    x: tuple[float, ...]
    y: tuple[float, ...]

    @classmethod
    def learn(cls, score: Floats, target: Floats, weight: Floats, kind: Literal["isotonic", "sigmoid"]) -> Self:
        """Fit to scores that were made out of fold.

        The isotonic map (Zadrozny & Elkan 2002) is kept half an observation away from 0 and 1, which no finite sample
        can show; the sigmoid is Platt's (1999).
        """
        if kind == "sigmoid":
            slope, intercept = fit_platt(score, target, weight)
            return cls(kind, (slope,), (intercept,))
        return cls.increasing(score, target, weight)

    @classmethod
    def increasing(cls, score: Floats, target: Floats, weight: Floats) -> Self:
        """The isotonic map."""
        from sklearn.isotonic import IsotonicRegression

        edge = 0.5 / (float(weight.sum()) + 1)
        model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
        model.fit(score, target, sample_weight=weight)
        return cls("isotonic", tuple(map(float, model.X_thresholds_)), tuple(map(float, model.y_thresholds_)))

    def probability(self, score: Floats) -> Floats:
        """Calibrated probability, ``(n,)``."""
        if self.kind == "isotonic":
            return np.interp(score, self.x, self.y)
        from scipy.special import expit

        return np.asarray(expit(self.x[0] * score + self.y[0]), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"kind": self.kind, "x": list(self.x), "y": list(self.y)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        return cls(value["kind"], tuple(value["x"]), tuple(value["y"]))
