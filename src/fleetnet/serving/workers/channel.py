"""Questions between a supervisor and a worker, both ways, over a pair of sockets.

Nobody else has an end of it, so what comes over it is as good as what is computed here: it is
pickled, with errors and their fields as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import pickle
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fleetnet.errors import FleetnetError
from fleetnet.serving.errors import InternalError

Answer = Callable[..., Awaitable[Any]]
_LENGTH = struct.Struct("!Q")
log = logging.getLogger("fleetnet.serving")


class ClosedError(Exception):
    """The process at the other end has ended."""


class Channel:
    """One end.

    Args:
        connection: of this end.
        answers: what this end answers, by the question's name.
    """

    def __init__(self, connection: socket.socket, answers: Mapping[str, Answer]) -> None:
        self._connection = connection
        self._answers = answers
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._open = asyncio.Event()
        self._closed = False

    async def listen(self) -> None:
        """Answer the other end and take its answers, until it ends; questions wait for this."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._connection)
        self._open.set()
        try:
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                self._take(*pickle.loads(await reader.readexactly(length)))  # noqa: S301 - see above
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.close()

    async def ask(self, question: str, *facts: Any) -> Any:
        """Return the other end's answer.

        Raises:
            ClosedError: it has ended, or ends before it answers.
            FleetnetError: what it raised.
        """
        await self._open.wait()
        if self._closed:
            raise ClosedError
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(True, number, question, facts)
            return await answer
        finally:
            del self._asked[number]

    def close(self) -> None:
        """Take and give no more answers; may be called again."""
        self._closed = True
        self._open.set()
        for task in self._answering:
            task.cancel()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ClosedError())
        if self._writer is None:
            self._connection.close()
        else:
            self._writer.close()

    def _take(self, is_question: bool, number: int, name: str, value: Any) -> None:
        if is_question:
            task = asyncio.get_running_loop().create_task(self._reply(number, name, value))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            return
        answer = self._asked.get(number)
        if answer is None or answer.done():  # who asked was cancelled
            return
        if isinstance(value, Exception):
            answer.set_exception(value)
        else:
            answer.set_result(value)

    async def _reply(self, number: int, name: str, facts: tuple[Any, ...]) -> None:
        value: Any
        try:
            value = await self._answers[name](*facts)
        except FleetnetError as error:
            value = error
        except Exception:
            log.exception("request failed")
            value = InternalError("something went wrong here: the log says what")
        self._send(False, number, name, value)

    def _send(self, is_question: bool, number: int, name: str, value: Any) -> None:
        content = pickle.dumps((is_question, number, name, value))
        if self._writer is not None and not self._closed:
            with contextlib.suppress(ConnectionError):
                self._writer.write(_LENGTH.pack(len(content)) + content)
