"""The methods of ``inference.GRPCInferenceService``: bytes of a message in, a message out.

A transport knows frames, statuses and connections, and nothing of what the methods do.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from pydantic import ValidationError

import fleetnet
from fleetnet.schema import first_problem
from fleetnet.serving import messages
from fleetnet.serving.auth import Role, Tokens
from fleetnet.serving.changes import LoadParameters
from fleetnet.serving.config import LimitSettings
from fleetnet.serving.errors import NotFoundError, RequestError
from fleetnet.serving.models import Version
from fleetnet.serving.open_inference import parse_inference, write_response
from fleetnet.serving.parsing import parsed
from fleetnet.serving.requests import Request, new_id
from fleetnet.serving.service import Service
from fleetnet.serving.tensors import EXTENSIONS, INPUTS, facts_of, outputs_of

SERVICE = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"]
INLINE = 256 * 2**10
"""Bytes of a message that are read at once; more are read in a thread, so that others go on."""


@dataclass(slots=True, kw_only=True)
class Call:
    """What a transport knows of a call besides its message.

    Attributes:
        protocol: that it came by.
        secret: its token; None if it has none.
        id: its request id, which the message's replaces.
        begun: when it came, by :func:`time.monotonic`; from then on counts the message's timeout.
        deadline: when the answer is worth nothing any more, by the same clock.
        trace: the trace that it belongs to; empty if none.
        traceparent: as of a :class:`Request`.
        attached: contents of inputs that came beside the message.
        handed: whether the service got it, which counts what becomes of it then.
        facts: what a log says of the answer.
    """

    protocol: str
    secret: str | None = None
    id: str = field(default_factory=new_id)
    begun: float = field(default_factory=time.monotonic)
    deadline: float | None = None
    trace: str = ""
    traceparent: str = ""
    attached: Sequence[bytes | memoryview] = ()
    handed: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


Method = Callable[[bytes, Call], Awaitable[Message]]


class Methods:
    """The methods over a service."""

    def __init__(self, service: Service, tokens: Tokens, limits: LimitSettings) -> None:
        self._service = service
        self._tokens = tokens
        self._limits = limits
        self._methods: dict[str, tuple[Role | None, Method]] = {
            "ServerLive": (None, self._server_live),
            "ServerReady": (None, self._server_ready),
            "ServerMetadata": ("infer", self._server_metadata),
            "ModelReady": ("infer", self._model_ready),
            "ModelMetadata": ("infer", self._model_metadata),
            "ModelInfer": ("infer", self._infer),
            "RepositoryIndex": ("infer", self._index),
            "RepositoryModelLoad": ("admin", self._load),
            "RepositoryModelUnload": ("admin", self._unload),
        }

    @property
    def names(self) -> list[str]:
        """Names of the methods that :meth:`call` knows."""
        return list(self._methods)

    def check(self, name: str, call: Call) -> None:
        """Refuse a call before its message is read.

        Args:
            name: of the method.
            call: whose token has to allow it.

        Raises:
            NotFoundError: there is no such method.
            UnauthenticatedError: it needs a token.
            ForbiddenError: the token's role may not do it.
        """
        if name not in self._methods:
            raise NotFoundError(f"there is no method '{name[:100]}'")
        role, _ = self._methods[name]
        if role is not None:
            self._tokens.check(call.secret, role)

    async def call(self, name: str, data: bytes, call: Call) -> Message:
        """Answer a call, of which :meth:`check` is the first step.

        Args:
            name: of the method.
            data: the request's message.
            call: what else is known of it.

        Raises:
            FleetnetError: there is no answer, for one of the reasons that
                :func:`fleetnet.serving.errors.cause_of` tells apart.
        """
        self.check(name, call)
        _, method = self._methods[name]
        return await method(data, call)

    async def _infer(self, data: bytes, call: Call) -> Message:
        size = len(data) + sum(map(len, call.attached))
        read = functools.partial(parse_inference, data, self._limits.images, call.attached)
        inference = read() if size <= INLINE else await asyncio.to_thread(read)
        call.id = inference.log_id or call.id
        deadlines = [] if call.deadline is None else [call.deadline]
        if inference.timeout is not None:
            deadlines.append(call.begun + inference.timeout)
        call.handed = True
        result = await self._service.infer(
            Request(
                images=inference.images,
                model=inference.model,
                version=inference.version,
                top_k=0,
                probabilities=inference.probabilities,
                embeddings=inference.embeddings,
                scores=inference.scores,
                id=call.id,
                deadline=min(deadlines, default=None),
                trace=call.trace,
                traceparent=call.traceparent,
                protocol=call.protocol,
                whole=True,
            )
        )
        call.facts |= {
            "model": result.model,
            "version": result.version,
            "images": len(result.answers),
            **facts_of(result),
        }
        call.facts["bundle"] = result.bundle[:12]
        return write_response(inference, result)

    async def _server_live(self, data: bytes, _: Call) -> Message:
        parsed(messages.ServerLiveRequest, data)
        return messages.ServerLiveResponse(live=True)

    async def _server_ready(self, data: bytes, _: Call) -> Message:
        parsed(messages.ServerReadyRequest, data)
        return messages.ServerReadyResponse(ready=self._service.ready)

    async def _server_metadata(self, data: bytes, _: Call) -> Message:
        parsed(messages.ServerMetadataRequest, data)
        return messages.ServerMetadataResponse(
            name="fleetnet", version=fleetnet.__version__, extensions=EXTENSIONS
        )

    async def _model_ready(self, data: bytes, _: Call) -> Message:
        asked = parsed(messages.ModelReadyRequest, data)
        try:
            self._version(asked)
        except NotFoundError:
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=self._service.ready)

    async def _model_metadata(self, data: bytes, _: Call) -> Message:
        version = self._version(parsed(messages.ModelMetadataRequest, data))
        kind = messages.ModelMetadataResponse.TensorMetadata
        return messages.ModelMetadataResponse(
            name=version.model,
            versions=self._service.models.versions(version.model),
            platform="fleetnet",
            inputs=[kind(**tensor._asdict()) for tensor in INPUTS],
            outputs=[kind(**tensor._asdict()) for tensor in outputs_of(version)],
        )

    def _version(
        self, asked: messages.ModelReadyRequest | messages.ModelMetadataRequest
    ) -> Version:
        return self._service.models.find(asked.name, asked.version)

    async def _index(self, data: bytes, _: Call) -> Message:
        ready = parsed(messages.RepositoryIndexRequest, data).ready
        response = messages.RepositoryIndexResponse()
        for entry in self._service.index():
            if not ready or entry.state == "READY":
                response.models.add(
                    name=entry.model, version=entry.version, state=entry.state, reason=entry.reason
                )
        return response

    async def _load(self, data: bytes, _: Call) -> Message:
        asked = parsed(messages.RepositoryModelLoadRequest, data)
        await _change(asked.parameters).load(self._service, asked.model_name)
        return messages.RepositoryModelLoadResponse()

    async def _unload(self, data: bytes, _: Call) -> Message:
        asked = parsed(messages.RepositoryModelUnloadRequest, data)
        await _change(asked.parameters).unload(self._service, asked.model_name)
        return messages.RepositoryModelUnloadResponse()


def _change(parameters: Mapping[str, messages.ModelRepositoryParameter]) -> LoadParameters:
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        values[name] = None if kind is None else getattr(parameter, kind)
    try:
        return LoadParameters.model_validate(values)
    except ValidationError as error:
        place, said = first_problem(error)
        raise RequestError(f"{place + ': ' if place else ''}{said}") from None
