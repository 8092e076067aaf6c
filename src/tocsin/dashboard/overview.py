"""What an app's overview draws and lists of its statistics, in the reader's words."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import msgspec
from markupsafe import Markup

from tocsin.dashboard.charts import Column, draw_bars, draw_line_swatch, draw_lines, draw_swatch
from tocsin.dashboard.visit import Visit
from tocsin.model import Delivery, Notifier, NotifierState
from tocsin.statistics import DAY_HOURS, ENDS, Counts, Part, Series

SHARES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

TROUBLE = (NotifierState.DISABLED, NotifierState.FAILING, NotifierState.HOLDING, NotifierState.PAUSED)
"""States that somebody may want to look at, the worst first."""

NOTHING = "-"


class Chart(msgspec.Struct, frozen=True):
    """A drawing, its legend, and the same numbers as rows of texts."""

    drawing: Markup
    legend: Sequence[tuple[Markup, str]]
    rows: Sequence[Sequence[str]]


class Row(msgspec.Struct, frozen=True):
    """A notifier, how what was sent to it ended, and the last of it."""

    notifier: Notifier
    counts: Counts
    share: str
    p95: str
    last: Delivery | None


def share_of(counts: Counts, visit: Visit) -> str:
    """The share of what arrived; never told as all while something failed."""
    share = counts.success_share
    if share is None:
        return NOTHING
    shown = min(round(share * 100, 1), 99.9) if share < 1 else 100
    text: str = visit.words("overview.share", number=visit.words.number(shown, 0 if shown in {0, 100} else 1))
    return text


def lasting(milliseconds: float | None, visit: Visit) -> str:
    return NOTHING if milliseconds is None else visit.times.lasting(milliseconds)


def chart_ends(series: Series, visit: Visit) -> Chart:
    """How many ended in which state, over time."""
    t = visit.words
    columns = []
    for part in series.parts:
        values = [part.counts.by_state.get(state, 0) for state in ENDS]
        told = ", ".join(f"{t.number(value)} {t('state.' + state)}" for state, value in zip(ENDS, values, strict=True))
        columns.append(Column(tuple(values), _label(part, series, visit), f"{_time(part, series, visit)}: {told}"))
    whole = ", ".join(f"{t.number(series.whole.by_state.get(state, 0))} {t('state.' + state)}" for state in ENDS)
    name = f"{t('overview.ends')}: {whole}"
    return Chart(
        drawing=draw_bars(columns, ENDS, chart_id="ends", name=name, number=partial(_short, visit)),
        legend=[(draw_swatch(end, "ends", is_hatched=end == ENDS[1]), t(f"state.{end}")) for end in ENDS],
        rows=[
            [_time(part, series, visit), *(t.number(part.counts.by_state.get(state, 0)) for state in ENDS)]
            for part in series.parts
        ],
    )


def chart_latency(series: Series, visit: Visit) -> Chart:
    """How late what arrived was, over time."""
    columns, rows = [], []
    for part in series.parts:
        values = tuple(part.counts.percentile_ms(share) for share in SHARES.values())
        texts = [lasting(value, visit) for value in values]
        told = ", ".join(f"{name} {text}" for name, text in zip(SHARES, texts, strict=True))
        columns.append(Column(values, _label(part, series, visit), f"{_time(part, series, visit)}: {told}"))
        rows.append([_time(part, series, visit), *texts])
    whole = ", ".join(f"{name} {lasting(series.whole.percentile_ms(share), visit)}" for name, share in SHARES.items())
    name = f"{visit.words('overview.latency')}: {whole}"
    return Chart(
        drawing=draw_lines(columns, tuple(SHARES), chart_id="latency", name=name),
        legend=[(draw_line_swatch(percentile), percentile) for percentile in SHARES],
        rows=rows,
    )


def rows_of(
    notifiers: Iterable[Notifier], counts: Mapping[str, Counts], last: Mapping[str, Delivery], visit: Visit
) -> list[Row]:
    """The notifiers, those in trouble first, then those with most to do."""
    nothing = Counts({}, {})

    def order(row: Row) -> tuple[int, int, str]:
        state = row.notifier.state
        return (TROUBLE.index(state) if state in TROUBLE else len(TROUBLE), -row.counts.total, row.notifier.name)

    return sorted(
        (
            Row(
                notifier,
                own,
                share_of(own, visit),
                lasting(own.percentile_ms(SHARES["p95"]), visit),
                last.get(notifier.id),
            )
            for notifier in notifiers
            for own in [counts.get(notifier.id, nothing)]
        ),
        key=order,
    )


def _short(visit: Visit, count: float) -> str:
    """A number that fits beside an axis."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if count >= 10 * size:
            return f"{visit.words.number(count / size)} {unit}"
    return str(visit.words.number(count))


def _label(part: Part, series: Series, visit: Visit) -> str:
    if series.span.hours == DAY_HOURS:
        return f"{part.since.astimezone(visit.times.zone):%H:%M}"
    if series.span.part_hours == DAY_HOURS:
        return f"{part.since:%m-%d}"
    at = part.since.astimezone(visit.times.zone)
    return "" if at.hour >= series.span.part_hours else f"{at:%m-%d}"


def _time(part: Part, series: Series, visit: Visit) -> str:
    if series.span.part_hours == DAY_HOURS:
        return f"{part.since:%Y-%m-%d}"  # a day of UTC, whatever it is for the reader
    since, until = (at.astimezone(visit.times.zone) for at in (part.since, part.until))
    return f"{since:%Y-%m-%d %H:%M} - {until:%H:%M}"
