"""Charts: well-formed whatever is drawn, true to their numbers, and with everything that is told inside."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.dashboard.charts import (
    HEIGHT,
    Column,
    draw_bars,
    draw_line_swatch,
    draw_lines,
    draw_sparkline,
    draw_swatch,
    scale,
)

KINDS = ("delivered", "failed", "cancelled")
PERCENTILES = ("p50", "p95", "p99")
COUNT = st.integers(0, 10**12)
COUNTS = st.lists(st.tuples(COUNT, COUNT, COUNT), max_size=40)
DURATION = st.none() | st.floats(0, 1e12)
DURATIONS = st.lists(st.tuples(DURATION, DURATION, DURATION), max_size=40)
PLOT = 144.0
"""Pixels from the base of bars to the top of the axis."""


def columns(rows) -> list[Column]:
    return [Column(row, f"{place}:00", f"{place}: {row}") for place, row in enumerate(rows)]


def bars(rows) -> ET.Element:
    return read(draw_bars(columns(rows), KINDS, chart_id="c", name="Deliveries", number=lambda value: f"{value:.0f}"))


def lines(rows) -> ET.Element:
    return read(draw_lines(columns(rows), PERCENTILES, chart_id="c", name="Latency"))


def read(svg: str) -> ET.Element:
    """The drawing's tree. Nothing in it lies outside of it, and nothing needs a style of its own."""
    tree = ET.fromstring(svg)  # noqa: S314 - made by us
    assert tree.get("role") == "img"
    for each in tree.iter():
        assert "style" not in each.attrib
        for name in ("x", "x1", "x2", "cx"):
            value = each.get(name, "0").removesuffix("%")
            assert each.get("class") == "tick" or 0 <= float(value) <= 100
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(each.get(name, "0")) <= HEIGHT
    return tree


def rects(tree: ET.Element, kind: str) -> list[ET.Element]:
    return [each for each in tree.iter("rect") if each.get("class") == f"bar {kind}"]


def titles(tree: ET.Element) -> list[str | None]:
    return [group.findtext("title") for group in tree.iter("g")]


@given(COUNTS)
def test_bars_are_as_high_as_their_numbers(rows: list[tuple[int, ...]]) -> None:
    tree = bars(rows)
    top, step = scale(max(map(sum, rows), default=0))
    assert titles(tree) == [f"{place}: {row}" for place, row in enumerate(rows)]
    for number, kind in enumerate(KINDS):
        drawn = rects(tree, kind)
        values = [row[number] for row in rows if row[number]]
        assert len(drawn) == len(values), "what was counted at all is drawn"
        for rect, value in zip(drawn, values, strict=True):
            assert float(rect.get("height", "")) == pytest.approx(max(value / top * PLOT, 2), abs=0.1)
    ticks = [each.text for each in tree.iter("text") if each.get("class") == "tick"]
    assert 1 <= len(ticks) <= 4
    assert ticks[-1] == f"{top:.0f}"
    assert step >= 1


@given(st.integers(0, 10**15))
def test_an_axis_ends_not_far_above_what_is_highest(highest: int) -> None:
    top, step = scale(highest)
    assert max(highest, 1) <= top < highest + step + 1
    assert re.fullmatch(r"[125]0*", f"{step:.0f}")


@given(DURATIONS)
def test_lines_have_a_piece_between_all_that_stand_side_by_side(rows: list[tuple[float | None, ...]]) -> None:
    tree = lines(rows)
    assert titles(tree) == [f"{place}: {row}" for place, row in enumerate(rows)]
    for number, kind in enumerate(PERCENTILES):
        values = [None, *(row[number] for row in rows), None]
        pieces = sum(one is not None and other is not None for one, other in pairwise(values))
        alone = sum(
            value is not None and values[place] is values[place + 2] is None for place, value in enumerate(values[1:-1])
        )
        assert len([each for each in tree.iter("line") if each.get("class") == f"line {kind}"]) == pieces
        assert len([each for each in tree.iter("circle") if each.get("class") == f"point {kind}"]) == alone


def test_longer_ones_stand_higher_and_the_axis_tells_how_long() -> None:
    tree = lines([(12.0, 300.0, 7_200_000.0)])
    heights = [float(each.get("cy", "")) for each in tree.iter("circle")]
    assert heights == sorted(heights, reverse=True)
    ticks = [each.text for each in tree.iter("text") if each.get("class") == "tick"]
    assert ticks == ["10 ms", "100 ms", "1 s", "10 s", "1 min", "10 min", "1 h", "6 h"]


@pytest.mark.parametrize("draw", [bars, lines])
def test_nothing_at_all_is_drawn_too(draw) -> None:
    assert not titles(draw([]))
    assert len(titles(draw([(0, 0, 0)]))) == 1


def test_few_labels_are_shown_so_that_they_have_room() -> None:
    for count in (1, 5, 24, 28, 30):
        labels = [each.text for each in bars([(1, 0, 0)] * count).iter("text") if each.get("class") == "label"]
        assert labels[0] == "0:00"
        assert len(labels) <= 7
    some = [Column((1, 0, 0), "11-03" if place % 4 == 2 else "", "") for place in range(28)]
    drawn = read(draw_bars(some, KINDS, chart_id="c", name="Deliveries", number=str))
    assert len([each for each in drawn.iter("text") if each.get("class") == "label"]) == 7


def test_words_are_escaped() -> None:
    word = "<script>\"'&"
    column = [Column((1, 2, 3), word, word)]
    for svg in (
        draw_bars(column, KINDS, chart_id="c", name=word, number=lambda _: word),
        draw_lines(column, PERCENTILES, chart_id="c", name=word),
        draw_sparkline([(1, 2, 3)], KINDS, word),
    ):
        assert "<script>" not in svg
        tree = read(svg)
        texts = [tree.get("aria-label"), *(each.text for each in tree.iter() if each.tag in {"title", "text"})]
        assert word in texts


@given(st.lists(st.tuples(COUNT, COUNT, COUNT), max_size=24))
def test_a_sparkline_shows_all_that_is_not_nothing(rows: list[tuple[int, ...]]) -> None:
    tree = read(draw_sparkline(rows, KINDS, "the last day"))
    assert len(list(tree.iter("rect"))) == sum(value > 0 for row in rows for value in row)


def test_what_fails_is_told_by_more_than_colour() -> None:
    failed = rects(bars([(1, 1, 1)]), "failed")
    assert [each.get("fill") for each in failed] == ["url(#c-hatch)"]
    swatch = ET.fromstring(draw_swatch("failed", "c", is_hatched=True))  # noqa: S314 - made by us
    assert next(swatch.iter("rect")).get("fill") == "url(#c-hatch)"
    assert "url" not in draw_swatch("delivered", "c") + draw_line_swatch("p50")
