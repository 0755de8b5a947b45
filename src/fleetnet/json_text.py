"""JSON that is valid and safe to show, whatever names are in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_ACTIVE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON allows but terminals act on, and those that UTF-8 cannot encode."""


def json_text(value: Any, *, indent: int | None = 2) -> str:
    r"""Return a value as JSON that is valid UTF-8 and safe to show, whatever names are in it.

    A file name that is not UTF-8 has surrogates, which become JSON's escapes: ``\udcXX`` for the
    byte XX, which is read back as the same name. Characters that a terminal acts on are escaped
    too.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value.item() if hasattr(value, "item") else str(value)
