"""Calls: the meta and the rest of a frame to the methods of the service, and answers back."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fleetnet.errors import FleetnetError
from fleetnet.serving.auth import Tokens
from fleetnet.serving.brpc import coding
from fleetnet.serving.brpc.codes import NoMethodError, NoServiceError, number_of, text_of
from fleetnet.serving.brpc.frames import packed
from fleetnet.serving.brpc.meta import RpcMeta
from fleetnet.serving.config import LimitSettings
from fleetnet.serving.errors import (
    Cause,
    RequestError,
    TooLargeError,
    UnsupportedError,
    cause_of,
    refusal_of,
)
from fleetnet.serving.logs import id_of, trace_of
from fleetnet.serving.messages import ModelInferResponse
from fleetnet.serving.methods import SERVICE, Call, Methods
from fleetnet.serving.requests import new_id
from fleetnet.serving.service import Service

PROTOCOL = "brpc"
INFER = "ModelInfer"
ATTACH = "attachment_outputs"
"""The user field that asks for the outputs beside the message; its value is ``true``."""
INLINE = 4 * 2**10
"""Bytes that are decompressed, or read as text, at once; more would keep others waiting."""
INLINE_SUM = 256 * 2**10
"""Bytes of which the checksum is computed at once."""
UNPACKING = 4
"""Messages that are decompressed at the same time, as nobody knows before how large they get."""
_ID = 2**64 - 1
log = logging.getLogger("fleetnet.serving")
Value = TypeVar("Value")


class Incoming:
    """A call whose meta is known.

    Attributes:
        method: its name.
        call: what the methods are told of it.
        begun: when its first byte came.
    """

    def __init__(self, meta: RpcMeta, begun: float, secret: str | None) -> None:
        asked = meta.request
        spanned = f"{asked.trace_id & _ID:032x}" if asked.trace_id else ""
        traceparent = meta.user_fields.get("traceparent", "")
        trace = trace_of(traceparent)
        if trace is None:
            traceparent = f"00-{spanned}-{asked.span_id & _ID:016x}-01"
        logged = str(asked.log_id) if asked.log_id else None
        self.meta = meta
        self.begun = begun
        self.method = asked.method_name
        self.call = Call(
            protocol=PROTOCOL,
            secret=secret,
            id=id_of(asked.request_id) or logged or new_id(),
            begun=begun,
            deadline=_deadline(meta, begun),
            trace=trace.trace if trace else spanned,
            traceparent=traceparent,
        )


def _deadline(meta: RpcMeta, begun: float) -> float | None:
    asked = meta.request
    # A client without a limit says so by a negative one.
    if not asked.HasField("timeout_ms") or asked.timeout_ms < 0:
        return None
    return begun + asked.timeout_ms / 1000


class Calls:
    """Answers calls; whatever goes wrong is an answer, and a line in the log."""

    def __init__(self, service: Service, tokens: Tokens, limits: LimitSettings) -> None:
        self._service = service
        self._limits = limits
        self._methods = Methods(service, tokens, limits)
        self._unpacking = asyncio.Semaphore(UNPACKING)
        known = SERVICE.methods_by_name
        self._kinds = {
            name: GetMessageClass(known[name].input_type) for name in self._methods.names
        }

    def check(self, incoming: Incoming, rest: int) -> None:
        """Refuse a call before more than its meta is received.

        Args:
            incoming: the call.
            rest: bytes that follow the meta.

        Raises:
            ServingError: it is not taken.
        """
        meta = incoming.meta
        if not meta.HasField("request"):
            raise RequestError("there is no request in the meta")
        if meta.request.service_name not in (SERVICE.full_name, SERVICE.name):
            raise NoServiceError(f"there is no service '{meta.request.service_name[:100]}'")
        if incoming.method not in self._kinds:
            raise NoMethodError(f"there is no method '{incoming.method[:100]}'")
        self._methods.check(incoming.method, incoming.call)
        if meta.HasField("chunk_info") or meta.HasField("stream_settings"):
            raise UnsupportedError("chunks and streams are not taken: send a request in one frame")
        coding.known(meta.compress_type, meta.content_type)
        if rest > self._limits.body:
            limit = self._limits.body
            raise TooLargeError(f"the body is larger than {limit:,} bytes", limit=limit)
        if not 0 <= meta.attachment_size <= rest:
            raise RequestError(
                f"an attachment of {meta.attachment_size} bytes is not within the {rest} that "
                "follow the meta"
            )

    async def answer(self, incoming: Incoming, rest: bytes | memoryview) -> list[bytes]:
        """Return the frame that answers a call, in pieces."""
        try:
            reply = await self._reply(incoming, rest)
        except asyncio.CancelledError:
            self._log(incoming, None, "cancelled")
            raise
        except Exception as error:
            return self.refuse(incoming, error)
        self._log(incoming, 0, None)
        return reply

    async def _reply(self, incoming: Incoming, rest: bytes | memoryview) -> list[bytes]:
        meta, call = incoming.meta, incoming.call
        whole = memoryview(rest)
        size = len(whole) - meta.attachment_size
        message, attachment = rest if size == len(rest) else whole[:size], whole[size:]
        summed = (message, attachment) if meta.checksum_with_attachment else (message,)
        check = functools.partial(coding.check, meta.checksum_type, meta.checksum_value, *summed)
        await _run(check, inline=len(whole) <= INLINE_SUM)
        if len(attachment):
            call.attached = [attachment]
        if meta.compress_type == coding.PLAIN:
            return await self._called(incoming, bytes(message))
        async with self._unpacking:
            unpack = functools.partial(
                coding.decompressed, meta.compress_type, message, self._limits.body
            )
            plain = await _run(unpack, inline=size <= INLINE)
        self._service.budget.take(len(plain))
        try:
            return await self._called(incoming, plain)
        finally:
            self._service.budget.give_back(len(plain))

    async def _called(self, incoming: Incoming, plain: bytes) -> list[bytes]:
        meta = incoming.meta
        if meta.content_type != coding.PROTOBUF:
            kind = self._kinds[incoming.method]
            read = functools.partial(coding.to_protobuf, meta.content_type, kind, plain)
            plain = await _run(read, inline=len(plain) <= INLINE)
        message = await self._methods.call(incoming.method, plain, incoming.call)
        return _answered(meta, message)

    def refuse(self, incoming: Incoming, error: Exception) -> list[bytes]:
        """Return the frame that says why there is no answer."""
        refusal = refusal_of(error)
        number = number_of(refusal, draining=self._service.draining)
        if not isinstance(error, FleetnetError):
            log.error("request failed", extra={"request_id": incoming.call.id}, exc_info=error)
        reply = RpcMeta(correlation_id=incoming.meta.correlation_id)
        reply.response.error_code = number
        reply.response.error_text = text_of(refusal)
        reply.user_fields["code"] = refusal.code
        if refusal.retry_after is not None:
            reply.user_fields["retry_after"] = str(refusal.retry_after)
        self._log(incoming, number, cause_of(error))
        return packed(reply)

    def count(self, cause: Cause) -> None:
        """Count what was refused, and never became a call that the service knows."""
        self._service.metrics.failed("", PROTOCOL, cause)

    def _log(self, incoming: Incoming, number: int | None, cause: Cause | None) -> None:
        call = incoming.call
        if cause is not None and not call.handed:
            self.count(cause)
        log.info(
            "%s",
            incoming.method[:100],
            extra={
                "request_id": call.id,
                "trace_id": call.trace or None,
                "protocol": PROTOCOL,
                "status": number,
                "cause": cause,
                "total_ms": round((time.monotonic() - incoming.begun) * 1e3, 3),
                **call.facts,
            },
        )


def _answered(asked: RpcMeta, message: Message) -> list[bytes]:
    """Return the frame of an answer, written as the request was."""
    reply = RpcMeta(
        correlation_id=asked.correlation_id,
        compress_type=asked.compress_type,
        content_type=asked.content_type,
    )
    reply.response.error_code = 0
    attachment = b""
    if asked.user_fields.get(ATTACH) == "true" and isinstance(message, ModelInferResponse):
        attachment = b"".join(message.raw_output_contents)
        del message.raw_output_contents[:]
        reply.attachment_size = len(attachment)
    data = coding.compressed(asked.compress_type, coding.from_message(asked.content_type, message))
    if asked.checksum_type:
        covered = (data, attachment) if asked.checksum_with_attachment else (data,)
        reply.checksum_type = asked.checksum_type
        reply.checksum_value = coding.checksum_of(*covered)
        reply.checksum_with_attachment = asked.checksum_with_attachment
    return packed(reply, data, attachment)


async def _run(work: Callable[[], Value], *, inline: bool) -> Value:
    """Do work at once, or in a thread, so that others go on."""
    return work() if inline else await asyncio.to_thread(work)
