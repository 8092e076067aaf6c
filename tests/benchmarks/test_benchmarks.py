"""Does the harness run, and does it notice what it is there to notice."""

import sqlite3
from contextlib import closing

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import report
from benchmarks.bench import LoadProcess
from benchmarks.floor import parse_receivers
from benchmarks.load import RECEIVERS, Measured, Phase, Run, frame_end, requests
from benchmarks.report import Figures
from benchmarks.subjects import Floor

MEASURED = Measured(
    accepted_rate=2000,
    arrived_rate=1000,
    cpu_us_an_event=50,
    load_busy=0.4,
    p50_ms=4,
    p99_ms=8,
    acknowledged=1000,
    missing=0,
    duplicates=0,
    refused=0,
    unsigned=0,
)


def figures(**changes):
    one = msgspec.structs.replace(MEASURED, **changes)
    return Figures(accept=[one], deliver=[one], paced=[one], rss_mb=[40])


def test_the_floor_delivers_every_event_it_acknowledged(tmp_path):
    load = LoadProcess(None)
    floor = Floor(tmp_path, load.receiver_port, None)
    try:
        floor.start()
        phase = Phase(kind="deliver", port=floor.port, group=floor.group, seconds=0.2, warmup_seconds=0.1)
        accepted = load.measure(msgspec.structs.replace(phase, kind="accept"))
        delivered = load.measure(phase)
        paced = load.measure(msgspec.structs.replace(phase, kind="paced", rate=500))
    finally:
        floor.stop()
        load.close()
    assert accepted.arrived_rate == 0 < accepted.accepted_rate
    for one in (delivered, paced):
        assert (one.missing, one.refused, one.duplicates, one.unsigned) == (0, 0, 0, 0)
        assert one.acknowledged > 0 < one.p50_ms <= one.p99_ms
    count = delivered.acknowledged + paced.acknowledged
    with closing(sqlite3.connect(tmp_path / "floor.db")) as database:
        assert database.execute("SELECT count(*) FROM delivery WHERE state = 2").fetchone() == (count,)
        assert database.execute("SELECT count(*) FROM delivery WHERE state <> 2").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM attempt").fetchone() == (count,)


async def test_an_acknowledged_event_that_never_arrives_is_missing_and_a_second_arrival_a_duplicate():
    run = Run(Phase(kind="deliver", port=1, group=1, number=3))
    for _ in range(3):
        run.expect(0.0)
    run.acknowledge(0)
    run.acknowledge(1)
    run.arrived(300_000_000, True)
    run.arrived(300_000_000, True)
    run.arrived(299_999_999, True)
    assert (run.missing(), run.duplicates, run.arrived_once) == (1, 1, 1)


@given(st.binary(max_size=50), st.binary(max_size=50), st.integers(0, 200))
def test_a_message_ends_where_its_length_says_however_it_is_cut(body, after, cut):
    head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(body)}\r\nx: y\r\n\r\n".encode()
    whole = head + body
    assert frame_end(whole + after) == len(whole)
    assert frame_end(whole[: min(cut, len(whole) - 1)]) == 0


def test_the_event_has_some_880_bytes_of_json():
    before, after = requests(Phase(kind="deliver", port=1, group=1))[0]
    body = (before + b"%012d" % 7 + after).partition(b"\r\n\r\n")[2]
    assert 860 <= len(body) <= 900
    assert msgspec.json.decode(body)["event"]["type_data"]["deployment_uuid"] == "seq-000000000007"


def test_a_span_of_receivers_is_read_as_its_addresses():
    assert parse_receivers("127.0.0.2..21:9000") == [(address, 9000) for address in RECEIVERS]
    assert parse_receivers("127.0.0.9:80") == [("127.0.0.9", 80)]
    assert parse_receivers("") == []


def test_the_table_ends_with_the_ratio_to_the_floor():
    shown = report.table({"floor": figures(), "Tocsin": figures(arrived_rate=500)})
    row = next(line for line in shown.splitlines() if "accepted and delivered" in line)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["1,000", "500", "0.50"]
    assert len({len(line) for line in shown.splitlines()}) == 1
    assert "| - |" in " ".join(report.table({"floor": Figures()}).split())


def test_figures_with_lost_events_or_a_busy_load_are_complained_about():
    assert report.complaints({"floor": figures()}) == []
    assert report.complaints({"floor": figures(missing=2)}) == ["floor: 6 events missing."]
    assert "did not keep up" in report.complaints({"floor": Figures(paced=[MEASURED], half_rate=2000)})[0]
    assert "the limit" in report.complaints({"floor": figures(load_busy=0.97)})[0]
