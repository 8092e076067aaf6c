"""A trace that shows an answer before its commit was synced is told from one that does not."""

import pytest

from faults.scenarios.sync_order import check_order, read_trace

ID = "0123456789abcdef01234567"

HEAD = r'7 pwrite64(4</d/t.db-wal>, "\0\0\0\1\0\0\0\2%s", 24, 32) = 24' % (r"\1" * 16)
PAGE = rf'7 pwrite64(4</d/t.db-wal>, "{"x" * 200}{ID}{"0" * 24}", 4096, 56) = 4096'
SYNC = "7 fdatasync(4</d/t.db-wal>) = 0"
ANSWER = rf'8 write(9<socket:[1]>, "HTTP/1.1 201 Created\r\nx: y\r\n\r\n{{\"event\":{{\"id\":\"{ID}\"}}}}", 90) = 90'
UNFINISHED = "7 fdatasync(4</d/t.db-wal> <unfinished ...>"
RESUMED = "7 <... fdatasync resumed>) = 0"


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([HEAD, PAGE, SYNC, ANSWER], 0),
        ([HEAD, PAGE, UNFINISHED, RESUMED, ANSWER], 0),
        ([HEAD, PAGE, ANSWER, SYNC], 1),
        ([SYNC, HEAD, PAGE, ANSWER], 1),
        ([HEAD, PAGE, UNFINISHED, ANSWER, RESUMED], 1),
        ([UNFINISHED, HEAD.replace("7", "6", 1), PAGE.replace("7", "6", 1), RESUMED, ANSWER], 1),
        ([HEAD, PAGE, SYNC.replace("-wal", ""), ANSWER], 1),
        ([HEAD, PAGE, SYNC.replace("= 0", "= -1 EIO (Input/output error)"), ANSWER], 1),
        ([HEAD.replace(r"\0\0\0\2", r"\0\0\0\0"), PAGE, SYNC, ANSWER], 1),
    ],
)
def test_an_answer_is_held_against_the_sync_of_its_commit(lines: list[str], count: int) -> None:
    found = check_order(list(read_trace(lines)))
    assert found.answered == 1
    assert len(found.violations) == count
