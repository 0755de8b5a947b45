"""Reading a server's JSON: what is not there, or is something else, is one clear error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from fleetnet.client.errors import (
    AccessError,
    ClientError,
    DeadlineError,
    MissingError,
    OverloadedError,
    RefusedError,
    ResponseError,
)
from fleetnet.client.http import Response
from fleetnet.client.results import ModelEntry, ModelMetadata, Prediction, TensorMetadata, Timing
from fleetnet.client.session import SHED, retry_after
from fleetnet.errors import one_line
from fleetnet.inference.prediction import Score
from fleetnet.text import shorten

_KINDS: dict[int, type[RefusedError]] = {401: AccessError, 403: AccessError, 404: MissingError}
_MAX_TEXT = 1000
"""Characters of a server's message that are shown."""


def parsed(text: bytes) -> Any:
    """Return JSON values.

    Raises:
        ResponseError: they are none, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ResponseError("the server's response is no valid JSON") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


class Fields:
    """An object of a response, whose fields have to be of their types."""

    def __init__(self, value: Any, what: str = "the response") -> None:
        if not isinstance(value, dict):
            raise _malformed(what)
        self._value: dict[str, Any] = value
        self._what = what

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text."""
        value = self._value.get(name, default)
        return value if isinstance(value, str) else self._refuse(name)

    def text_or_none(self, name: str) -> str | None:
        """Return a text; None where there is none."""
        return None if self._value.get(name) is None else self.text(name)

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number from 0."""
        value = self._value.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return self._refuse(name)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number."""
        return _number(self._value.get(name, default), f"{self._what}: {name}")

    def number_or_none(self, name: str) -> float | None:
        """Return a number; None where there is none."""
        return None if self._value.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """Return whether something is so; false where nothing is said."""
        value = self._value.get(name)
        return False if value is None else value if isinstance(value, bool) else self._refuse(name)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """Return a list of numbers; None where there is none."""
        if self._value.get(name) is None:
            return None
        return tuple(_number(one, f"{self._what}: {name}") for one in self.items(name))

    def items(self, name: str) -> list[Any]:
        """Return a list."""
        value = self._value.get(name)
        return value if isinstance(value, list) else self._refuse(name)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return an object; an empty one where there is none."""
        value = self._value.get(name)
        if value is None:
            return {}
        return value if isinstance(value, dict) else self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise _malformed(f"{self._what}: {name}")


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _malformed(what)
    try:
        number = float(value)
    except OverflowError:
        raise _malformed(what) from None
    if not math.isfinite(number):
        raise _malformed(what)
    return number


def _malformed(what: str) -> ResponseError:
    return ResponseError(
        f"the server's answer is not what it should be: {what} is missing or wrong"
    )


def check(response: Response) -> Response:
    """Return a response that is an answer.

    Raises:
        RefusedError: the server refused the request.
        DeadlineError: its deadline passed there.
        ResponseError: it is a redirect, or another thing that such a server does not say.
    """
    if response.status == 200:
        return response
    raise refusal(response)


def refusal(response: Response) -> ClientError:
    """Return the error that a response is."""
    text, code, fields = _told(response)
    said: dict[str, Any] = {"status": response.status} | ({"code": code} if code else {})
    error: ClientError
    if response.status == 504:
        error = DeadlineError(text, **said)
    elif response.status in SHED:
        error = OverloadedError(text, retry_after=retry_after(response.headers), **said)
    elif response.status >= 400:
        error = _KINDS.get(response.status, RefusedError)(text, **said)
    else:
        where = response.headers.get("location")
        ending = f" to {shorten(where, 200)}, which is not followed" if where else ""
        error = ResponseError(f"{text}{ending}", status=response.status)
    error.fields = fields
    return error


def _told(response: Response) -> tuple[str, str | None, dict[str, Any]]:
    """Return an error's text, code and fields; a proxy's has none of them."""
    otherwise = f"the server answers {response.status}"
    try:
        told = Fields(parsed(response.body))
        text, code = told.text("error"), told.text_or_none("code")
        fields = told.mapping("fields")
    except ResponseError:
        return otherwise, None, {}
    # Names of arguments there, which are not ours.
    fields = {name: fields[name] for name in fields if name not in ("arguments", "settings")}
    return shorten(one_line(text), _MAX_TEXT) or otherwise, code or None, fields


def prediction_of(value: Any, source: str, served: Mapping[str, str]) -> Prediction:
    """Return the answer for one image.

    Raises:
        ResponseError: it is none.
    """
    told = Fields(value, "a prediction")
    error = told.text_or_none("error")
    top = []
    for one in told.items("top"):
        score = Fields(one, "a class")
        top.append(Score(score.text("class"), score.whole("index"), score.number("probability")))
    rejected, certainty = told.flag("rejected"), told.number_or_none("score")
    if error is None and not top:
        raise _malformed("a prediction: top")
    return Prediction(
        source,
        () if error is not None else tuple(top),
        None if error is None else shorten(one_line(error), _MAX_TEXT),
        rejected=rejected,
        score=certainty,
        probabilities=told.numbers("probabilities"),
        embedding=told.numbers("embedding"),
        model=served.get("model", ""),
        version=served.get("version", ""),
        bundle=served.get("bundle", ""),
    )


def timing_of(value: dict[str, Any]) -> Timing:
    """Return the times of a request.

    Raises:
        ResponseError: they are none.
    """
    told = Fields(value, "timing")
    return Timing(
        told.number("queue_ms", 0.0),
        told.number("decode_ms", 0.0),
        told.number("compute_ms", 0.0),
        told.whole("batch", 0),
    )


def entries_of(value: Any) -> list[ModelEntry]:
    """Return what a repository has.

    Raises:
        ResponseError: it is no index.
    """
    if not isinstance(value, list):
        raise _malformed("the index")
    entries = [Fields(one, "a model") for one in value]
    return [
        ModelEntry(
            one.text("name"), one.text("version", ""), one.text("state", ""), one.text("reason", "")
        )
        for one in entries
    ]


def metadata_of(value: Any) -> ModelMetadata:
    """Return what a model takes and gives.

    Raises:
        ResponseError: it is no metadata.
    """
    told = Fields(value)
    versions = told.items("versions")
    if not all(isinstance(one, str) for one in versions):
        raise _malformed("versions")
    return ModelMetadata(
        told.text("name"),
        tuple(versions),
        told.text("platform", ""),
        tuple(_tensor(one) for one in told.items("inputs")),
        tuple(_tensor(one) for one in told.items("outputs")),
        told.mapping("parameters"),
    )


def _tensor(value: Any) -> TensorMetadata:
    told = Fields(value, "a tensor")
    shape = told.items("shape")
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in shape):
        raise _malformed("a tensor: shape")
    return TensorMetadata(told.text("name"), told.text("datatype"), tuple(shape))
