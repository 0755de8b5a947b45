"""What pydantic finds wrong with a value from outside, in words of our own."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleetnet.errors import nearest

_LONGEST = 60
"""Signs of a value that are shown."""
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a number, and not infinite",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "settings of its own, each with a name",
    "model": "settings of its own, each with a name",
    "path": "a path",
}
"""What a value must be, by how the names of pydantic's errors begin."""
_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}

# YAML's aliases make a list of a few lines that would be gigabytes in full.
_LISTS = reprlib.Repr()
_LISTS.maxlevel, _LISTS.maxlist, _LISTS.maxtuple, _LISTS.maxdict = 3, 20, 20, 4
_LISTS.maxstring = _LISTS.maxlong = _LISTS.maxother = 4 * _LONGEST

_NAMED = re.compile(r"'([^']*)'")


class Problem(NamedTuple):
    """The first thing that is wrong.

    Attributes:
        place: keys that lead there, joined by points; empty for the whole.
        text: such as ``it must be a whole number, not 'x'``.
    """

    place: str
    text: str

    def at(self, where: str) -> str:
        """Return it as a line that begins with the file or the like that it is in."""
        return ": ".join(filter(None, (where, *self)))


def first_problem(error: ValidationError, schema: type[BaseModel] | None = None) -> Problem:
    """Return the first thing that is wrong with a value, where, and what was expected.

    Args:
        error: what pydantic found.
        schema: of the value, for the nearest name where one is unknown.
    """
    details = error.errors(include_url=False)[0]
    text = _in_words(details)
    if schema is not None and details["type"] == "extra_forbidden":
        *section, name = details["loc"]
        text += nearest(str(name), _names_in(schema, section))
    return Problem(".".join(map(str, details["loc"])), text)


def _names_in(schema: type[BaseModel], section: Sequence[str | int]) -> list[str]:
    """Return the names of a schema's settings, or of those in a section of it."""
    for key in section:
        field = schema.model_fields.get(str(key))
        kind = field.annotation if field is not None else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        schema = kind
    return [field.alias or name for name, field in schema.model_fields.items()]


def facts_of(error: ValidationError) -> dict[str, Any]:
    """Return the value that is wrong and what is allowed in its place, as JSON values."""
    details = error.errors(include_url=False)[0]
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    facts: dict[str, Any] = {}
    if value is None or isinstance(value, str | int | float):
        facts["value"] = value
    if kind in _LIMITS:
        key, word = _LIMITS[kind]
        facts["allowed"] = f"{word} {_plain(context[key])}"
    elif kind == "literal_error":
        facts["allowed"] = _NAMED.findall(context["expected"])
    elif what := _KINDS.get(kind) or _KINDS.get(kind.partition("_")[0]):
        facts["allowed"] = what
    return facts


def _in_words(details: ErrorDetails) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        return "it is missing"
    if kind == "extra_forbidden":
        return "nothing of this name is known"
    if kind in _LIMITS:
        key, word = _LIMITS[kind]
        return f"it must be {word} {_plain(context[key])}{_but(value)}"
    if kind == "literal_error":
        known = _NAMED.findall(context["expected"])
        close = nearest(value, known) if isinstance(value, str) else ""
        return f"it must be {context['expected']}{_but(value)}{close}"
    if kind in ("too_short", "too_long"):
        few, much = ("min", "least") if kind == "too_short" else ("max", "most")
        limit = context[f"{few}_length"]
        return f"its length must be at {much} {limit}, not {context['actual_length']}"
    if kind == "string_too_short":
        return "it must not be empty"
    if kind == "string_pattern_mismatch":
        return f"it must be text of the form {context['pattern']}{_but(value)}"
    what = _KINDS.get(kind) or _KINDS.get(kind.partition("_")[0])
    if what is not None:
        return f"it must be {what}{_but(value)}"
    said = details["msg"].removeprefix("Value error, ").removesuffix(".")
    # Words that quote the text need not say once more what it is.
    return said if isinstance(value, str) and repr(value) in said else f"{said}{_but(value)}"


def _plain(limit: object) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _but(value: object) -> str:
    """Return what stands there instead, unless that is a whole section or text."""
    if isinstance(value, dict | bytes):
        return ""
    shown = _LISTS.repr(value) if isinstance(value, list | tuple) else repr(value)
    return f", not {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '…'}"
