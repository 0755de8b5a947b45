"""The HTTP application: translates requests to the service's, and results back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

import fleetnet
from fleetnet.errors import FleetnetError
from fleetnet.schema import first_problem
from fleetnet.serving import requests as service_requests
from fleetnet.serving.auth import Role, Tokens, secret_of
from fleetnet.serving.card import card_of
from fleetnet.serving.config import LimitSettings
from fleetnet.serving.errors import (
    Cause,
    DeadlineError,
    ForbiddenError,
    NotFoundError,
    RequestError,
    UnavailableError,
    UnsupportedError,
    cause_of,
)
from fleetnet.serving.explaining import Explanation
from fleetnet.serving.loaded import EMBEDDING
from fleetnet.serving.logs import id_of, trace_of
from fleetnet.serving.models import Version
from fleetnet.serving.requests import Answer, Picture, Result, new_id
from fleetnet.serving.rest.body import Bodies, aside, parse_form, too_many, unless_gone
from fleetnet.serving.rest.hosts import Hosts
from fleetnet.serving.rest.inference import (
    LENGTH_HEADER,
    Inference,
    from_base64,
    length_of_json,
    parse_inference,
    write_inference,
)
from fleetnet.serving.rest.openapi import docs_page, openapi_document
from fleetnet.serving.rest.page_files import HEADERS, page_file
from fleetnet.serving.rest.replies import NO_METHOD, STATUS, NoMethodError, refusal, reply
from fleetnet.serving.rest.schema import ClassifyRequest, ExplainQuery, IndexRequest, LoadRequest
from fleetnet.serving.service import Service
from fleetnet.serving.tensors import EXTENSIONS, INPUTS, PROBABILITIES, SCORES, outputs_of

PROTOCOL = "rest"
TIMEOUT_HEADER = "x-request-timeout-ms"
ID_HEADER = "x-request-id"
MAX_TIMEOUT_MS = 3_600_000
_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")
log = logging.getLogger("fleetnet.serving")

Handler = Callable[[Request], Awaitable[Response]]
Schema = TypeVar("Schema", bound=BaseModel)


class App:
    """What the routes share.

    Attributes:
        asgi: the application.
    """

    def __init__(
        self,
        service: Service,
        tokens: Tokens,
        limits: LimitSettings,
        hosts: Hosts | None = None,
    ) -> None:
        self._service = service
        self._hosts = hosts or Hosts()
        self._tokens = tokens
        self._limits = limits
        self._bodies = Bodies(limits, service.budget)
        one = "/v2/models/{model}"
        several = [one, one + "/versions/{version}"]
        self.asgi = Starlette(
            routes=[
                self._route("GET", "/v2", self._server),
                self._route("GET", "/v2/health/live", self._live, None),
                self._route("GET", "/v2/health/ready", self._ready, None),
                *(self._route("GET", path, self._metadata) for path in several),
                *(self._route("GET", f"{path}/ready", self._model_ready) for path in several),
                *(self._route("POST", f"{path}/infer", self._infer) for path in several),
                self._route("POST", "/v2/repository/index", self._index),
                self._route("POST", "/v2/repository/models/{model}/load", self._load, "admin"),
                self._route("POST", "/v2/repository/models/{model}/unload", self._unload, "admin"),
                self._route("POST", "/classify", self._classify),
                self._route("POST", "/explain", self._explain),
                *(
                    self._route("GET", f"{path.removeprefix('/v2')}/card", self._card)
                    for path in several
                ),
                self._route("GET", "/metrics", self._metrics),
                self._route("GET", "/openapi.json", self._openapi, None),
                self._route("GET", "/docs", self._docs, None),
                self._route("GET", "/", self._page, None),
                self._route("GET", "/page/{name}", self._page, None),
            ],
            exception_handlers={HTTPException: self._unknown_path},
        )
        # A slash too many is another path, and not a redirect to wherever the client says it is.
        self.asgi.router.redirect_slashes = False

    def _route(
        self, method: str, path: str, handler: Handler, role: Role | None = "infer"
    ) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._answered(request, handler, role, quiet=role is None)

        return Route(path, endpoint, methods=[method])

    async def _answered(
        self, request: Request, handler: Handler, role: Role | None, *, quiet: bool = False
    ) -> Response:
        """Let a handler answer; whatever goes wrong is a response, and a line in the log.

        Args:
            request: to be answered.
            handler: of its path.
            role: that the request needs, if any.
            quiet: whether its success is no event, nor that the service is not ready.
        """
        begun = request.state.begun = time.monotonic()
        identity = id_of(request.headers.get(ID_HEADER)) or new_id()
        request.state.id = identity
        cause: Cause | None = None
        try:
            self._hosts.check(_hosts_of(request))
            _check_site(request)
            if role is not None:
                self._tokens.check(secret_of(request.headers), role)
            response = await handler(request)
        except ClientDisconnect:
            cause, response = "cancelled", Response(status_code=STATUS["cancelled"])
        except Exception as error:
            cause = cause_of(error)
            response = refusal(error, unread=self._bodies.unread(request))
            if not isinstance(error, FleetnetError):
                log.exception("request failed", extra={"request_id": identity})
        finally:
            self._bodies.release(request)
        response.headers[ID_HEADER] = identity
        # Whoever asks whether the server is ready makes no error by asking too early.
        if not quiet or cause not in (None, "unavailable"):
            if cause is not None and not hasattr(request.state, "handed"):
                self.count(cause)
            self._log(request, response, cause, time.monotonic() - begun)
        return response

    def count(self, cause: Cause) -> None:
        """Count what was refused before the service knew of it."""
        self._service.metrics.failed("", PROTOCOL, cause)

    def _log(self, request: Request, response: Response, cause: str | None, took: float) -> None:
        trace = trace_of(request.headers.get("traceparent"))
        log.info(
            "%s %s",
            request.method,
            request.url.path,
            extra={
                "request_id": request.state.id,
                "trace_id": trace.trace if trace else None,
                "protocol": PROTOCOL,
                "status": response.status_code,
                "cause": cause,
                "total_ms": round(took * 1e3, 3),
                **getattr(request.state, "facts", {}),
            },
        )

    async def _server(self, _: Request) -> Response:
        extensions = ["binary_tensor_data", *EXTENSIONS]
        return reply(
            {"name": "fleetnet", "version": fleetnet.__version__, "extensions": extensions}
        )

    async def _live(self, _: Request) -> Response:
        return reply({"live": True})

    async def _ready(self, _: Request) -> Response:
        if not self._service.ready:
            raise UnavailableError("the service is not ready")
        return reply({"ready": True})

    async def _model_ready(self, request: Request) -> Response:
        version = self._version(request)
        if not self._service.ready:
            raise UnavailableError("the service is not ready")
        return reply({"name": version.model, "ready": True})

    async def _metadata(self, request: Request) -> Response:
        version = self._version(request)
        return reply(_metadata_of(version, self._service.models.versions(version.model)))

    async def _body(self, request: Request) -> bytes:
        """Return a body, as long as its answer is worth something.

        Raises:
            DeadlineError: the request's deadline passed before it was there.
            ServingError: as :meth:`Bodies.read`.
        """
        given = _milliseconds(request.headers.get(TIMEOUT_HEADER))
        left = None if given is None else begun_of(request) + given / 1000 - time.monotonic()
        try:
            async with asyncio.timeout(None if left is None else max(left, 0)):
                return await self._bodies.read(request)
        except TimeoutError:
            raise DeadlineError("the deadline passed before the body was there") from None

    async def _infer(self, request: Request) -> Response:
        body = await self._body(request)
        length = request.headers.get(LENGTH_HEADER)
        json_bytes = length_of_json(length, len(body))
        parse: Callable[[], Inference] = lambda: parse_inference(  # noqa: E731
            body, json_bytes, self._limits.images
        )
        await self._bodies.weigh(request, body, json_bytes)
        inference = await aside(parse, json_bytes)
        wanted = {output.name for output in inference.wanted}
        micros = inference.request.parameters.timeout
        result = await self._result(
            request,
            inference.images,
            model=_part(request, "model"),
            version=_part(request, "version"),
            top_k=0,
            probabilities=PROBABILITIES in wanted,
            embeddings=EMBEDDING in wanted,
            scores=not wanted.isdisjoint(SCORES),
            timeout_ms=None if not micros else micros / 1000,
            identity=id_of(inference.request.id),
            whole=True,
        )
        content, json_length = write_inference(inference, result)
        if json_length is None:
            return Response(content, media_type="application/json")
        return Response(
            content,
            media_type="application/octet-stream",
            headers={LENGTH_HEADER: str(json_length)},
        )

    async def _classify(self, request: Request) -> Response:
        body = await self._body(request)
        kind = _kind(request)
        if kind == "application/json":
            asked = await self._json(request, ClassifyRequest, body)
            encoded = asked.images if asked.image is None else [asked.image, *asked.images]
            self._check_number(len(encoded))
            images = await asyncio.to_thread(lambda: [from_base64(text) for text in encoded])
        else:
            asked = _from_query(request, ClassifyRequest)
            if kind == "multipart/form-data":
                images = await parse_form(request, body, self._limits.images)
            else:
                _check_raw(kind, "an image, multipart/form-data or application/json")
                images = [body] if body else []
        if not images:
            raise RequestError("there is no image in the request")
        result = await self._result(
            request,
            tuple(images),
            model=asked.model,
            version=asked.version,
            top_k=asked.top_k,
            probabilities=asked.probabilities,
            embeddings=asked.embeddings,
        )
        errors = [answer.error for answer in result.answers]
        if len(errors) == 1 and errors[0] is not None:
            raise errors[0]
        return reply(_classified(result), 400 if all(errors) else 200)

    def _check_number(self, images: int) -> None:
        if images > self._limits.images:
            raise too_many(images, self._limits.images)

    async def _result(
        self,
        request: Request,
        images: tuple[Picture, ...],
        *,
        timeout_ms: float | None = None,
        identity: str | None = None,
        **wanted: Any,
    ) -> Result:
        asked = self._asked(request, images, timeout_ms, identity, **wanted)
        result = await unless_gone(request, self._service.infer(asked))
        request.state.facts = _facts(result)
        return result

    def _asked(
        self,
        request: Request,
        images: tuple[Picture, ...],
        timeout_ms: float | None = None,
        identity: str | None = None,
        **wanted: Any,
    ) -> service_requests.Request:
        given = _milliseconds(request.headers.get(TIMEOUT_HEADER))
        timeout_ms = timeout_ms if given is None else given
        trace = trace_of(request.headers.get("traceparent"))
        asked = service_requests.Request(
            images=images,
            id=identity or request.state.id,
            deadline=None if timeout_ms is None else begun_of(request) + timeout_ms / 1000,
            trace=trace.trace if trace else "",
            traceparent=request.headers.get("traceparent", ""),
            protocol=PROTOCOL,
            **wanted,
        )
        request.state.id = asked.id
        request.state.handed = True
        return asked

    async def _explain(self, request: Request) -> Response:
        body = await self._body(request)
        _check_raw(_kind(request), "an image")
        query = _from_query(request, ExplainQuery)
        if not body:
            raise RequestError("there is no image in the request")
        asked = self._asked(request, (body,), model=query.model, version=query.version)
        explained = await unless_gone(request, self._service.explain(asked, query.class_))
        request.state.facts = {
            "model": explained.model,
            "version": explained.version,
            "bundle": explained.bundle[:12],
        }
        return reply({"id": asked.id, **_explained(explained)})

    async def _card(self, request: Request) -> Response:
        version, models = self._version(request), self._service.models
        limits = self._limits
        return reply(
            {
                **card_of(version),
                "versions": models.versions(version.model),
                "explains": limits.explanations > 0,
                "limits": {
                    "body": limits.body,
                    "pixels": limits.pixels,
                    "images": limits.images,
                },
            }
        )

    async def _page(self, request: Request) -> Response:
        return page_file(_part(request, "name") or "index.html", request)

    async def _index(self, request: Request) -> Response:
        body = await self._bodies.read(request)
        asked = await self._json(request, IndexRequest, body or b"{}")
        entries = [
            entry for entry in self._service.index() if not asked.ready or entry.state == "READY"
        ]
        return reply(
            [
                {
                    "name": entry.model,
                    "version": entry.version,
                    "state": entry.state,
                    "reason": entry.reason,
                }
                for entry in entries
            ]
        )

    async def _load(self, request: Request) -> Response:
        name, asked = _part(request, "model"), await self._change(request)
        await asked.parameters.load(self._service, name)
        return reply({})

    async def _unload(self, request: Request) -> Response:
        asked = await self._change(request)
        await asked.parameters.unload(self._service, _part(request, "model"))
        return reply({})

    async def _change(self, request: Request) -> LoadRequest:
        body = await self._bodies.read(request)
        return await self._json(request, LoadRequest, body or b"{}")

    async def _json(self, request: Request, schema: type[Schema], body: bytes) -> Schema:
        await self._bodies.weigh(request, body, len(body))
        return await aside(lambda: _checked(schema, body), len(body))

    async def _metrics(self, _: Request) -> Response:
        text = await self._service.figures()
        return Response(text, media_type=self._service.metrics.content_type)

    async def _openapi(self, _: Request) -> Response:
        return reply(openapi_document())

    async def _docs(self, _: Request) -> Response:
        return Response(docs_page(), media_type="text/html", headers=HEADERS)

    async def _unknown_path(self, request: Request, error: Exception) -> Response:
        """Answer what no route takes; Starlette says whether another method would be."""
        headers = error.headers or {} if isinstance(error, HTTPException) else {}
        known = "allow" in {name.lower() for name in headers}
        kind = NoMethodError if known else NotFoundError

        async def unknown(_: Request) -> Response:
            raise kind(f"there is no {request.method} {request.url.path[:200]}")

        response = await self._answered(request, unknown, None)
        if known and response.status_code == STATUS["not-found"]:
            response.status_code = NO_METHOD
            response.headers.update(headers)
        return response

    def _version(self, request: Request) -> Version:
        return self._service.models.find(_part(request, "model"), _part(request, "version"))


def _hosts_of(request: Request) -> list[str]:
    """Return for which host a request is, as often as it says so.

    Raises:
        RequestError: it does not say, as HTTP/1.1 wants it.
    """
    hosts = request.headers.getlist("host")
    if not hosts and request.scope.get("http_version") == "1.1":
        raise RequestError("a request of HTTP/1.1 says which host it is for")
    return hosts


def _check_site(request: Request) -> None:
    """Refuse what another site's page lets a browser send, though the page could not read it.

    Raises:
        ForbiddenError: it is such a request.
    """
    site = request.headers.get("sec-fetch-site", "none")
    if request.method == "POST" and site not in ("none", "same-origin"):
        raise ForbiddenError("this server takes no requests from other sites' pages")


def _part(request: Request, name: str) -> str:
    value: str = request.path_params.get(name, "")
    return value


def _kind(request: Request) -> str:
    """Return the type of a request's content, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_raw(kind: str, wanted: str) -> None:
    if not (kind.startswith("image/") or kind in _RAW):
        raise UnsupportedError(f"content of the type '{kind[:100]}' is not taken: send {wanted}")


def _checked(schema: type[Schema], body: bytes) -> Schema:
    try:
        return schema.model_validate_json(body, strict=True)
    except ValidationError as error:
        place, said = first_problem(error, schema)
        raise RequestError(f"{place + ': ' if place else ''}{said}") from None


def _from_query(request: Request, schema: type[Schema]) -> Schema:
    query = dict(request.query_params)
    if {"image", "images"} & query.keys():
        raise RequestError("images belong into the body, not into the address")
    try:
        return schema.model_validate(query)
    except ValidationError as error:
        place, said = first_problem(error, schema)
        raise RequestError(f"{place + ': ' if place else ''}{said}") from None


def begun_of(request: Request) -> float:
    """Return when a request's headers were there, from which its time counts."""
    begun: float = request.state.begun
    return begun


def _milliseconds(text: str | None) -> float | None:
    """Return how much time a header gives a request; None if there is no header.

    Raises:
        RequestError: it is no such number.
    """
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= MAX_TIMEOUT_MS:
        raise RequestError(f"{TIMEOUT_HEADER} must be a number from 0 to {MAX_TIMEOUT_MS}")
    return number


def _facts(result: Result) -> dict[str, Any]:
    return {
        "model": result.model,
        "version": result.version,
        "bundle": result.bundle[:12],
        "images": len(result.answers),
        **result.timing.to_json(),
    }


def _classified(result: Result) -> dict[str, Any]:
    return {
        "id": result.id,
        "model": result.model,
        "version": result.version,
        "bundle": result.bundle,
        "predictions": [_image(answer) for answer in result.answers],
        "timing": result.timing.to_json(),
    }


def _explained(explanation: Explanation) -> dict[str, Any]:
    score = explanation.score
    return {
        "model": explanation.model,
        "version": explanation.version,
        "bundle": explanation.bundle,
        "method": "occlusion",
        "class": score.label,
        "index": score.index,
        "probability": score.probability,
        "lowest": explanation.lowest,
        "heat": explanation.heat.round(4).tolist(),
        "frame": explanation.frame._asdict(),
    }


def _image(answer: Answer) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "top": [
            {"class": score.label, "index": score.index, "probability": score.probability}
            for score in answer.top
        ],
        "error": None if answer.error is None else str(answer.error),
    }
    if answer.score is not None:
        shown |= {"rejected": answer.rejected, "score": answer.score}
    if answer.probabilities is not None:
        shown["probabilities"] = answer.probabilities.tolist()
    if answer.embedding is not None:
        shown["embedding"] = answer.embedding.tolist()
    return shown


def _metadata_of(version: Version, versions: list[str]) -> dict[str, Any]:
    loaded = version.loaded
    return {
        "name": version.model,
        "versions": versions,
        "platform": "fleetnet",
        "inputs": [tensor._asdict() for tensor in INPUTS],
        "outputs": [tensor._asdict() for tensor in outputs_of(version)],
        "parameters": {
            "bundle": loaded.hash,
            "version": version.version,
            "network": loaded.bundle.manifest.model.name,
            "classes": list(loaded.classes),
            "engine": loaded.classifier.engine.name,
            "precision": loaded.classifier.engine.precision,
        },
    }
