"""The socket beside the database, through which operators reach the process that has it open.

One line of JSON is the question, one the answer; what they say is `operator`'s. Only the user whose process it is, and
root, may connect: the file's mode says so, and the kernel is asked again who the other end is.
"""

import asyncio
import contextlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import structlog

from tocsin.errors import TocsinError

MAX_LINE_BYTES = 64 * 1024
PATIENCE_SECONDS = 10.0

# sun_path holds 108 bytes with the closing zero (unix(7)).
MAX_PATH_BYTES = 107

LOG = structlog.get_logger("tocsin.control")

Answer = Callable[[bytes], Awaitable[bytes]]


class NoAnswer(TocsinError):
    """The process that has the database open does not answer."""


class Control:
    """The listening end. It is there while the process holds the database's lock, so that nobody else's is in use."""

    def __init__(self, path: Path, answer: Answer) -> None:
        """`answer` gets a line without its end and gives one back; it must not raise."""
        self.path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the socket cannot be made."""
        remove_stale(self.path)
        self._server = await asyncio.start_unix_server(self._serve, sock=_bind(self.path), limit=MAX_LINE_BYTES)

    async def stop(self) -> None:
        """Take no more questions, and end those under way."""
        if self._server is None:
            return
        self._server.close()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self.path.unlink(missing_ok=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served in a task")
        self._under_way.add(task)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._converse(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            LOG.info("control.dropped", error=type(error).__name__)
        finally:
            self._under_way.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid not in {os.geteuid(), 0}:
            LOG.warning("control.refused", uid=uid)
            return
        line = await reader.readuntil(b"\n")
        writer.write(await self._answer(line.rstrip(b"\n")) + b"\n")
        await writer.drain()


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process at the other end, as the kernel noted it at connecting."""
    if sys.platform != "linux":
        return os.geteuid()  # nobody says; the mode of the file is the guard
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


async def ask(path: Path, question: bytes, *, patience_seconds: float = PATIENCE_SECONDS) -> bytes | None:
    """The answer of whoever listens there, or None when nobody does. Raises NoAnswer."""
    silence = NoAnswer(f"nothing answers on {path} within {patience_seconds:g} seconds")
    try:
        async with asyncio.timeout(patience_seconds):
            with _reachable(path) as address:
                reader, writer = await asyncio.open_unix_connection(address, limit=MAX_LINE_BYTES)
            writer.write(question + b"\n")
            line = await reader.readline()
            writer.close()
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except TimeoutError:
        raise silence from None
    except PermissionError as error:
        raise NoAnswer(f"{path} belongs to another user: run this as the user who runs Tocsin") from error
    except OSError as error:
        raise NoAnswer(f"{path} cannot be reached: {error.strerror or type(error).__name__}") from error
    if not line.endswith(b"\n"):
        raise NoAnswer(f"{path} hung up without an answer: see the log of the running server")
    return line.rstrip(b"\n")


async def is_answered(path: Path) -> bool:
    """Whether a process listens there, however slow it is to answer."""
    try:
        return await ask(path, b"", patience_seconds=1) is not None
    except NoAnswer:
        return True


def socket_path(database: Path | str) -> Path:
    return Path(f"{database}.sock")


def remove_stale(path: Path) -> None:
    """Take away what a killed process left. Only for whoever holds the database's lock."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


def _bind(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the first moment: a chmod afterwards would come too late.
    mask = os.umask(0o077)
    try:
        with _reachable(path) as address:
            listening.bind(address)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(mask)
    path.chmod(0o600)
    return listening


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A spelling of this path that fits into a socket address: itself, or by way of its open folder."""
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        spelling = f"/proc/self/fd/{folder}/{path.name}"
        if len(os.fsencode(spelling)) > MAX_PATH_BYTES:
            raise OSError(0, f"the name {path.name} is too long for a socket")
        yield spelling
    finally:
        os.close(folder)
