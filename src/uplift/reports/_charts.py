"""Pictures as SVG text: a chart is specified first (plain data), then drawn for wide screens and for phones."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2433", "#677084", "#d9dee8"
GOOD, BAD, NEUTRAL = "#0f7b55", "#b3261e", "#5b6b8c"
LINE_COLOURS = ("#5b6b8c", "#0f7b55", "#b3261e", "#8a5a00", "#4b3f9e", "#00707a", "#99375b")
_DPI = 72
WIDE, NARROW = 780, 330
"""Of a picture, in pixels: a card of a wide page, and of a phone's."""
_FONT = "system-ui, 'Segoe UI', 'PingFang SC', 'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif"


@dataclass(frozen=True)
class Bar:
    """One estimate with its interval; ``low`` and ``high`` None: no interval.

    ``certain`` False draws it in the neutral colour even where the interval leaves out zero: one of many comparisons.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    text: str
    certain: bool = True


@dataclass(frozen=True)
class Forest:
    """Estimates with intervals below each other around zero.

    Attributes
    ----------
    axis
        What the horizontal axis shows, with its unit.
    scale
        What values are multiplied with before they are drawn (100 for points).
    good_is_positive
        Whether an interval wholly above zero is good news.
    limit
        Where a dashed line stands, before scaling: the harm that can be borne.
    """

    axis: str
    bars: tuple[Bar, ...]
    scale: float = 1.0
    good_is_positive: bool = True
    limit: float | None = None


@dataclass(frozen=True)
class Columns:
    """Shares or counts below each other, from zero, with their intervals where they have one."""

    axis: str
    bars: tuple[Bar, ...]
    scale: float = 1.0


@dataclass(frozen=True)
class Line:
    """A curve: its name, and points (x, y) from left to right."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Lines:
    """Curves over time or size.

    Attributes
    ----------
    axis, vertical
        What the axes show, with their units.
    scale
        What heights are multiplied with before they are drawn (100 for points).
    logarithmic
        Both axes.
    zero
        Whether a line marks zero.
    mark
        Where a dashed line crosses the horizontal axis: what is planned.
    """

    axis: str
    vertical: str
    lines: tuple[Line, ...]
    scale: float = 1.0
    logarithmic: bool = False
    zero: bool = False
    mark: float | None = None


Chart = Forest | Columns | Lines


def draw(chart: Chart) -> tuple[str, str]:
    """The chart as two SVG texts: for wide screens and for phones. Same chart, same bytes."""
    if isinstance(chart, Lines):
        return _lines_svg(chart, WIDE, wide=True), _lines_svg(chart, NARROW, wide=False)
    return _svg(chart, WIDE, wide=True), _svg(chart, NARROW, wide=False)


def _svg(chart: Forest | Columns, width: int, *, wide: bool) -> str:
    height = 58 + (30 if wide else 44) * len(chart.bars)

    def paint(figure: Figure) -> None:
        left = _label_width(chart.bars) if wide else 12
        right = 118 if wide else 14
        axes = figure.add_axes((left / width, 40 / height, (width - left - right) / width, (height - 50) / height))
        if isinstance(chart, Forest):
            _draw_forest(axes, chart, wide)
        else:
            _draw_columns(axes, chart, wide)
        axes.set_xlabel(chart.axis)
        axes.set_ylim(len(chart.bars) - 0.45, -0.75)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", length=3)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)

    return _painted(width, height, wide, paint, chart.axis)


def _lines_svg(chart: Lines, width: int, *, wide: bool) -> str:
    below = 46 if wide else 50 + 18 * len(chart.lines)
    height = 300 if wide else 190 + below

    def paint(figure: Figure) -> None:
        left, right = (78, 190) if wide else (64, 14)
        axes = figure.add_axes(
            (left / width, below / height, (width - left - right) / width, (height - below - 14) / height)
        )
        for place, line in enumerate(chart.lines):
            x, y = [point[0] for point in line.points], [point[1] * chart.scale for point in line.points]
            axes.plot(x, y, color=LINE_COLOURS[place % len(LINE_COLOURS)], linewidth=2, label=line.label)
        if chart.mark is not None:
            axes.axvline(chart.mark, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
        if chart.zero:
            axes.axhline(0, color=MUTED, linewidth=1)
        if chart.logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
        _tick(axes, chart.logarithmic)
        if wide:
            _line_labels(axes, chart)
        axes.set_xlabel(chart.axis)
        axes.set_ylabel(chart.vertical)
        if not wide:
            under = -44 / (height - below - 14)  # of the axes' own height: below their ticks and name
            axes.legend(loc="upper left", bbox_to_anchor=(0, under), frameon=False, borderaxespad=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)

    return _painted(width, height, wide, paint, f"{chart.vertical}, {chart.axis}")


def _tick(axes: Axes, logarithmic: bool) -> None:
    from matplotlib.ticker import LogLocator

    for axis in (axes.xaxis, axes.yaxis):
        if logarithmic:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}")
        axis.set_minor_formatter(lambda value, _: "")


def _line_labels(axes: Axes, chart: Lines) -> None:
    """Each curve's name at its end; curves that end together share one, and names keep a line's distance."""
    axes.set_xlim(axes.get_xlim())  # fixes the limits, which places are worked out from
    axes.set_ylim(axes.get_ylim())
    ends: dict[float, tuple[float, list[str], str]] = {}
    for place, line in enumerate(chart.lines):
        if line.points:
            x, y = line.points[-1][0], line.points[-1][1] * chart.scale
            height = float(axes.transData.transform((x, y))[1])
            near = next((known for known in ends if abs(known - height) < 1), height)
            ends.setdefault(near, (x, [], LINE_COLOURS[place % len(LINE_COLOURS)]))[1].append(line.label)
    places: list[float] = []
    for height in sorted(ends):
        places.append(max(height, places[-1] + 15) if places else height)
    above = max(0.0, places[-1] - float(axes.figure.bbox.height) + 10) if places else 0.0
    for place_at, height in zip(places, sorted(ends), strict=True):
        x, names, colour = ends[height]
        edge = float(axes.transData.transform((x, axes.get_ylim()[0]))[0])
        text = names[0] if len(names) == 1 else f"{names[0]} + {len(names) - 1}"
        axes.annotate(
            text, (edge, place_at - above), (6, 0), xycoords="figure pixels", textcoords="offset points", va="center",
            color=colour, annotation_clip=False,
        )  # fmt: skip


def _painted(width: int, height: int, wide: bool, paint: Callable[[Figure], None], label: str) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "uplift",
        "font.family": "sans-serif",
        "font.size": 12 if wide else 11.5,
        "axes.edgecolor": GRID,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": INK,
    }
    with rc_context(settings), warnings.catch_warnings():
        # text is drawn by the browser's fonts; matplotlib's own need not have the glyphs to leave room for them
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message=".*Matplotlib currently does not support.*")
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasSVG(figure)
        paint(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _clean(buffer.getvalue(), width, height, label)


def _draw_forest(axes: Axes, chart: Forest, wide: bool) -> None:
    axes.axvline(0, color=MUTED, linewidth=1)
    if chart.limit is not None:
        axes.axvline(chart.limit * chart.scale, color=BAD, linewidth=1.2, linestyle=(0, (4, 3)))
    for position, bar in enumerate(chart.bars):
        colour = _colour(bar, chart.good_is_positive)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low * chart.scale, bar.high * chart.scale], [position] * 2, color=colour, linewidth=2.4)
        axes.plot([bar.value * chart.scale], [position], "o", color=colour, markersize=6.5)
    axes.margins(x=0.08)
    _labels(axes, chart.bars, wide)


def _draw_columns(axes: Axes, chart: Columns, wide: bool) -> None:
    values = [bar.value * chart.scale for bar in chart.bars]
    axes.barh(range(len(chart.bars)), values, height=0.5 if wide else 0.3, color=NEUTRAL)
    for position, bar in enumerate(chart.bars):
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low * chart.scale, bar.high * chart.scale], [position] * 2, color=INK, linewidth=1.4)
    axes.set_xlim(left=0)
    _labels(axes, chart.bars, wide)


def _labels(axes: Axes, bars: Sequence[Bar], wide: bool) -> None:
    if wide:
        axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
        for position, bar in enumerate(bars):
            axes.annotate(
                bar.text, (1, position), (8, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                va="center", color=INK,
            )  # fmt: skip
        return
    axes.set_yticks([])
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # over the grid, so that words stay legible
    for position, bar in enumerate(bars):
        for x, side, text in ((0, "left", bar.label), (1, "right", bar.text)):
            axes.annotate(
                text, (x, position - 0.4), xycoords=("axes fraction", "data"), va="center", ha=side, color=INK,
                bbox=paper,
            )  # fmt: skip


def _colour(bar: Bar, good_is_positive: bool) -> str:
    if not bar.certain or bar.low is None or bar.high is None or bar.low <= 0 <= bar.high:
        return NEUTRAL
    return GOOD if (bar.low > 0) == good_is_positive else BAD


def _label_width(bars: Sequence[Bar]) -> float:
    """Room for the longest label in points: a Chinese character is about as wide as it is high."""
    widths = [sum(12.5 if ord(c) > 0x2E80 else 7.0 for c in bar.label) for bar in bars]
    return min(max([60.0, *widths]) + 14, 250)


def _clean(svg: str, width: int, height: int, label: str) -> str:
    """Only the element itself, scaled by the page, in the page's fonts, without document type and metadata."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    head = f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(label, quote=True)}">'
    body = re.sub(r"<svg [^>]*>", lambda _: head, body, count=1)
    body = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT}", body)
    return re.sub(r'(<g id="[^"]*") ?', r"<g ", body).replace("<g >", "<g>")
