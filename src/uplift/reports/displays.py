"""Curves and calibrations as pictures, in scikit-learn's manner: a display takes results and draws them.

Metrics compute and never draw; a display draws and never computes. ``plot`` may be called again on other axes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

import numpy as np

from uplift import metrics
from uplift.errors import InputError, unknown_name
from uplift.metrics import BudgetCurve, Calibration, Curve, Metric
from uplift.reports._charts import GRID, INK, MUTED

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from uplift.metrics.trial import Propensity

Language = Literal["en", "zh"]
C = TypeVar("C", Curve, BudgetCurve)
COLOURS = ("#1f5fbf", "#c2571a", "#0f7b55", "#7a3fb0", "#b3261e", "#5b6b8c")
CHINESE_FONTS = (
    "PingFang SC", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Microsoft YaHei", "WenQuanYi Zen Hei",
    "SimHei", "Noto Sans CJK JP", "Noto Serif CJK SC", "Noto Serif CJK JP",
)  # fmt: skip
CURVES = {"qini_curve": metrics.qini_curve, "uplift_curve": metrics.uplift_curve, "toc": metrics.toc}

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "share": "share of members targeted, best predicted first",
        "spend": "cost per member",
        "predicted": "predicted effect, outcome per member",
        "observed": "observed effect, outcome per member",
        "random": "at random",
        "untargeted": "without targeting",
        "equal": "as predicted",
        "slope": "slope",
        "toc": "effect above the mean effect, outcome per member",
        "extra outcome per 1,000 members": "extra outcome per 1,000 members",
    },
    "zh": {
        "share": "触达会员比例（按预测增益从高到低）",
        "spend": "人均成本",
        "predicted": "预测增益（人均）",
        "observed": "实际增益（人均）",
        "random": "随机触达",
        "untargeted": "不做定向",
        "equal": "与预测一致",
        "slope": "斜率",
        "toc": "高于平均增益的部分（人均）",
        "extra outcome per 1,000 members": "每千名会员的增量",
    },
}


class _Display:
    """What displays share: axes in the house's style, names in their colours."""

    language: Language
    ax_: Axes
    lines_: dict[str, Any]

    def _words(self) -> dict[str, str]:
        if self.language not in WORDS:
            raise unknown_name("language", str(self.language), list(WORDS))
        return WORDS[self.language]

    @contextmanager
    def _axes(self, ax: Axes | None, x: str, y: str) -> Iterator[Axes]:
        """Axes to draw on; given ones keep their figure, and no setting of matplotlib is changed."""
        from matplotlib import pyplot

        words, fonts = self._words(), _fonts()
        if ax is None:
            _, ax = pyplot.subplots(figsize=(7, 4.6), layout="constrained")
        yield ax
        ax.set_xlabel(words.get(x, x), color=MUTED, fontfamily=fonts)
        ax.set_ylabel(words.get(y, y), color=MUTED, fontfamily=fonts)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            ax.spines[side].set_color(GRID)
        ax.tick_params(colors=MUTED, length=3)
        ax.grid(color=GRID, linewidth=0.6)
        ax.set_axisbelow(True)
        ax.legend(frameon=False, labelcolor=INK, prop={"family": fonts, "size": "small"})
        self.ax_ = ax


class _CurvesDisplay(_Display, Generic[C]):
    """Curves of one model or several in one picture."""

    def __init__(self, curves: Mapping[str, C], *, language: Language = "en") -> None:
        self.curves: dict[str, C] = _some(curves, "curve")
        self.language = language

    @classmethod
    def from_curve(
        cls, curve: C, *, name: str = "model", ax: Axes | None = None, language: Language = "en", intervals: bool = True
    ) -> Self:
        """Draw one curve."""
        return cls.from_curves({name: curve}, ax=ax, language=language, intervals=intervals)

    @classmethod
    def from_curves(
        cls, curves: Mapping[str, C], *, ax: Axes | None = None, language: Language = "en", intervals: bool = True
    ) -> Self:
        """Draw several models' curves into one picture."""
        return cls(curves, language=language).plot(ax, intervals=intervals)

    @abstractmethod
    def plot(self, ax: Axes | None = None, *, intervals: bool = True) -> Self:
        """Draw on these axes, or on new ones."""


class CurveDisplay(_CurvesDisplay[Curve]):
    """Qini, uplift or TOC curves of one model or several, with their intervals and what random targeting gives.

    Parameters
    ----------
    curves
        Name of each model → its curve; all of the same kind.
    language
        Of the axes' labels.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn last.
    lines_
        Name → line.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> treatment, effect = rng.integers(0, 2, 500), rng.normal(size=500)
    >>> y = effect * treatment + rng.normal(size=500)
    >>> display = CurveDisplay.from_predictions(effect, y, treatment, {0: 0.5, 1: 0.5})
    >>> list(display.lines_)
    ['model']
    """

    def __init__(self, curves: Mapping[str, Curve], *, language: Language = "en") -> None:
        super().__init__(curves, language=language)
        kinds = {curve.name for curve in curves.values()}
        if len(kinds) > 1:
            raise InputError(f"curves of one kind go into one picture, found {', '.join(sorted(kinds))}")

    @classmethod
    def from_predictions(
        cls,
        effect: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        y: npt.ArrayLike,
        treatment: npt.ArrayLike,
        propensity: Propensity = None,
        *,
        kind: Literal["qini_curve", "uplift_curve", "toc"] = "qini_curve",
        ax: Axes | None = None,
        language: Language = "en",
        **options: Any,
    ) -> Self:
        """Compute and draw; ``effect`` may map names of models to their predictions.

        ``options`` go to :func:`uplift.metrics.qini_curve` (``control``, ``arm``, ``n_bootstrap``, …).
        """
        if kind not in CURVES:
            raise unknown_name("kind of curve", kind, list(CURVES))
        curves = {
            name: CURVES[kind](values, y, treatment, propensity, **options) for name, values in _named(effect).items()
        }
        return cls.from_curves(curves, ax=ax, language=language)

    def plot(self, ax: Axes | None = None, *, intervals: bool = True) -> Self:
        """Draw on these axes, or on new ones."""
        kind = next(iter(self.curves.values()))
        label = "toc" if kind.name == "toc" else kind.unit
        with self._axes(ax, "share", label) as axes:
            self.lines_ = {}
            for colour, (name, curve) in zip(_colours(self.curves), self.curves.items(), strict=True):
                band = (curve.low, curve.high) if intervals else (None, None)
                text = f"{name}: {curve.area.name} {_short(curve.area)}"
                self.lines_[name] = _line(axes, curve.q, curve.value, band, colour, text)
            ends = {float(curve.random[-1]) for curve in self.curves.values()}
            for curve, colour in zip(self.curves.values(), _colours(self.curves), strict=True):
                # with several arms each model would give everybody other arms, so each has a line of its own
                _dashed(axes, curve.q, curve.random, colour if len(ends) > 1 else MUTED)
            axes.plot([], [], color=MUTED, linestyle="--", linewidth=1.2, label=self._words()["random"])
            axes.set_xlim(0, 1)
            if kind.name == "toc":
                axes.set_ylim(*_range_below_the_top(self.curves.values()))
        self.figure_ = self.ax_.figure
        return self


class BudgetDisplay(_CurvesDisplay[BudgetCurve]):
    """Multi-arm Qini curves: what each model buys with a growing budget, and what the best untargeted mix buys.

    Parameters
    ----------
    curves
        Name of each model → its curve over the budget.
    language
        Of the axes' labels.

    Attributes
    ----------
    ax_, figure_, lines_
        As in :class:`CurveDisplay`.
    """

    @classmethod
    def from_predictions(
        cls,
        effect: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        cost: Mapping[Any, float] | npt.ArrayLike,
        y: npt.ArrayLike,
        treatment: npt.ArrayLike,
        propensity: Propensity = None,
        *,
        ax: Axes | None = None,
        language: Language = "en",
        **options: Any,
    ) -> Self:
        """Compute and draw; ``options`` go to :func:`uplift.metrics.multi_arm_qini`."""
        curves = {
            name: metrics.multi_arm_qini(values, cost, y, treatment, propensity, **options)
            for name, values in _named(effect).items()
        }
        return cls.from_curves(curves, ax=ax, language=language)

    def plot(self, ax: Axes | None = None, *, intervals: bool = True) -> Self:
        """Draw on these axes, or on new ones."""
        widest = max(self.curves.values(), key=lambda curve: float(curve.spend[-1]))
        with self._axes(ax, "spend", widest.unit) as axes:
            self.lines_ = {}
            for colour, (name, curve) in zip(_colours(self.curves), self.curves.items(), strict=True):
                band = (curve.low, curve.high) if intervals else (None, None)
                self.lines_[name] = _line(axes, curve.spend, curve.value, band, colour, f"{name}: {_short(curve.area)}")
            words = self._words()["untargeted"]
            _dashed(axes, widest.spend, widest.random, MUTED, label=words)
        self.figure_ = self.ax_.figure
        return self


class CalibrationDisplay(_Display):
    """Observed against predicted effects by groups of members with similar predictions.

    Parameters
    ----------
    calibrations
        Name of each model → its :class:`~uplift.metrics.Calibration`.
    language
        Of the axes' labels.

    Attributes
    ----------
    ax_, figure_, lines_
        As in :class:`CurveDisplay`.
    """

    def __init__(self, calibrations: Mapping[str, Calibration], *, language: Language = "en") -> None:
        self.calibrations = _some(calibrations, "calibration")
        self.language = language

    @classmethod
    def from_calibration(
        cls, calibration: Calibration, *, name: str = "model", ax: Axes | None = None, language: Language = "en"
    ) -> Self:
        """Draw one model's calibration."""
        return cls({name: calibration}, language=language).plot(ax)

    @classmethod
    def from_predictions(
        cls,
        effect: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        y: npt.ArrayLike,
        treatment: npt.ArrayLike,
        propensity: Propensity = None,
        *,
        ax: Axes | None = None,
        language: Language = "en",
        **options: Any,
    ) -> Self:
        """Compute and draw; ``options`` go to :func:`uplift.metrics.effect_calibration`."""
        found = {
            name: metrics.effect_calibration(values, y, treatment, propensity, **options)
            for name, values in _named(effect).items()
        }
        return cls(found, language=language).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on these axes, or on new ones."""
        words = self._words()
        with self._axes(ax, "predicted", "observed") as axes:
            self.lines_ = {}
            ends: list[float] = []
            for colour, (name, found) in zip(_colours(self.calibrations), self.calibrations.items(), strict=True):
                shown = [group for group in found.groups if group.observed is not None]
                x, height = np.array([[group.predicted, group.observed or 0.0] for group in shown]).reshape(-1, 2).T
                low, high = (
                    np.array([h if end is None else end for h, end in zip(height, side, strict=True)])
                    for side in ([g.low for g in shown], [g.high for g in shown])
                )
                text = name if found.slope is None else f"{name}: {words['slope']} {_short(found.slope)}"
                self.lines_[name] = axes.errorbar(
                    x, height, [height - low, high - height], fmt="o", color=colour, elinewidth=1.6, markersize=5,
                    label=text,
                )  # fmt: skip
                ends += [*x.tolist()]
            if ends:
                axes.plot(
                    [min(ends), max(ends)], [min(ends), max(ends)], color=MUTED, linestyle="--", linewidth=1.2,
                    label=words["equal"],
                )  # fmt: skip
        self.figure_ = self.ax_.figure
        return self


def _line(axes: Axes, x: npt.NDArray[Any], y: npt.NDArray[Any], band: tuple[Any, Any], colour: str, label: str) -> Any:
    (line,) = axes.plot(x, y, color=colour, linewidth=1.8, label=label)
    if band[0] is not None and band[1] is not None:
        axes.fill_between(x, *band, color=colour, alpha=0.13, linewidth=0)
    return line


def _dashed(axes: Axes, x: npt.NDArray[Any], y: npt.NDArray[Any], colour: str, **more: Any) -> None:
    axes.plot(x, y, color=colour, linestyle="--", linewidth=1.2, **more)


def _range_below_the_top(curves: Iterable[Curve]) -> tuple[float, float]:
    """What a TOC is drawn in: all of the curve, its interval from the first twentieth on, where it is not yet noise."""
    heights = [0.0]
    for curve in curves:
        heights += curve.value.tolist()
        for band in (curve.low, curve.high):
            heights += [] if band is None else band[curve.q >= 0.05].tolist()
    margin = 0.05 * (max(heights) - min(heights))
    return min(heights) - margin, max(heights) + margin


def _short(number: Metric) -> str:
    """Value and interval as the legend shows them."""
    if number.low is None or number.high is None:
        return f"{number.value:.3g}"
    return f"{number.value:.3g} [{number.low:.3g}, {number.high:.3g}]"


def _named(effect: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, npt.ArrayLike]:
    return dict(effect) if isinstance(effect, Mapping) else {"model": effect}


def _some(results: Mapping[str, Any], what: str) -> dict[str, Any]:
    if not results:
        raise InputError(f"there is no {what} to draw")
    return dict(results)


def _colours(results: Mapping[str, Any]) -> Iterator[str]:
    return (COLOURS[i % len(COLOURS)] for i in range(len(results)))


def _fonts() -> list[str]:
    """Chinese fonts that this machine has, before matplotlib's own; a name that it lacks would make it warn."""
    from matplotlib import font_manager

    known = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in CHINESE_FONTS if name in known)]
