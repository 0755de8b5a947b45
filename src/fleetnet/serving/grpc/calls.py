"""Calls: bytes of messages to the methods of the service and back, with statuses and limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn, TypeAlias, cast

import grpc

from fleetnet.errors import FleetnetError
from fleetnet.serving.auth import Tokens, secret_of
from fleetnet.serving.config import LimitSettings
from fleetnet.serving.errors import (
    Refusal,
    RequestError,
    TooSlowError,
    UnavailableError,
    refusal_of,
)
from fleetnet.serving.grpc.statuses import MAX_TEXT, STATUS, metadata_of
from fleetnet.serving.logs import id_of, trace_of
from fleetnet.serving.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from fleetnet.serving.methods import Call, Methods
from fleetnet.serving.parsing import parsed
from fleetnet.serving.requests import deadline_in, new_id
from fleetnet.serving.service import Service

PROTOCOL = "grpc"
ID_KEY = "x-request-id"
INFER, STREAM = "ModelInfer", "ModelStreamInfer"
IN_FLIGHT = 64
"""Requests of one stream that are answered at the same time; the next are not read before."""
log = logging.getLogger("fleetnet.serving")

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


class Calls:
    """The handlers of the service's methods.

    All of them read their request themselves: so a token is checked before a byte of it is taken,
    it has a time, and what is no message gets an answer that says so.
    """

    def __init__(self, service: Service, tokens: Tokens, limits: LimitSettings) -> None:
        self._service = service
        self._limits = limits
        self._methods = Methods(service, tokens, limits)
        self._running: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()

    @property
    def handlers(self) -> dict[str, Handler]:
        """Handlers by the name of the method."""
        found: dict[str, Handler] = {
            name: grpc.stream_unary_rpc_method_handler(self._unary(name))
            for name in self._methods.names
        }
        found[STREAM] = grpc.stream_stream_rpc_method_handler(self._stream)
        return found

    async def stop(self, limit: float) -> None:
        """End the streams when what they asked is answered, and wait for all calls."""
        self._stopping.set()
        if self._running:
            await asyncio.wait(self._running, timeout=limit)

    def _unary(self, name: str) -> Callable[[Any, Context], Awaitable[bytes]]:
        async def handler(_: Any, context: Context) -> bytes:
            call = _call_of(context)
            self._count()
            with self._logged(name, call) as line:
                try:
                    self._methods.check(name, call)
                    with self._held(await self._received(context)) as data:
                        message = await self._methods.call(name, data, call)
                    context.set_trailing_metadata(((ID_KEY, call.id),))
                    return message.SerializeToString()
                except Exception as error:
                    await _abort(context, call, line.refuse(error))

        return handler

    async def _received(self, context: Context) -> bytes:
        """Return the message of a call that has one."""
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                data = await context.read()
        except TimeoutError:
            limit = self._limits.body_seconds
            raise TooSlowError(f"the message took longer than {limit:g} s") from None
        if not isinstance(data, bytes):
            raise RequestError("the call ended without a whole message")
        return data

    @contextlib.contextmanager
    def _held(self, data: bytes) -> Iterator[bytes]:
        self._service.budget.take(len(data))
        try:
            yield data
        finally:
            self._service.budget.give_back(len(data))

    def _count(self) -> None:
        """Count the call until its answer is sent, which is when its task ends."""
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _stream(self, _: Any, context: Context) -> None:
        """Answer the requests of a stream as they are done, in any order; their ids tell which."""
        call = _call_of(context)
        self._count()
        with self._logged(STREAM, call) as line:
            try:
                self._methods.check(INFER, call)
                call.handed = True  # each of its requests is counted by itself
                await self._answer_all(context)
            except Exception as error:
                await _abort(context, call, line.refuse(error))

    async def _answer_all(self, context: Context) -> None:
        slots, writing = asyncio.Semaphore(IN_FLIGHT), asyncio.Lock()
        stopping = asyncio.ensure_future(self._stopping.wait())

        async def answer(data: bytes) -> None:
            try:
                response = await self._streamed(data, context)
                async with writing:
                    await context.write(response.SerializeToString())
            finally:
                slots.release()

        try:
            async with asyncio.TaskGroup() as answers:
                while True:
                    await slots.acquire()
                    data = await _next(context, stopping)
                    if data is None:
                        break
                    answers.create_task(answer(data))
        finally:
            stopping.cancel()
        if self._stopping.is_set():
            raise UnavailableError("the service is being stopped")

    async def _streamed(self, data: bytes, context: Context) -> ModelStreamInferResponse:
        call, response = _call_of(context), ModelStreamInferResponse()
        told = response.infer_response
        with self._logged(INFER, call) as line:
            try:
                with self._held(data):
                    answer = await self._methods.call(INFER, data, call)
                told.MergeFrom(cast("ModelInferResponse", answer))
            except Exception as error:
                refusal = line.refuse(error)
                response.error_message = _text(refusal)
                told.id = _id_in(data)
                told.parameters["code"].string_param = refusal.code
                if refusal.retry_after is not None:
                    told.parameters["retry_after"].double_param = refusal.retry_after
        told.parameters["triton_final_response"].bool_param = True
        return response

    @contextlib.contextmanager
    def _logged(self, name: str, call: Call) -> Iterator[_Line]:
        """Write a line of a call when it ends, and count it if the service never saw it."""
        line = _Line(name, call)
        try:
            yield line
        except asyncio.CancelledError:
            line.cause, line.status = "cancelled", grpc.StatusCode.CANCELLED
            raise
        finally:
            line.write()
            if line.cause is not None and not call.handed:
                self._service.metrics.failed("", PROTOCOL, line.cause)


class _Line:
    """What the log says of a call."""

    def __init__(self, name: str, call: Call) -> None:
        self.status = grpc.StatusCode.OK
        self.cause: str | None = None
        self._name = name
        self._call = call
        self._begun = time.monotonic()

    def refuse(self, error: Exception) -> Refusal:
        """Return what the client is told of an error; one that nobody foresaw is logged."""
        refusal = refusal_of(error)
        self.cause, self.status = refusal.cause, STATUS[refusal.cause]
        if not isinstance(error, FleetnetError):
            log.error("request failed", extra={"request_id": self._call.id}, exc_info=error)
        return refusal

    def write(self) -> None:
        """Write the line."""
        log.info(
            self._name,
            extra={
                "request_id": self._call.id,
                "trace_id": self._call.trace or None,
                "protocol": PROTOCOL,
                "status": self.status.name,
                "cause": self.cause,
                "total_ms": round((time.monotonic() - self._begun) * 1e3, 3),
                **self._call.facts,
            },
        )


async def _next(context: Context, stopping: asyncio.Future[Any]) -> bytes | None:
    """Return the next message of a stream; None at its end, and when the server is stopped."""
    reading = asyncio.ensure_future(context.read())
    try:
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        data = reading.result() if reading.done() else None
        return data if isinstance(data, bytes) else None
    finally:
        reading.cancel()


def _call_of(context: Context) -> Call:
    metadata = {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }
    remaining = context.time_remaining()
    trace = trace_of(metadata.get("traceparent"))
    return Call(
        protocol=PROTOCOL,
        secret=secret_of(metadata),
        id=id_of(metadata.get(ID_KEY)) or new_id(),
        deadline=None if remaining is None else deadline_in(remaining),
        trace=trace.trace if trace else "",
        traceparent=metadata.get("traceparent", ""),
    )


async def _abort(context: Context, call: Call, refusal: Refusal) -> NoReturn:
    metadata = ((ID_KEY, call.id), *metadata_of(refusal))
    await context.abort(STATUS[refusal.cause], _text(refusal), metadata)


def _text(refusal: Refusal) -> str:
    return refusal.text[:MAX_TEXT].encode("utf-8", "replace").decode()


def _id_in(data: bytes) -> str:
    try:
        return parsed(ModelInferRequest, data).id
    except RequestError:
        return ""
