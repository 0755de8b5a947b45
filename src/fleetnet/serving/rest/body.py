"""Reading a request's body: up to a limit, within a time, and within what all may hold."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from fleetnet.serving.budget import Budget
from fleetnet.serving.config import LimitSettings
from fleetnet.serving.errors import (
    RequestError,
    TooLargeError,
    TooSlowError,
    UnsupportedError,
)

Value = TypeVar("Value")
INLINE = 32 * 2**10
"""Bytes that are read at once; more are read in a thread, so that others go on."""
MAX_VALUES = 1_000_000
"""Values in a text of JSON: as many as a picture of 577 × 577 pixels has, written as numbers."""
_VALUE = 112
"""Bytes of memory that a value takes while JSON is read, of which two bytes may be one."""
_UNPACKING = 2
_WBITS = {"gzip": 31, "deflate": 15}


class Bodies:
    """All bodies that are being received or answered, which together have a limit."""

    def __init__(self, limits: LimitSettings, budget: Budget) -> None:
        self._limits = limits
        self._budget = budget
        self._unpacking = asyncio.Semaphore(_UNPACKING)

    async def read(self, request: Request) -> bytes:
        """Return a request's body; :meth:`release` has to follow, whatever happens.

        Raises:
            TooLargeError: it is over the limit.
            TooSlowError: it took too long.
            OverloadedError: too many bodies are being received.
            UnsupportedError: it is compressed in a way that is not known.
            RequestError: it is not what it says that it is.
        """
        declared = request.headers.get("content-length", "")
        if _whole(declared) > self._limits.body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await self._received(request)
        except TimeoutError:
            raise TooSlowError(
                f"the body took longer than {self._limits.body_seconds:g} s"
            ) from None
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding in ("", "identity"):
            return body
        async with self._unpacking:  # what comes out is counted only when its size is known
            plain = await aside(lambda: self._decompressed(body, coding), len(body))
            self._hold(request, len(plain))
        return plain

    async def weigh(self, request: Request, body: bytes, length: int) -> None:
        """Count what JSON is going to take in memory, before it is read.

        Args:
            request: whose body it is.
            body: that begins with it.
            length: of the JSON.

        Raises:
            TooLargeError: it has too many values.
            OverloadedError: all requests together would take too much.
        """
        values = await aside(lambda: sum(body.count(one, 0, length) for one in b",[{"), length)
        if values > MAX_VALUES:
            raise TooLargeError(
                f"{values:,} values in JSON are more than {MAX_VALUES:,}: send images as files, or "
                "pixels as binary data",
                given=values,
                limit=MAX_VALUES,
            )
        self._hold(request, values * _VALUE)

    async def _received(self, request: Request) -> bytes:
        pieces, size = [], 0
        async for piece in request.stream():
            size += len(piece)
            if size > self._limits.body:
                raise self._too_large()
            self._hold(request, len(piece))
            pieces.append(piece)
        request.scope["fleetnet.read"] = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hold(self, request: Request, size: int) -> None:
        self._budget.take(size)
        request.scope["fleetnet.held"] = request.scope.get("fleetnet.held", 0) + size

    @staticmethod
    def unread(request: Request) -> bool:
        """Tell whether a request has a body that was not read to its end."""
        length = request.headers.get("content-length", "0")
        coming = length != "0" or "transfer-encoding" in request.headers
        return coming and "fleetnet.read" not in request.scope

    def release(self, request: Request) -> None:
        """Count a request's body no more."""
        self._budget.give_back(request.scope.pop("fleetnet.held", 0))

    def _decompressed(self, body: bytes, coding: str) -> bytes:
        if coding not in _WBITS:
            raise UnsupportedError(f"the content encoding '{coding[:50]}' is not known")
        unpacker = zlib.decompressobj(_WBITS[coding])
        try:
            plain = unpacker.decompress(body, self._limits.body + 1)
        except zlib.error:
            raise RequestError(f"the body is not valid {coding}") from None
        if len(plain) > self._limits.body:
            raise self._too_large()
        if not unpacker.eof:
            raise RequestError(f"the body is not valid {coding}: it is cut off")
        if unpacker.unused_data:
            raise RequestError(f"the body is not valid {coding}: something follows its end")
        return plain

    def _too_large(self) -> TooLargeError:
        limit = self._limits.body
        return TooLargeError(f"the body is larger than {limit:,} bytes", limit=limit)


def too_many(images: int | None, limit: int) -> TooLargeError:
    """Return why a request with so many images is refused; None where nobody counted them all."""
    found = "the images" if images is None else f"{images} images"
    return TooLargeError(f"{found} are more than {limit} in a request", given=images, limit=limit)


def _whole(digits: str) -> int:
    """Return a declared length; what is none is 0, as the server has read it already."""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0


async def aside(work: Callable[[], Value], size: int) -> Value:
    """Do work on so many bytes, in a thread if they are many."""
    return work() if size <= INLINE else await asyncio.to_thread(work)


class _InMemory(MultiPartParser):
    """Keeps files in memory: the body is there already, and no disk may be written to."""

    spool_max_size = 2**62

    def close(self) -> None:
        """Close all files, those too of parts that have no end."""
        for file in self._files_to_close_on_error:
            file.close()


async def parse_form(request: Request, body: bytes, max_files: int) -> list[bytes]:
    """Return the files of a multipart form, in their order.

    Raises:
        RequestError: it is no such form, has too many parts, or texts among them.
        TooLargeError: it has too many files.
    """
    return await aside(lambda: _at_once(_files(request, body, max_files)), len(body))


def _at_once(work: Coroutine[Any, Any, Value]) -> Value:
    """Return what a coroutine returns that waits for nothing, as none does whose files are here."""
    try:
        work.send(None)
    except StopIteration as done:
        value: Value = done.value
        return value
    work.close()
    raise RuntimeError("reading a form waited for something")


async def _files(request: Request, body: bytes, max_files: int) -> list[bytes]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(request.headers, stream(), max_files=max_files, max_fields=16)
    try:
        form = await parser.parse()
        files = []
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                raise RequestError(
                    f"the form has the text '{name[:50]}': a form has images only, and the rest is "
                    "in the address, as in /classify?top_k=3"
                )
            files.append(await value.read())
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise too_many(None, max_files) from None
        raise RequestError(f"the form cannot be read: {error.message}") from None
    except (KeyError, LookupError, ValueError) as error:
        raise RequestError("the form cannot be read: its content type is damaged") from error
    else:
        return files
    finally:
        parser.close()


async def unless_gone(request: Request, work: Coroutine[Any, Any, Value]) -> Value:
    """Await work on a request whose body was read; cancel it if the client goes away.

    Raises:
        ClientDisconnect: it went.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, gone):
            if not one.done():
                one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
