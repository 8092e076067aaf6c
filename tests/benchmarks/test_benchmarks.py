"""Does the harness run, and does it notice what it is there to notice."""

import os
import sqlite3
from contextlib import closing

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import procfs, report
from benchmarks.bench import LoadProcess, stage
from benchmarks.floor import parse_receivers
from benchmarks.framing import frame_end
from benchmarks.load import Measured, Phase, Run, requests
from benchmarks.pairs import compare
from benchmarks.receivers import ADDRESSES
from benchmarks.report import Figures
from benchmarks.rows import FLOOR_SQLITE, ROWS, TOCSIN_SQLITE
from benchmarks.subjects import Floor
from tests.programs import ordinary_folder

MEASURED = Measured(
    due_rate=1000,
    accepted_rate=2000,
    arrived_rate=1000,
    app_cpu_us=50,
    load_busy=0.4,
    p50_ms=4,
    p99_ms=8,
    acknowledged=1000,
)


def figures(**changes):
    one = msgspec.structs.replace(MEASURED, **changes)
    return Figures(accept=[one], deliver=[one], paced=[one], app_mb=[40])


def measure(load, subject, database):
    phase = Phase(kind="deliver", seconds=0.2, warmup_seconds=0.1)
    accepted = load.measure(msgspec.structs.replace(phase, kind="accept"), subject)
    delivered = load.measure(phase, subject)
    paced = load.measure(msgspec.structs.replace(phase, kind="paced", rate=500), subject)
    assert accepted.arrived_rate == 0 < accepted.accepted_rate
    for one in (delivered, paced):
        assert (one.missing, one.refused, one.duplicates, one.unsigned) == (0, 0, 0, 0)
        assert one.acknowledged > 0 < one.p50_ms <= one.p99_ms
    assert (delivered.database_cpu_us > 0) == database
    return delivered.acknowledged + paced.acknowledged


def test_the_floor_delivers_every_event_it_acknowledged(tmp_path):
    with stage(tmp_path) as (load, site):
        floor = Floor(site)
        try:
            floor.start()
            count = measure(load, floor, database=False)
        finally:
            floor.stop()
        with closing(sqlite3.connect(site.folder / "floor.db")) as database:
            assert database.execute("SELECT count(*) FROM delivery WHERE state = 2").fetchone() == (count,)
            assert database.execute("SELECT count(*) FROM delivery WHERE state <> 2").fetchone() == (0,)
            assert database.execute("SELECT count(*) FROM attempt").fetchone() == (count,)


def test_the_floor_on_postgresql_delivers_every_event_it_acknowledged():
    # pytest's own folders are closed to the ordinary user that PostgreSQL runs as.
    with ordinary_folder("bench") as folder, stage(folder) as (load, site):
        floor = Floor(site, "postgresql")
        try:
            floor.start()
            count = measure(load, floor, database=True)
            assert floor.postgres.run("SELECT state, count(*) FROM delivery GROUP BY 1", "bench") == f"2|{count}"
            assert floor.postgres.run("SELECT count(*) FROM attempt", "bench") == f"{count}"
        finally:
            floor.stop()


async def test_an_acknowledged_event_that_never_arrives_is_missing_and_a_second_arrival_a_duplicate():
    run = Run(Phase(kind="deliver", number=3))
    for _ in range(3):
        run.expect(0.0)
    run.acknowledge(0)
    run.acknowledge(1)
    run.arrived(300_000_000, 0, True)
    run.arrived(300_000_000, 0, True)
    run.arrived(299_999_999, 0, True)
    assert (run.missing(), run.duplicates, run.arrived_once) == (1, 1, 1)


async def test_each_message_of_an_event_is_awaited_and_counted_apart():
    run = Run(Phase(kind="deliver", number=1, fan_out=3))
    run.expect(0.0)
    run.acknowledge(0)
    for place in (0, 2, 2):
        run.arrived(100_000_000, place, True)
    assert (run.missing(), run.duplicates, run.arrived_once) == (1, 1, 2)


@given(st.binary(max_size=50), st.binary(max_size=50), st.integers(0, 200))
def test_a_message_ends_where_its_length_says_however_it_is_cut(body, after, cut):
    head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(body)}\r\nx: y\r\n\r\n".encode()
    whole = head + body
    assert frame_end(whole + after) == len(whole)
    assert frame_end(whole[: min(cut, len(whole) - 1)]) == 0


def body_of(**phase):
    before, after = requests(Phase(kind="deliver", apps=("bench-0",), **phase))[0]
    return (before + b"%012d" % 7 + after).partition(b"\r\n\r\n")[2]


def test_the_event_has_some_880_bytes_of_json():
    body = body_of()
    assert 860 <= len(body) <= 900
    assert msgspec.json.decode(body)["event"]["type_data"]["deployment_uuid"] == "seq-000000000007"


@given(st.integers(500, 200_000))
def test_the_event_has_as_many_bytes_as_asked_for(size):
    body = body_of(body_bytes=size)
    assert len(body) == size
    msgspec.json.decode(body)


def test_a_span_of_receivers_is_read_as_its_addresses():
    assert parse_receivers("127.0.0.2..21:9000") == [(address, 9000) for address in ADDRESSES[:20]]
    assert parse_receivers("127.0.0.9:80") == [("127.0.0.9", 80)]
    assert parse_receivers("") == []


def test_processor_time_includes_the_children_of_a_process():
    with procfs.pinned(None):
        load = LoadProcess(None)
    try:
        assert procfs.cpu_seconds([load.pid]) > 0 < procfs.memory_mb([load.pid])
        assert procfs.cpu_seconds([os.getpid()]) > procfs.cpu_seconds([load.pid])
        assert procfs.cpu_seconds([]) == 0 == procfs.memory_mb([])
    finally:
        load.close()


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_the_table_has_a_row_for_each_and_the_processor_time_of_the_database_apart():
    shown = report.table({"floor": figures(database_cpu_us=20), "Tocsin": figures(duplicates=2), "absent": Figures()})
    head, _, floor, tocsin = shown.splitlines()
    assert dict(zip(cells(head), cells(floor), strict=True)) == {
        "": "floor",
        "accepted/s": "2,000",
        "delivered/s": "1,000",
        "CPU µs": "50 + 20",
        "p50 ms": "4.0",
        "p99 ms": "8.0",
        "memory MB": "40",
        "lost": "0",
        "twice": "0",
    }
    assert cells(tocsin)[3] == "50"
    assert cells(tocsin)[-1] == "6"
    assert len({len(line) for line in shown.splitlines()}) == 1


def test_the_ratios_are_of_the_rows_that_were_measured():
    shown = report.ratios({FLOOR_SQLITE: figures(), TOCSIN_SQLITE: figures(arrived_rate=400, app_cpu_us=150)})
    assert [cells(line) for line in shown.splitlines()[2:]] == [["Tocsin / floor on SQLite", "0.4", "3"]]
    assert report.ratios({}) == ""


def test_every_ratio_compares_rows_that_there_are():
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert {name for _, first, second in report.RATIOS for name in (first, second)} <= set(names)


def test_lost_events_fail_a_run_and_a_busy_load_casts_doubt_on_it():
    assert report.failures({"floor": figures()}) == []
    assert report.failures({"floor": figures(missing=2)}) == ["floor: 6 events missing."]
    assert report.doubts({"floor": figures()}) == []
    assert "did not keep up" in report.doubts({"floor": figures(due_rate=2000)})[0]
    assert "the limit" in report.doubts({"floor": figures(load_busy=0.97)})[0]


def test_the_ratio_of_pairs_is_the_median_of_each_pairs_own():
    found = compare([100, 10, 1000], [200, 30, 1000])
    assert (found.first, found.second, found.ratio, found.low, found.high) == (100, 200, 2, 1, 3)
