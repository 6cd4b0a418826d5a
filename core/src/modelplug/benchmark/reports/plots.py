"""Draws plots as inline SVG whose text is HTML: they stretch to any width, and their words stay readable."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["COLOURS", "Bar", "Line", "bars", "lines", "ticks"]

COLOURS = 6
"""Candidates are told apart by so many colours, and beyond that by their names only."""

_DAY = 86400.0


@attrs.frozen(kw_only=True)
class Bar:
    """One bar with its interval.

    Attributes:
        name: What it stands for.
        value: Its length.
        low: Lower end of the interval.
        high: Upper end.
        text: The figure in words.
        note: What to say on top of that; empty for nothing.
        colour: The number of its colour.
    """

    name: str
    value: float
    low: float
    high: float
    text: str
    note: str = ""
    colour: int = 0


@attrs.frozen(kw_only=True)
class Line:
    """One line over time.

    Attributes:
        name: What it stands for.
        points: (seconds since the epoch, value, words), oldest first.
        colour: The number of its colour.
    """

    name: str
    points: tuple[tuple[float, float, str], ...]
    colour: int = 0


def ticks(most: float, *, binary: bool = False, count: int = 4) -> list[float]:
    """Round numbers from 0 to at least `most`, about `count` steps apart.

    Args:
        most: The largest value; above 0.
        binary: Whether it is a number of bytes, which are round in powers of 1024.
        count: How many steps.
    """
    unit = 1024.0 ** math.floor(math.log(most, 1024)) if binary and most > 1 else 1.0
    rough = most / unit / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def bars(
    title: str,
    subtitle: str,
    entries: Sequence[Bar],
    label: Callable[[float], str],
    how: str = "",
    *,
    binary: bool = False,
) -> str:
    """A figure with a bar for each entry, from 0, and an interval on each.

    Args:
        title: What is shown.
        subtitle: The unit, and which direction is good.
        entries: The bars; at least one.
        label: Words for a tick of the axis.
        how: How it was measured.
        binary: Whether the values are bytes.
    """
    most = max(max(entry.value, entry.high) for entry in entries) or 1.0
    scale = ticks(most, binary=binary)
    rows = "".join(_bar(entry, scale) for entry in entries)
    marks = "".join(
        f'<span style="left:{100 * value / scale[-1]:.2f}%">{escape(label(value))}</span>' for value in scale
    )
    axis = f'<div class="row axis"><span></span><div class="marks">{marks}</div><span></span></div>'
    return _figure(title, subtitle, rows + axis, how)


def _bar(entry: Bar, scale: Sequence[float]) -> str:
    def at(value: float) -> str:
        return f"{100 * value / scale[-1]:.3f}"

    grid = "".join(f'<line class="grid" x1="{at(v)}" x2="{at(v)}" y1="0" y2="20"/>' for v in scale)
    interval = ""
    if entry.high > entry.low:
        ends = "".join(f'<line x1="{at(v)}" x2="{at(v)}" y1="6" y2="14"/>' for v in (entry.low, entry.high))
        middle = f'<line x1="{at(entry.low)}" x2="{at(entry.high)}" y1="10" y2="10"/>'
        interval = f'<g class="interval">{middle}{ends}</g>'
    words = f"{entry.name}: {entry.text}"
    note = f"<small>{escape(entry.note)}</small>" if entry.note else ""
    return (
        f'<div class="row"><span class="name">{escape(entry.name)}</span>'
        f'<svg viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{escape(words)}">'
        f"<title>{escape(words)}</title>{grid}"
        f'<rect class="c{entry.colour % COLOURS}" x="0" y="3" width="{at(entry.value)}" height="14"/>'
        f"{interval}</svg>"
        f'<span class="figure">{escape(entry.text)}{note}</span></div>'
    )


def lines(
    title: str,
    subtitle: str,
    entries: Sequence[Line],
    label: Callable[[float], str],
    day: Callable[[float], str],
) -> str:
    """A figure with a line over time for each entry, from 0 upwards.

    Args:
        title: What is shown.
        subtitle: The unit, and which direction is good.
        entries: The lines, each with at least one point.
        label: Words for a tick of the upright axis.
        day: Words for a moment.
    """
    moments = [point[0] for entry in entries for point in entry.points]
    first, last = min(moments), max(moments)
    span = max(last - first, _DAY / 24)
    scale = ticks(max(point[1] for entry in entries for point in entry.points) or 1.0)

    def place(moment: float, value: float) -> tuple[str, str]:
        # A margin on either side, so that no dot is cut off.
        return f"{2 + 96 * (moment - first) / span:.3f}", f"{100 - 96 * value / scale[-1]:.3f}"

    grid = "".join(
        f'<line class="grid" x1="0" x2="100" y1="{place(first, v)[1]}" y2="{place(first, v)[1]}"/>'
        for v in scale
    )
    drawn = "".join("".join(_line(entry, place)) for entry in entries)
    upright = "".join(
        f'<span style="bottom:{96 * value / scale[-1]:.2f}%">{escape(label(value))}</span>' for value in scale
    )
    keys = "".join(
        f'<span class="key"><i class="c{entry.colour % COLOURS}"></i>{escape(entry.name)}</span>'
        for entry in entries
    )
    body = (
        f'<div class="keys">{keys}</div><div class="chart"><div class="upright">{upright}</div>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{escape(title)}">'
        f"{grid}{drawn}</svg></div>"
        f'<div class="days"><span>{escape(day(first))}</span><span>{escape(day(last))}</span></div>'
    )
    return _figure(title, subtitle, body, "")


def _line(entry: Line, place: Callable[[float, float], tuple[str, str]]) -> Iterator[str]:
    colour = f"c{entry.colour % COLOURS}"
    points = [(*place(moment, value), words) for moment, value, words in entry.points]
    path = " ".join(f"{x},{y}" for x, y, _ in points)
    yield f'<polyline class="{colour}" points="{path}"/>'
    for x, y, words in points:
        # A line of no length with round ends is a dot that stays round however the plot is stretched.
        yield (
            f'<line class="dot {colour}" x1="{x}" x2="{x}" y1="{y}" y2="{y}">'
            f"<title>{escape(f'{entry.name}, {words}')}</title></line>"
        )


def _figure(title: str, subtitle: str, body: str, how: str) -> str:
    note = f'<p class="how">{escape(how[0].upper() + how[1:])}.</p>' if how else ""
    return (
        f"<figure><figcaption><b>{escape(title)}</b> <span>{escape(subtitle)}</span></figcaption>"
        f"{body}{note}</figure>"
    )
