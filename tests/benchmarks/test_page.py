"""The page about performance is made of figures, and each command rewrites its own part."""

from xml.etree import ElementTree as ET

import pytest

from benchmarks import page, plot
from benchmarks.growth_report import Grown, Growth, read_growth, write_growth
from benchmarks.handover import HandedOver, Handover
from benchmarks.load import Measured
from benchmarks.page import Measurement
from benchmarks.pages import READINESS, Pages, PageTime, slow
from benchmarks.pairs import compare
from benchmarks.report import Figures
from benchmarks.rows import FLOOR_SQLITE
from benchmarks.workers import Workers

FIGURE = compare([10.0], [12.0])
STEP = Grown(
    database="sqlite",
    state="7 finished deliveries",
    accepted=None,
    delivered=FIGURE,
    cpu_us=FIGURE,
    waking_p50_ms=FIGURE,
    waking_p99_ms=FIGURE,
    memory_mb=FIGURE,
    database_mb=compare([0.0], [0.0]),
    commit="abc",
    measured_at="2026-01-02",
)
READY = PageTime(name=READINESS, database="sqlite", p50_ms=2, p95_ms=3, bytes=20)
EVENT = PageTime(name="event", database="sqlite", p50_ms=12, p95_ms=120, bytes=20_480)
PAGES = Pages(deliveries=1000, found=[READY, EVENT], machine="a box", commit="jkl", measured_at="2026-01-05")


def test_a_part_that_is_measured_anew_leaves_the_others_as_they_were(tmp_path):
    figures = {FLOOR_SQLITE: Figures(deliver=[Measured(arrived_rate=1234)])}
    bench = Measurement(figures=figures, doubts=["Hm."], machine="a box", commit="abc", measured_at="2026-01-02")
    workers = Workers(
        slow_delivered=FIGURE, fast_delivered=FIGURE, fast_cpu_us=FIGURE, commit="def", measured_at="2026-01-03"
    )
    handed = HandedOver(database="sqlite", delivered=FIGURE, cpu_us=FIGURE, p50_ms=FIGURE)
    page.rewrite(tmp_path, bench=bench)
    assert (tmp_path / "performance.md").read_text().count("Not measured yet.") == 4
    page.rewrite(tmp_path, workers=workers)
    page.rewrite(tmp_path, handover=Handover(found=(handed,), commit="ghi", measured_at="2026-01-04"))
    page.rewrite(tmp_path, growth=Growth(scale=0.01, pairs=2, steps=(STEP,)))
    page.rewrite(tmp_path, pages=PAGES)
    text = (tmp_path / "performance.md").read_text()
    assert "Not measured yet." not in text
    for part in (
        "1,234",
        "- Hm.",
        "a box",
        "at commit def",
        "at commit ghi",
        "sqlite: p50 ms",
        "7 finished deliveries",
        "10 → 12 (1.20)",
        "scaled by 0.01",
        "120.0 |",
        " 6.0 |",
        "1,000 deliveries.",
    ):
        assert part in text
    assert "1,234" in (tmp_path / "performance.svg").read_text()


def test_growth_that_was_broken_off_goes_on_where_it_was_unless_asked_for_something_else(tmp_path):
    state = tmp_path / "growth.json"
    growth = Growth(scale=1, pairs=10, steps=(STEP,))
    assert read_growth(state, 1, 10).steps == ()
    write_growth(state, growth)
    assert read_growth(state, 1, 10) == growth
    assert read_growth(state, 0.5, 10).steps == ()


def test_the_plot_is_on_a_scale_of_powers_of_ten():
    chart = ET.fromstring(  # noqa: S314 - we wrote it
        plot.bars("a <title>", {"Tocsin": 1000.0, "other & more": 100.0, "none": 0.0})
    )
    rects = list(chart.iter("{http://www.w3.org/2000/svg}rect"))
    lengths = [float(rect.attrib["width"]) for rect in rects]
    assert [rect.attrib["class"] for rect in rects] == ["tocsin", "other"]
    assert lengths == pytest.approx([420, 1])


def test_a_page_that_is_slow_is_named():
    assert slow(PAGES) == ["the page event takes 120 ms at p95 on sqlite, more than 100"]
