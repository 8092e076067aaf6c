"""Charts as SVG: pure functions of numbers and words. Their text is for those who see it, for the page has a table too.

Across, places are told in percent, so that a chart is as wide as there is room and its text stays readable. What parts
of a chart look like is said by classes in the style sheet; where colours do not tell them apart, patterns do.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import msgspec
from markupsafe import Markup, escape

HEIGHT = 190
_TOP, _BASE = 20.0, 164.0
"""Where the plot ends above and below; the labels of columns stand beneath."""

_LEAST = 2.0
"""What was counted at all can be seen."""

_MAX_LABELS = 7
_LINES = 4
_DURATIONS = (
    *((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1_000, "1 s"), (10_000, "10 s")),
    *((60_000, "1 min"), (600_000, "10 min"), (3_600_000, "1 h"), (21_600_000, "6 h"), (86_400_000, "24 h")),
)


class Column(msgspec.Struct, frozen=True):
    """One place across: a value of each kind (None where there is none), its label if any, and what is said of it."""

    values: tuple[float | None, ...]
    label: str
    tip: str


def draw_bars(
    columns: Sequence[Column], kinds: Sequence[str], *, chart_id: str, name: str, number: Callable[[float], str]
) -> Markup:
    """Stacked bars, the first kind at the bottom. `kinds` are classes; the second is hatched."""
    top, step = scale(max((sum(value or 0 for value in column.values) for column in columns), default=0))
    ticks = [(step * count / top, number(step * count)) for count in range(1, round(top / step) + 1)]
    parts = [_hatch(chart_id, kinds[1]), *_grid(ticks), *_bars(columns, kinds, chart_id, top), *_labels(columns)]
    return _figure(chart_id, name, parts)


def draw_lines(columns: Sequence[Column], kinds: Sequence[str], *, chart_id: str, name: str) -> Markup:
    """Lines of durations in milliseconds, on a scale for short ones and long ones; broken where there is none."""
    found = [value for column in columns for value in column.values if value is not None]
    low, high = _duration_bounds(min(found, default=1), max(found, default=1))
    ticks = [(_place(duration, low, high), text) for duration, text in _DURATIONS if low <= duration <= high]
    parts = [*_grid(ticks)]
    for number, kind in enumerate(kinds):
        line = [None if (value := column.values[number]) is None else _place(value, low, high) for column in columns]
        parts.extend(_line(line, kind))
    return _figure(chart_id, name, [*parts, *_tips(columns), *_labels(columns)])


def draw_sparkline(columns: Sequence[tuple[int, ...]], kinds: Sequence[str], name: str) -> Markup:
    """Small stacked bars without words but their name."""
    highest = max(map(sum, columns), default=0) or 1
    width = 100 / max(len(columns), 1)
    parts = []
    for place, values in enumerate(columns):
        base = 32.0
        for kind, value in zip(kinds, values, strict=True):
            if value:
                size = max(value / highest * 28, _LEAST)
                base -= size
                parts.append(_rect(place * width, base, width * 0.75, size, kind))
    line = '<line class="base" x1="0" x2="100%" y1="32.5" y2="32.5"/>'
    return Markup(  # noqa: S704 - what is not ours is escaped
        f'<svg class="sparkline" role="img" aria-label="{escape(name)}" width="100%" height="33">'
        f"{line}{''.join(parts)}</svg>"
    )


def draw_swatch(kind: str, chart_id: str, *, is_hatched: bool = False) -> Markup:
    """What a legend shows beside a bar's name."""
    fill = f' fill="url(#{chart_id}-hatch)"' if is_hatched else ""
    return Markup(  # noqa: S704 - made of our own words
        f'<svg class="swatch" aria-hidden="true" width="16" height="16">'
        f'<rect class="bar {kind}" x="1" y="1" width="14" height="14"{fill}/></svg>'
    )


def draw_line_swatch(kind: str) -> Markup:
    """What a legend shows beside a line's name."""
    return Markup(  # noqa: S704 - made of our own words
        f'<svg class="swatch" aria-hidden="true" width="28" height="16">'
        f'<line class="line {kind}" x1="1" x2="27" y1="8" y2="8"/></svg>'
    )


def scale(highest: float) -> tuple[float, float]:
    """Where an axis of counts ends, and the step of its lines: 1, 2 or 5 and zeros."""
    least = max(highest / _LINES, 1)
    power = 10 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
    return max(math.ceil(highest / step), 1) * step, step


def _duration_bounds(lowest: float, highest: float) -> tuple[float, float]:
    """The ends of an axis of durations, which are two."""
    durations = [duration for duration, _ in _DURATIONS]
    low = max((each for each in durations if each <= lowest), default=durations[0])
    high = min((each for each in durations if each >= highest), default=durations[-1])
    if low == high:
        place = durations.index(low)
        return (low, durations[place + 1]) if place + 1 < len(durations) else (durations[place - 1], low)
    return low, high


def _place(value: float, low: float, high: float) -> float:
    """How far up a duration stands, from 0 to 1."""
    inside = min(max(value, low), high)
    return math.log(inside / low) / math.log(high / low)


def _up(share: float) -> float:
    return _BASE - share * (_BASE - _TOP)


def _grid(ticks: Sequence[tuple[float, str]]) -> Iterator[str]:
    yield f'<line class="base" x1="0" x2="100%" y1="{_BASE:g}" y2="{_BASE:g}"/>'
    for share, text in ticks:
        y = _up(share)
        yield f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="-8" y="{y + 4:.1f}">{escape(text)}</text>'


def _bars(columns: Sequence[Column], kinds: Sequence[str], chart_id: str, top: float) -> Iterator[str]:
    width = 100 / max(len(columns), 1)
    for place, column in enumerate(columns):
        base = _BASE
        yield f"<g><title>{escape(column.tip)}</title>"
        # What can be pointed at, also where nothing is.
        yield _rect(place * width, _TOP, width, _BASE - _TOP, "aim")
        for number, (kind, value) in enumerate(zip(kinds, column.values, strict=True)):
            if value:
                size = max(value / top * (_BASE - _TOP), _LEAST)
                base -= size
                fill = f' fill="url(#{chart_id}-hatch)"' if number == 1 else ""
                yield _rect(place * width + width * 0.1, base, width * 0.8, size, f"bar {kind}", fill)
        yield "</g>"


def _line(shares: Sequence[float | None], kind: str) -> Iterator[str]:
    width = 100 / max(len(shares), 1)
    for place, share in enumerate(shares):
        if share is None:
            continue
        x, y = (place + 0.5) * width, _up(share)
        before = shares[place - 1] if place else None
        after = shares[place + 1] if place + 1 < len(shares) else None
        if before is not None:
            yield f'<line class="line {kind}" x1="{x - width:.2f}%" y1="{_up(before):.1f}" x2="{x:.2f}%" y2="{y:.1f}"/>'
        elif after is None:
            yield f'<circle class="point {kind}" cx="{x:.2f}%" cy="{y:.1f}" r="3"/>'


def _tips(columns: Sequence[Column]) -> Iterator[str]:
    width = 100 / max(len(columns), 1)
    for place, column in enumerate(columns):
        yield f"<g><title>{escape(column.tip)}</title>{_rect(place * width, _TOP, width, _BASE - _TOP, 'aim')}</g>"


def _labels(columns: Sequence[Column]) -> Iterator[str]:
    """Some of the labels: so few that they have room on a phone."""
    width = 100 / max(len(columns), 1)
    labelled = [place for place, column in enumerate(columns) if column.label]
    for place in labelled[:: max(math.ceil(len(labelled) / _MAX_LABELS), 1)]:
        x = place * width
        yield f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="{_BASE:g}" y2="{_BASE + 5:g}"/>'
        yield f'<text class="label" x="{x:.2f}%" y="{HEIGHT - 8}">{escape(columns[place].label)}</text>'


def _hatch(chart_id: str, kind: str) -> str:
    return (
        f'<defs><pattern id="{chart_id}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect class="hatched {kind}" width="6" height="6"/>'
        '<rect class="hatch" width="2" height="6"/></pattern></defs>'
    )


def _rect(x: float, y: float, width: float, height: float, kind: str, more: str = "") -> str:
    return f'<rect class="{kind}" x="{x:.2f}%" y="{y:.1f}" width="{width:.2f}%" height="{height:.1f}"{more}/>'


def _figure(chart_id: str, name: str, parts: Sequence[str]) -> Markup:
    return Markup(  # noqa: S704 - what is not ours is escaped
        f'<svg class="chart" role="img" aria-labelledby="{chart_id}-name" width="100%" height="{HEIGHT}">'
        f'<title id="{chart_id}-name">{escape(name)}</title>{"".join(parts)}</svg>'
    )
