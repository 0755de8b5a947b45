"""What can be asked of a server, each as a request and its answer."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from fleetnet.client.deadline import Deadline
from fleetnet.client.errors import ClientError, DeadlineError, ResponseError, UnreachableError
from fleetnet.client.http import Response
from fleetnet.client.images import Given, content_of, form_of
from fleetnet.client.replies import (
    Fields,
    check,
    entries_of,
    metadata_of,
    parsed,
    prediction_of,
    refusal,
    timing_of,
)
from fleetnet.client.results import (
    Classification,
    Inference,
    ModelEntry,
    ModelMetadata,
    Prediction,
)
from fleetnet.client.session import SHED, Session
from fleetnet.errors import FleetnetError, ImageError

if TYPE_CHECKING:
    from fleetnet.client.tensors import Tensor

BYTES = "application/octet-stream"
JSON = "application/json"
ID_HEADER = "X-Request-Id"
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_OF_IMAGES = (
    "damaged", "empty", "image", "not-an-image", "too-large", "too-long", "truncated",
    "unsupported",
)  # fmt: skip
"""Codes of what is wrong with an image, and not with the request (docs/errors.md)."""


@dataclass(frozen=True)
class Asked:
    """What is wanted of a request of images.

    Attributes:
        model: empty for the only one.
        version: empty for the default.
        top_k: how many classes to name for an image.
        probabilities: whether to give those of all classes.
        embeddings: whether to give the network's embedding.
        request_id: that the server's log gets.
        traceparent: of W3C's trace context.
        deadline: of the request.
    """

    model: str
    version: str
    top_k: int
    probabilities: bool
    embeddings: bool
    request_id: str | None
    traceparent: str | None
    deadline: Deadline

    @property
    def query(self) -> str:
        """What goes into the address."""
        query: dict[str, object] = {"top_k": self.top_k}
        query |= {"model": self.model} if self.model else {}
        query |= {"version": self.version} if self.version else {}
        query |= {"probabilities": "true"} if self.probabilities else {}
        query |= {"embeddings": "true"} if self.embeddings else {}
        return urlencode(query)


def marks(request_id: str | None, traceparent: str | None) -> dict[str, str]:
    """Return the headers that name a request.

    Raises:
        ClientError: they cannot be in a header.
    """
    headers = {}
    if request_id is not None:
        if not _ID.fullmatch(request_id):
            raise ClientError("request_id= is of 1 to 128 visible ASCII characters, without spaces")
        headers[ID_HEADER] = request_id
    if traceparent is not None:
        if not _TRACEPARENT.fullmatch(traceparent):
            raise ClientError("traceparent= is like 00-<32 hexadecimal digits>-<16>-01")
        headers["traceparent"] = traceparent
    return headers


async def classify(session: Session, images: Sequence[Given], asked: Asked) -> Classification:
    """Classify images in one request; those that cannot be read have an error in their place.

    Raises:
        ClientError: there is no answer, or none that is one.
    """
    headers = marks(asked.request_id, asked.traceparent)
    contents = await session.network.aside(lambda: [content_of(one) for one in images])
    sent = [content for content in contents if isinstance(content, bytes)]
    answered = await _classified(session, sent, asked, headers) if sent else Classification(())
    coming = iter(answered.predictions)
    predictions = tuple(
        _unreadable(one.source, content)
        if isinstance(content, ImageError)
        else dataclasses.replace(next(coming), source=one.source)
        for one, content in zip(images, contents, strict=True)
    )
    return dataclasses.replace(answered, predictions=predictions)


async def _classified(
    session: Session, contents: Sequence[bytes], asked: Asked, headers: Mapping[str, str]
) -> Classification:
    if len(contents) == 1:
        body, kind = contents[0], BYTES
    else:
        body, kind = await session.network.aside(lambda: form_of(contents))
    response = await session.request(
        "POST",
        f"/classify?{asked.query}",
        body,
        {**headers, "Content-Type": kind},
        deadline=asked.deadline,
    )
    if response.status == 400:  # that no image could be read is an answer too
        error = refusal(response)
        if len(contents) == 1 and error.code in _OF_IMAGES:
            return Classification((_unreadable("", error),))
        if not _has_predictions(response):
            raise error
    else:
        check(response)
    told = Fields(parsed(response.body))
    served = {name: told.text(name, "") for name in ("model", "version", "bundle")}
    predictions = tuple(prediction_of(one, "", served) for one in told.items("predictions"))
    if len(predictions) != len(contents):
        raise ResponseError(
            f"the server answers for {len(predictions)} images, {len(contents)} were sent"
        )
    timing = timing_of(told.mapping("timing"))
    return Classification(predictions, told.text("id", ""), **served, timing=timing)


def _has_predictions(response: Response) -> bool:
    try:
        return bool(Fields(parsed(response.body)).items("predictions"))
    except ResponseError:
        return False


def _unreadable(source: str, error: FleetnetError) -> Prediction:
    return Prediction(source, error=str(error), code=error.code)


async def predict(session: Session, image: Given, asked: Asked) -> Prediction:
    """Classify one image.

    Raises:
        ClientError: there is no answer, or none that is one.
    """
    return (await classify(session, [image], asked)).prediction


async def infer(
    session: Session,
    inputs: Mapping[str, Tensor],
    outputs: Iterable[str] | None,
    asked: Asked,
) -> Inference:
    """Ask a model by the Open Inference Protocol.

    Raises:
        ClientError: there is no answer, or none that is one, or an input is none.
    """
    from fleetnet.client import tensors  # with NumPy, which classifying does not need

    path = f"{model_path(asked.model, asked.version)}/infer"
    body, length = tensors.write_request(inputs, outputs, asked.request_id)
    headers = {tensors.LENGTH_HEADER: str(length), "Content-Type": BYTES}
    headers |= marks(asked.request_id, asked.traceparent)
    response = await session.request("POST", path, body, headers, deadline=asked.deadline)
    return tensors.read_response(check(response))


def model_path(model: str, version: str) -> str:
    """Return the path of a model, or of a version of it.

    Raises:
        ClientError: there is no model.
    """
    if not model:
        raise ClientError("name the model, here or where the client is made: model=")
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


async def metadata(session: Session, model: str, version: str, deadline: Deadline) -> ModelMetadata:
    """Return what a model takes and gives.

    Raises:
        ClientError: there is no such model, or no answer.
    """
    response = await session.request("GET", model_path(model, version), deadline=deadline)
    return metadata_of(parsed(check(response).body))


async def models(session: Session, deadline: Deadline) -> list[ModelEntry]:
    """Return which versions of models are loaded, or could be.

    Raises:
        ClientError: there is no answer.
    """
    response = await session.request(
        "POST", "/v2/repository/index", b"{}", {"Content-Type": JSON}, deadline=deadline
    )
    return entries_of(parsed(check(response).body))


async def health(session: Session, path: str, deadline: Deadline) -> bool:
    """Tell whether a server or a model says that it is well; not where nobody can be reached.

    Raises:
        ClientError: what answers says something else.
    """
    try:
        response = await session.request("GET", path, deadline=deadline, retries=0)
    except (UnreachableError, DeadlineError):
        return False
    if response.status not in (404, *SHED):
        check(response)
    return response.status == 200


def ready_path(model: str | None, version: str | None) -> str:
    """Return the path that says whether the server, or a model that is named, can be asked."""
    if model is None and version is None:
        return "/v2/health/ready"
    return f"{model_path(model or '', version or '')}/ready"


async def load(session: Session, asked: Asked, *, default: bool) -> None:
    """Load a model, or one version of it.

    Raises:
        ClientError: the server refused it, or there is no answer.
    """
    await _change(session, "load", asked, {"default": True} if default else {})


async def unload(session: Session, asked: Asked) -> None:
    """Unload a model, or one version of it.

    Raises:
        ClientError: the server refused it, or there is no answer.
    """
    await _change(session, "unload", asked, {})


async def _change(session: Session, verb: str, asked: Asked, more: Mapping[str, bool]) -> None:
    model_path(asked.model, "")  # there has to be one
    path = f"/v2/repository/models/{quote(asked.model, safe='')}/{verb}"
    parameters = {**({"version": asked.version} if asked.version else {}), **more}
    body = json.dumps({"parameters": parameters}).encode()
    headers = {"Content-Type": JSON}
    check(await session.request("POST", path, body, headers, deadline=asked.deadline, fresh=True))
