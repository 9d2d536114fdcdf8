"""Who was reached, and what being reached does: exposure diagnostics and the effect on the exposed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uplift.experiments._text import Text
from uplift.experiments.estimators import ArmMeans, fieller

Floats = NDArray[np.float64]


class EffectOnExposed(NamedTuple):
    """Effect of being reached on those who are reached when assigned to an arm; NaN where it cannot be given.

    Attributes
    ----------
    exposed
        Share of the arm that was reached.
    value, low, high
        In the unit of the outcome.
    p_value
        Of no effect: that of the difference between the arms as assigned.
    """

    exposed: float
    value: float
    low: float
    high: float
    p_value: float


def effect_on_exposed(
    outcome: ArmMeans, exposed: ArmMeans, both: ArmMeans, arm: int, control: int, alpha: float = 0.05
) -> EffectOnExposed:
    """Difference in the outcome over the difference in exposure (Wald), with an Anderson–Rubin interval.

    Assignment stands in for exposure, so that those who open their mail are never compared with those who do not. It
    takes that assignment works through exposure only, and that nobody in the control is reached.

    Parameters
    ----------
    outcome, exposed, both
        Means by arm of the outcome, of exposure (0 or 1), and of their sum, from the same rows.
    arm, control
        Places.
    alpha
        One minus the level.

    Returns
    -------
    EffectOnExposed
        NaN when the control was reached too, or when too few of the arm were: the ratio is then unbounded.

    References
    ----------
    J. Angrist, G. Imbens, D. Rubin (1996), *JASA* 91; T. W. Anderson, H. Rubin (1949), *Annals of Mathematical
    Statistics* 20.
    """
    gap, reach = outcome.difference(arm, control, alpha), exposed.difference(arm, control, alpha)
    share = float(exposed.mean[arm])
    if exposed.mean[control] != 0 or not math.isfinite(gap.se):
        return EffectOnExposed(share, math.nan, math.nan, math.nan, gap.p_value)
    covariance = (
        _variance(both, arm, control) - _variance(outcome, arm, control) - _variance(exposed, arm, control)
    ) / 2
    ratio = fieller(
        gap.value, reach.value, gap.se**2, _variance(exposed, arm, control), covariance, alpha=alpha, df=gap.df
    )
    return EffectOnExposed(share, ratio.value + 1, ratio.low + 1, ratio.high + 1, gap.p_value)


def _variance(means: ArmMeans, arm: int, control: int) -> float:
    v = means.covariance
    return float(v[arm, arm] + v[control, control] - 2 * v[arm, control])


@dataclass(frozen=True)
class Exposure:
    """Who was reached.

    Attributes
    ----------
    reached : ndarray of shape (n_arms,)
        Rows reached by arm.
    effects
        (metric, arm) → means of the outcome, of exposure and of their sum.
    """

    reached: Floats
    effects: Mapping[str, tuple[ArmMeans, ArmMeans, ArmMeans]]

    def counts(self, arms: tuple[str, ...], sizes: Floats, min_cell: int) -> dict[str, dict[str, int | None]]:
        """Reached and not reached by arm; both are None where one is small, since the arm's size is known."""
        found = {}
        for arm, sent, size in zip(arms, self.reached, sizes, strict=True):
            told = self._told(sent, size, min_cell)
            found[arm] = {"sent": int(sent) if told else None, "not_sent": int(size - sent) if told else None}
        return found

    @staticmethod
    def _told(sent: float, size: float, min_cell: int) -> bool:
        return all(shown(int(n), min_cell) is not None for n in (sent, size - sent))

    def rows(
        self,
        arms: tuple[str, ...],
        sizes: Floats,
        levels: Mapping[str, float],
        hidden: Mapping[tuple[str, int], Any],
        min_cell: int,
    ) -> list[dict[str, Any]]:
        """One row an arm and metric, numbers None where a cell is too small or the effect cannot be given."""
        found = []
        for metric, (outcome, exposed, both) in self.effects.items():
            for arm in range(1, len(arms)):
                row: dict[str, Any] = {"arm": arms[arm], "metric": metric, "exposed": None, "effect": None}
                row |= {"low": None, "high": None, "p_value": None}
                told = self._told(self.reached[arm], sizes[arm], min_cell)
                if self.reached[arm] >= min_cell and told and not hidden[metric, arm][0]:
                    got = effect_on_exposed(outcome, exposed, both, arm, 0, levels[metric])
                    row |= {"exposed": got.exposed, "effect": got.value, "low": got.low, "high": got.high}
                    row["p_value"] = got.p_value
                found.append(row)
        return found

    def notes(self, arms: tuple[str, ...], sizes: Floats, min_cell: int) -> list[Text]:
        """What marketing should know: sent to the control, or assigned and never sent."""
        found = []
        if self.reached[0]:
            count = f"{int(self.reached[0]):,}" if self.reached[0] >= min_cell else f"<{min_cell}"
            found.append(
                Text(
                    f"对照组有 {count} 人被触达：效果按分组计算仍然成立，但被低估；不给出被触达者的效果",
                    f"{count} members of the control were reached: effects as assigned stand but are too small, and "
                    "none is given for those reached",
                )
            )
        for arm, sent, size in zip(arms[1:], self.reached[1:], sizes[1:], strict=True):
            if size - sent >= min_cell:
                share = 100 * (size - sent) / size
                found.append(
                    Text(
                        f"{arm} 组有 {share:.1f}% 的人分到了组但未被触达",
                        f"{share:.1f}% of arm {arm} were assigned but not reached",
                    )
                )
        return found


def shown(count: int, min_cell: int) -> int | None:
    """A count that may be shown, or None."""
    return count if count == 0 or count >= min_cell else None
